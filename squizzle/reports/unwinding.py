"""What a person is asked before targets are recovered that could not be taken back, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from squizzle.durations import words
from squizzle.postgres.decisions import Question
from squizzle.reports.markdown import bullets, table
from squizzle.rollout.orders import Recovered, TargetResult
from squizzle.rollout.records import RolloutPlan
from squizzle.rollout.unwinding import Prospect

_MOST_ROWS = 200
_MEANS = """\
**Approve**: one after the other is shut, recovered as the table says, compared, and opened again. The damaged one is
kept under another name, and rows that only it has are looked for and kept. **Reject**: they stay as they are."""


def recovery_question(
    plan: RolloutPlan, rollout_id: str, stage: str, prospects: Sequence[Prospect], name_to_type: str
) -> Question:
    """Whether targets that could not be taken back are recovered, each by the way that the recovery would choose.

    It holds for these targets and these ways: another backup is another question.

    Args:
        plan: Of the rollout.
        rollout_id: What the histories call it.
        stage: What is taken back.
        prospects: What is asked about; each has a way.
        name_to_type: What an approval has to have typed by hand; empty for nothing.
    """
    count = f"{len(prospects):,} target{'s' if len(prospects) > 1 else ''}"
    left_out = len(prospects) - _MOST_ROWS
    parts = [
        f"Rollout `{rollout_id}`: {count} could not be taken back by script.",
        _MEANS,
        table(("target", "by", "loses", "takes", "proven", "asked because"), list(map(_cells, prospects[:_MOST_ROWS]))),
        *([f"… and {left_out:,} more"] if left_out > 0 else []),
        "## Why not by script",
        bullets([f"`{one.target.name}`: {one.result.error}" for one in prospects]),
    ]
    ways = sorted(f"{one.target.name}: {one.way.way.value} {one.way.name}" for one in prospects if one.way)
    return Question(
        gate="rollout-recover",
        title=f"Recover {count} of {plan.fleet} that could not be taken back",
        plan="\n\n".join(parts),
        facts=(rollout_id, plan.digest, stage, *ways),
        name_to_type=name_to_type,
    )


def _cells(one: Prospect) -> tuple[str, ...]:
    way = one.way
    if way is None:
        raise AssertionError("there is no way to ask about")
    rows = f", at least {one.rows:,} rows" if one.rows else ""
    return (
        f"`{one.target.name}`",
        f"{way.way.words} `{way.name}`",
        f"what was written in the last {words(way.rpo)}{rows}" if way.loses_data else "nothing",
        "not measured" if way.rto is None else f"{words(way.rto)} ({way.measured_by})",
        one.proven_by or "never",
        one.why_ask or "the rollout always asks",
    )


def recovery_json(one: Recovered) -> dict[str, object]:
    """How a target was recovered, for programs; times in milliseconds, null where they were not measured."""
    return {
        "way": one.way,
        "name": one.name,
        "why": one.why,
        "rto_ms": None if one.took is None else _ms(one.took),
        "rpo_ms": _ms(one.lost),
        "rows_compared": one.rows,
        "verified": one.verified,
        "kept_as": one.kept_as,
        "rows_kept": one.rows_kept,
    }


def _ms(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)


def recovered_table(results: Sequence[TargetResult]) -> str:
    """The targets that were recovered: by which way, in how long (RTO), what is lost (RPO), what was compared."""
    rows = []
    for result in results:
        one = result.recovery
        if one is not None:
            kept = "" if one.rows_kept is None else f"{one.rows_kept:,} rows of it kept"
            rows.append(
                (
                    f"`{result.target.name}`",
                    f"{one.way} `{one.name}`",
                    "not measured" if one.took is None else words(one.took),
                    f"what was written in {words(one.lost)}" if one.lost else "nothing",
                    f"{one.rows:,} rows: {one.verified}" if one.rows is not None else one.verified,
                    "; ".join(filter(None, (f"`{one.kept_as}`" if one.kept_as else "", kept))),
                    one.why,
                )
            )
    headings = ("target", "by", "clients were out for", "lost", "compared", "kept", "why not by script")
    return table(headings, rows) if rows else ""
