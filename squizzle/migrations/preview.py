"""What a step would run, for looking at it before. Nothing is connected."""

from __future__ import annotations

from dataclasses import dataclass

from squizzle.analysis.records import Statement
from squizzle.errors import InvalidInputError
from squizzle.migrations.records import Direction, PlannedMigration


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """The statements of one step.

    Attributes:
        step: Which.
        statements: In order, as far as they can be told.
        transactional: Whether all of them run in one transaction, as far as that can be told.
        not_shown: Why they cannot be told; empty when they can.
    """

    step: PlannedMigration
    statements: tuple[Statement, ...]
    transactional: bool
    not_shown: str = ""


def preview_step(step: PlannedMigration) -> Preview:
    """The statements that a step would run; those of a program are asked from it."""
    program = step.migration.program
    if program is None:
        return Preview(step=step, statements=step.statements, transactional=step.transactional)
    try:
        statements = program.preview(back=step.direction is Direction.ROLLBACK)
    except InvalidInputError as exc:
        return Preview(step=step, statements=(), transactional=False, not_shown=exc.message)
    together = all(statement.transactional for statement in statements)
    return Preview(step=step, statements=statements, transactional=together)


def place_of(source: str, statement: Statement) -> str:
    """Where a statement comes from; what a program's own tool adds has no line."""
    return f"{source}:{statement.line}" if statement.line else source
