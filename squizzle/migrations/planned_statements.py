"""A plan as the statements that will run, each with its limits, its locks, their effects, and its way back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from squizzle.analysis.locks.forecast import hazards_of, predict_locks
from squizzle.analysis.locks.records import Forecast, RelationSet
from squizzle.analysis.locks.side import SideLock, Surroundings, side_locks, with_locks
from squizzle.analysis.records import Statement
from squizzle.migrations.limits import batch_lock_timeout, lock_timeout_of, sets_lock_timeout
from squizzle.migrations.preview import preview_step
from squizzle.migrations.records import Direction, Plan, PlannedMigration, Policy
from squizzle.migrations.units import Unit, UnitKind


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedStatement:
    """One statement that will run.

    Attributes:
        version: Of the script that it is part of.
        source: The script's name; the statement's line is counted from its first.
        statement: What will run.
        transactional: Whether it runs in a transaction with others.
        lock_timeout: How long it may wait for a lock; None when the script itself says so.
        statement_timeout: How long it may take.
        forecast: What it is expected to lock, relations that the run itself makes left out.
        reversal: The script that takes it back; empty when there is none.
        also_locks: What it locks besides what it names, which the forecast holds, too; empty where no database was
            asked.
    """

    version: str
    source: str
    statement: Statement
    transactional: bool
    lock_timeout: timedelta | None
    statement_timeout: timedelta
    forecast: Forecast
    reversal: str
    also_locks: tuple[SideLock, ...] = ()

    @property
    def hazards(self) -> tuple[str, ...]:
        """What it means for clients and data, a sentence each."""
        return hazards_of(self.forecast)


def planned_statements(plan: Plan, around: Surroundings | None = None) -> tuple[PlannedStatement, ...]:
    """Every statement of the plan, in the order in which it will run; no database is asked.

    Args:
        plan: The plan.
        around: What hangs together in the database before the first statement; without it, locks are told from the
            text.
    """
    created = RelationSet()
    planned: list[PlannedStatement] = []
    for step in plan.steps:
        for unit in _units(step):
            for statement, lock_timeout in _with_timeouts(unit, plan.policy):
                forecast = predict_locks(statement, around.measured if around else None).without(created)
                side = side_locks(forecast, around) if around else ()
                created.update(forecast.creates)
                planned.append(
                    PlannedStatement(
                        version=step.migration.version,
                        source=step.source,
                        statement=statement,
                        transactional=unit.transactional,
                        lock_timeout=lock_timeout,
                        statement_timeout=plan.timeouts.statement,
                        forecast=with_locks(forecast, side, around.kin) if around else forecast,
                        reversal=_reversal(step),
                        also_locks=side,
                    )
                )
    return tuple(planned)


def _units(step: PlannedMigration) -> Iterator[Unit]:
    """The pieces; those of a program are asked from it, and what it does not tell is a statement that nobody knows."""
    if step.migration.program is None:
        yield from step.units
        return
    preview = preview_step(step)
    for statement in preview.statements:
        kind = UnitKind.TRANSACTION if statement.transactional else UnitKind.ALONE
        yield Unit(kind=kind, statements=(statement,), ends_at=0)
    if preview.not_shown:
        unknown = Statement(sql=f"-- {preview.not_shown}", line=0, words=(), transactional=False)
        yield Unit(kind=UnitKind.PROGRAM, statements=(unknown,), ends_at=0)


def _with_timeouts(unit: Unit, policy: Policy) -> Iterator[tuple[Statement, timedelta | None]]:
    script_decides = False
    for statement in unit.statements:
        if statement.batch is not None:
            yield statement, batch_lock_timeout(policy.batches.with_mark(statement.batch), policy.timeouts)
            continue
        yield statement, None if script_decides else lock_timeout_of(statement, unit.kind, policy.timeouts)
        script_decides = script_decides or sets_lock_timeout(statement)


def _reversal(step: PlannedMigration) -> str:
    if step.direction is Direction.ROLLBACK:
        return step.migration.labels.up
    migration = step.migration
    has_way_back = migration.program.has_way_back if migration.program else migration.down_sql is not None
    return migration.labels.down if has_way_back else ""
