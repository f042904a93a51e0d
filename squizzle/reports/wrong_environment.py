"""A migration in the wrong database: what was applied where, the way back, and what came of it, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from squizzle.postgres.decisions import Question
from squizzle.recovery.wrong_environment import Forward, Mishap, Place, TakenBack, WayBack

# More than a person reads; `squizzle status` has them all.
_MOST_ROWS = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class MishapReport:
    """What a run found and did.

    Attributes:
        mishap: What was applied where.
        ways: The way back of each version, newest first.
        taken_back: What came of it; None for a dry run.
        forward: What would be applied to the right database.
        applied: The versions that were applied to the right one; None when nothing was to be.
        not_applied_because: Why they were not; empty otherwise.
    """

    mishap: Mishap
    ways: tuple[WayBack, ...] = ()
    taken_back: TakenBack | None = None
    forward: tuple[Forward, ...] = ()
    applied: tuple[str, ...] | None = None
    not_applied_because: str = ""


def mishap_markdown(report: MishapReport) -> str:
    """The whole report."""
    mishap = report.mishap
    parts = [
        f"# Applied to the wrong database: {mishap.wrong.database}",
        _places(mishap),
        f"## Applied in {mishap.wrong.database} and not in {mishap.right.database}",
        _only_in_wrong(mishap),
    ]
    if report.ways:
        parts += [f"## The way back in {mishap.wrong.database}", ways_markdown(report.ways)]
    elif not mishap.versions:
        parts.append("No version was named, so nothing was done. Name those that were applied by mistake.")
    if report.taken_back is not None:
        parts += ["## Taken back", _taken_back(report.taken_back)]
    if report.applied is not None:
        parts += [f"## Applied to {mishap.right.database}", ", ".join(report.applied) or "Nothing was pending."]
    if report.not_applied_because:
        parts += [f"## Not applied to {mishap.right.database}", report.not_applied_because]
    return "\n\n".join(parts) + "\n"


def way_back_question(mishap: Mishap, ways: Sequence[WayBack]) -> Question:
    """What somebody has to approve before anything is taken back."""
    wrong = mishap.wrong
    rows = {row.version: row.id for row in wrong.applied}
    return Question(
        gate="undo-wrong-environment",
        title=f"Take back {', '.join(way.version for way in ways)} in {wrong.database} on {wrong.where}",
        plan=f"{_places(mishap)}\n\n{_only_in_wrong(mishap)}\n\n{ways_markdown(ways)}",
        facts=[wrong.cluster, *(f"{way.version} {rows.get(way.version)} {way.sql}" for way in ways)],
    )


def forward_question(mishap: Mishap, forward: Sequence[Forward]) -> Question:
    """What somebody has to approve before anything is applied to the right database."""
    right = mishap.right
    scripts = [f"### {one.version} {one.name}\n\n{_sql(one.sql)}" for one in forward]
    return Question(
        gate="apply-to-the-right-one",
        title=f"Apply {', '.join(one.version for one in forward)} to {right.database} on {right.where}",
        plan="\n\n".join([_places(mishap), *scripts]),
        facts=[right.cluster, *(f"{one.version} {one.checksum}" for one in forward)],
    )


def ways_markdown(ways: Sequence[WayBack]) -> str:
    """The SQL that will run, to the letter."""
    return "\n\n".join(
        f"### {way.version}: {way.source}{f': {way.remark}' if way.remark else ''}\n\n{_sql(way.sql)}" for way in ways
    )


def _places(mishap: Mishap) -> str:
    rows = [("wrong", mishap.wrong), ("right", mishap.right)]
    lines = [
        f"| {what} | `{one.database}` | {one.where} | {_identity(one)} | {one.current or 'none'} |"
        for what, one in rows
    ]
    return "\n".join(["| | database | server | says it is | at version |", "|---|---|---|---|---|", *lines])


def _identity(place: Place) -> str:
    if place.identity is None:
        return "nothing yet"
    return f"{place.identity.environment or 'no environment'} `{place.identity.id}`"


def _only_in_wrong(mishap: Mishap) -> str:
    if not mishap.only_in_wrong:
        return "Nothing."
    rows = [
        f"| {f'**{row.version}**' if row.version in mishap.versions else row.version} | {row.name}"
        f" | {row.applied_at:%Y-%m-%d %H:%M:%S %Z} | {row.applied_by} |"
        for row in mishap.only_in_wrong[:_MOST_ROWS]
    ]
    more = len(mishap.only_in_wrong) - len(rows)
    table = "\n".join(["| version | name | applied at | by |", "|---|---|---|---|", *rows])
    return table + (f"\n\n… and {more} more." if more > 0 else "")


def _taken_back(done: TakenBack) -> str:
    words = {
        True: "The schema is as the run before them left it.",
        False: "**The schema is not as the run before them left it**: `squizzle verify` tells more.",
        None: "What the schema was before them was not recorded, so it could not be compared.",
    }[done.schema_is_as_before]
    return f"{', '.join(done.versions) or 'An earlier run had done it.'}\n\n{words}"


def _sql(text: str) -> str:
    fence = "```" if "```" not in text else "~~~~"
    return f"{fence}sql\n{text.rstrip()}\n{fence}"
