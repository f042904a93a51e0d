"""Whether the version that is done by share of its rows can be taken back half-way, said before anything is begun."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from squizzle.analysis.records import Statement
from squizzle.analysis.scanner import UnreadableError, scan
from squizzle.analysis.statements import split_statements
from squizzle.migrations.records import Migration
from squizzle.rehearsal.half_way import HALF_WAY_WELL, half_way_problem
from squizzle.rehearsal.records import Certificate
from squizzle.rollout.checks import CheckFinding, CheckResult, CheckRow
from squizzle.rollout.records import RolloutPlan, StagePlan

_CHECK = "way back half-way"
_WRITES = frozenset({"UPDATE", "DELETE", "INSERT", "MERGE", "COPY", "WITH"})
# Up to where a statement is read for names; what is longer is rows.
_LONGEST = 20_000


def check_half_way(
    plan: RolloutPlan, migrations: Sequence[Migration], certificates: Mapping[str, Certificate]
) -> tuple[CheckRow, ...]:
    """The check of one target's rollout; none where no stage leaves a version half done. Nothing is changed.

    A certificate says it by trying. Without one the scripts are read: what its down script names that only comes behind
    the rows, and rows that it changes. Where it is certain that a stage cannot be taken back that shall be, it stops.

    Args:
        plan: The stages.
        migrations: What is on disk.
        certificates: By version.
    """
    staged = [one for one in plan.stages if one.share is not None]
    if not staged or staged[0].share is None:
        return ()
    version = staged[0].share.version
    migration = next(one for one in migrations if one.version == version)
    notes = certificates[version].notes if version in certificates else ()
    certain = half_way_problem(notes)
    told = [certain] if certain else [] if HALF_WAY_WELL in notes else list(_doubts(migration))
    if not told:
        return (CheckRow(check=_CHECK, ok=1),)
    stops = certain is not None and any(one.stage.rollback_on_error for one in staged)
    finding = CheckFinding(
        place=staged[0].targets[0].name,
        check=_CHECK,
        result=CheckResult.STOP if stops else CheckResult.WARNING,
        detail=f"{version}: {'; '.join(told)}{_way_out(staged) if stops else ''}",
    )
    return (CheckRow(check=_CHECK, ok=0, findings=(finding,)),)


def _way_out(staged: Sequence[StagePlan]) -> str:
    names = ", ".join(one.stage.name for one in staged if one.stage.rollback_on_error)
    return f"; mend down.sql and rehearse it, or take rollback_on_error out of {names}"


def _doubts(migration: Migration) -> Iterator[str]:
    if migration.down_sql is None:
        yield "it has no down script, so a share of it is taken back by recovering the database, or not at all"
        return
    up = split_statements(migration.up_sql, source=migration.labels.up)
    place = next((place for place, one in enumerate(up) if one.batch is not None), len(up))
    known = {name for one in up[: place + 1] for name in _names(one)}
    later = {name for one in up[place + 1 :] for name in _names(one)} - known
    for one in split_statements(migration.down_sql, source=migration.labels.down):
        where = f"{migration.labels.down}:{one.line}"
        careful = "IF EXISTS" in " ".join(one.sql[:_LONGEST].upper().split())
        if (found := later & _names(one)) and not careful:
            names = ", ".join(sorted(found))
            yield f"{where} names {names}, which only comes behind the rows, in the last stage: write IF EXISTS"
        if one.words[:1] and one.words[0] in _WRITES:
            yield (
                f"{where} changes rows, and half-way only a part of them is as {migration.labels.up} leaves them:"
                " its condition has to tell which"
            )


def _names(statement: Statement) -> frozenset[str]:
    text = statement.sql[:_LONGEST]
    encoded = text.encode()
    try:
        found = [encoded[token.start : token.end].decode() for token in scan(text) if token.is_name]
    except UnreadableError:
        return frozenset()
    return frozenset(one.strip('"') if one.startswith('"') else one.lower() for one in found)
