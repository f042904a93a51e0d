"""The report of a recovery: what was damaged, which ways back there were, what was done, and what was compared."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from squizzle.durations import words
from squizzle.proof.records import NOT_COVERED
from squizzle.recovery.assess import Assessment
from squizzle.recovery.evidence import Evidence
from squizzle.recovery.fences.records import FenceKind, FenceState
from squizzle.recovery.recovery import RecoveryOutcome, RecoveryReport
from squizzle.recovery.salvage.records import Salvage
from squizzle.recovery.undo.records import UndoReport
from squizzle.recovery.ways import RecoveryPlan, WayBack
from squizzle.reports.markdown import bullets, compared, seconds, table, timeline

_OUTCOMES = {
    RecoveryOutcome.NOTHING_TO_DO: "nothing to do",
    RecoveryOutcome.PLANNED: "planned, nothing was changed",
    RecoveryOutcome.RECOVERED: "RECOVERED",
    RecoveryOutcome.REFUSED: "NOT DONE, nobody agreed",
    RecoveryOutcome.FAILED: "FAILED",
    RecoveryOutcome.COULD_NOT_VERIFY: "COULD NOT VERIFY",
}


def damage_json(assessment: Assessment | None) -> list[str]:
    """What is damaged, as the command's contract promises it."""
    return [] if assessment is None else list(assessment.damage)


def ways_json(plan: RecoveryPlan | None) -> list[dict[str, object]]:
    """The ways back in their order, as the command's contract promises them."""
    return [
        {
            "name": way.way.value,
            "uses": way.name,
            "possible": way.possible,
            "why": way.why,
            "rto_ms": None if way.rto is None else round(way.rto.total_seconds() * 1000),
            "rpo_ms": round(way.rpo.total_seconds() * 1000),
            "proven_at": way.proven_at.isoformat() if way.proven_at else None,
            "measured_by": way.measured_by,
        }
        for way in (plan.ways if plan else ())
    ]


def recovery_json(report: RecoveryReport) -> dict[str, object]:
    """The whole recovery as the command's contract promises it."""
    evidence = report.evidence
    return {
        "damage": damage_json(evidence.assessment),
        "disasters": [one.value for one in evidence.assessment.disasters] if evidence.assessment else [],
        "ways": ways_json(evidence.plan),
        "chosen": _chosen(evidence),
        "result": report.outcome.value,
        "reasons": list(report.reasons),
        "fenced": report.fenced,
        "fences": [
            {
                "kind": one.kind.value,
                "name": one.name,
                "state": one.state.value,
                "detail": one.detail,
                "held_by": [hold.holder for hold in one.holds],
            }
            for one in evidence.fences
        ],
        "kept_as": evidence.kept_as or None,
        "rto_ms": None if evidence.rto is None else round(evidence.rto.total_seconds() * 1000),
        "rows_at_risk": evidence.salvage.rows_at_risk if evidence.salvage else None,
    }


def _chosen(evidence: Evidence) -> str | None:
    """The way that was taken last, else the one that would be taken."""
    if evidence.decisions:
        return evidence.decisions[-1].way.value
    return evidence.plan.chosen.way.value if evidence.plan and evidence.plan.chosen else None


def recovery_markdown(report: RecoveryReport) -> str:
    """The whole report as Markdown; no row data and no secrets."""
    evidence = report.evidence
    where = f" in {report.environment}" if report.environment else ""
    parts = [
        f"# Recovery of {report.database}{where}: {_OUTCOMES[report.outcome]}",
        bullets(report.reasons),
        _next(report),
        *_shut(report),
        _costs(report),
        *_damage(evidence.assessment),
        *_ways(evidence.plan),
        "## What did not work\n\n" + bullets(evidence.failed) if evidence.failed else "",
        "## What else was decided or found\n\n" + bullets(evidence.notes) if evidence.notes else "",
        *(("## What was done", timeline(report.steps)) if report.steps else ()),
        *_undone(evidence.undo),
        *_kept(report),
    ]
    final = evidence.final or evidence.copy
    if final is not None and evidence.backup is not None:
        parts += [f"## Compared with backup {evidence.backup.id}, table by table"]
        parts += [*compared(final, evidence.backup.fingerprint), "## What was not compared", bullets(NOT_COVERED)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _next(report: RecoveryReport) -> str:
    """What to do after a dry run."""
    plan = report.evidence.plan
    if report.outcome is not RecoveryOutcome.PLANNED or plan is None or not plan.is_needed:
        return ""
    place = f" --env {shlex.quote(report.environment)}" if report.environment else ""
    return f"Next: start the deployment recover again with *Dry run* off, or `squizzle recover{place}`."


def _shut(report: RecoveryReport) -> Iterator[str]:
    """What is shut now, by whom, and what opens it."""
    if not report.fenced:
        return
    yield "**Clients are kept out.** What is shut now:"
    shut = [one for one in report.evidence.fences if one.state is not FenceState.OPEN]
    yield bullets(
        [
            f"{one.name} is {one.state.value}{f' ({one.detail})' if one.detail else ''}"
            + (f", held by {'; '.join(str(hold) for hold in one.holds)}" if one.holds else ", held by nobody")
            for one in shut
        ]
    )
    yield "What opens it:"
    yield bullets(lifting_commands(report))


def lifting_commands(report: RecoveryReport) -> tuple[str, ...]:
    """What a person does about each thing that is still shut, in the order in which it should be thought of."""
    shut = [one for one in report.evidence.fences if one.state is not FenceState.OPEN]
    holders = dict.fromkeys(hold.holder for one in shut for hold in one.holds)
    place = f" --env {shlex.quote(report.environment)}" if report.environment else ""
    return (
        *(
            ["start the same recovery again: it finds its fences, and lifts them when the data is back"]
            if report.holder in holders
            else []
        ),
        *(
            f"`squizzle unfence{place} --as {shlex.quote(holder)}` lets go of what {holder!r} holds:"
            " the database, and the fences that squizzle.toml names for it"
            for holder in holders
        ),
        *(
            f"{one.name} is held by nobody: `squizzle unfence{place} --all` opens it whatever it was before"
            for one in shut
            if not one.holds and one.kind is FenceKind.DATABASE
        ),
    )


def _costs(report: RecoveryReport) -> str:
    evidence = report.evidence
    if report.outcome is not RecoveryOutcome.RECOVERED:
        return ""
    if not evidence.decisions:
        return "An earlier run had swapped it in and was killed; this one compared it and let clients in."
    way = evidence.decisions[-1]
    waited = f"; {words(evidence.waited)} of it for an answer" if evidence.waited else ""
    rows = [
        ("Way back", f"{way.way.words}: {way.name}"),
        ("Time to recover (RTO)", f"{seconds(evidence.rto)}, from the fence to letting clients in again{waited}"),
        ("Data at risk (RPO)", f"what was written in {words(way.rpo)}" if way.loses_data else "none"),
    ]
    return table(("", ""), rows)


def _damage(assessment: Assessment | None) -> Iterator[str]:
    if assessment is None:
        return
    yield f"## What is damaged, against backup {assessment.since}"
    looks_like = ", ".join(one.value.replace("_", " ") for one in assessment.disasters)
    yield f"It looks like: **{looks_like}**." if looks_like else "It looks like no disaster that we know."
    yield damage_markdown(assessment)


def damage_markdown(assessment: Assessment) -> str:
    """What is damaged, and what else is known of it, as lists."""
    more = bullets(
        (
            *(f"applied since: {version}" for version in assessment.applied_since),
            *(f"failed: {row.version} ({row.direction.value}): {row.error}" for row in assessment.failed),
            *(f"not ended: {row.version} ({row.direction.value})" for row in assessment.running),
            *(f"not in the migrations folder: {version}" for version in assessment.foreign),
            *(f"other rows than in the backup, no fewer: {name}" for name in assessment.changed_tables),
            assessment.activity.sentence,
        )
    )
    return f"{bullets(assessment.damage) or 'Nothing that the backup has is missing.'}\n\n{more}"


def _ways(plan: RecoveryPlan | None) -> Iterator[str]:
    if plan is None:
        return
    yield "## The ways back, the best first"
    possible = [one for one in plan.ways if one.possible]
    if possible:
        yield table(("way", "with", "takes", "loses", "last proven"), [_way(one) for one in possible])
    # Sentences, since the end of a wide table is outside of the page.
    yield bullets([f"{one.way.words}: {one.why}" for one in possible])
    yield "Not possible:"
    yield bullets(
        [f"{one.way.words}{f' (`{one.name}`)' if one.name else ''}: {one.why}" for one in plan.ways if not one.possible]
    )
    if plan.approval:
        yield f"**A person must agree**: {plan.approval}."


def _way(way: WayBack) -> tuple[str, ...]:
    return (
        way.way.words,
        f"`{way.name}`" if way.name else "",
        "not measured" if way.rto is None else words(way.rto),
        f"writes of {words(way.rpo)}" if way.loses_data else "nothing",
        f"{way.proven_at:%Y-%m-%d %H:%M} UTC" if way.proven_at else "never",
    )


def _undone(undo: UndoReport | None) -> Iterator[str]:
    if undo is None:
        return
    yield "## What was taken back by the change log"
    yield table(
        ("table", "come back", "get old values", "go"),
        [(f"`{one.name}`", f"{one.restored:,}", f"{one.reverted:,}", f"{one.removed:,}") for one in undo.tables],
    )
    options = " ".join(f"--table {shlex.quote(one.name)}" for one in undo.tables)
    yield (
        "The history of migrations is as it was: what they did to rows is taken back, and they still count as applied."
        f" To undo the undo: `squizzle undo {options} --since {undo.at.isoformat()} --transaction {undo.xid}`."
    )


def _kept(report: RecoveryReport) -> Iterator[str]:
    evidence = report.evidence
    if evidence.kept_as:
        yield "## What is kept"
        yield f"The damaged database is `{evidence.kept_as}`; nobody gets in, and nothing of it was dropped."
    if evidence.sequences:
        yield bullets([f"{one.sequence} goes on after {one.after}" for one in evidence.sequences])
    if evidence.salvage is not None:
        yield from _salvage(evidence.salvage)


def _salvage(found: Salvage) -> Iterator[str]:
    yield "## Rows that only the damaged database has"
    if not found.tables:
        yield "There are none: nothing was lost."
        return
    yield table(
        ("table", "added", "changed", "gone", "kept", "note"),
        [
            (f"`{one.table}`", f"{one.added:,}", f"{one.changed:,}", f"{one.gone:,}", f"{one.kept:,}", one.note)
            for one in found.tables
        ],
    )
    yield f"Next: `squizzle salvage merge {found.id} --dry-run`. Added rows can go back in; gone ones are back already."
