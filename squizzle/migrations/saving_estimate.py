"""How much would be saved by a plan that saves rows: asked of the database before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg

from squizzle.analysis.records import Statement
from squizzle.analysis.statements import split_statements
from squizzle.migrations.records import Plan, PlannedMigration
from squizzle.migrations.reversal.catalogue import Catalogue
from squizzle.migrations.reversal.context import Context
from squizzle.migrations.reversal.keeping import contexts_of, saving_of
from squizzle.migrations.session import work_in_schema
from squizzle.postgres.access import Connection
from squizzle.postgres.translation import translate_error

# Rows of the table as its statistics say, and the bytes that one takes on the average, TOAST included.
_SIZE = """
    SELECT sum(greatest(c.reltuples, 0))::bigint,
           coalesce(sum(pg_table_size(c.oid))::bigint / nullif(sum(greatest(c.reltuples, 0))::bigint, 0), 0)
    FROM pg_class c
    WHERE c.oid = to_regclass(%(name)s)
       OR c.oid IN (SELECT relid FROM pg_partition_tree(to_regclass(%(name)s)) WHERE isleaf)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class SavingEstimate:
    """What one statement would save.

    Attributes:
        tables: Whose rows, quoted as the statement names them.
        rows: How many of its own table, as the planner or the statistics say.
        size_bytes: About as much disk, at most: as if whole rows were kept.
        problem: Why nothing can be saved (or why it is not known yet); empty when it can.
    """

    tables: tuple[str, ...] = ()
    rows: int = 0
    size_bytes: int = 0
    problem: str = ""


def estimate_savings(connection: Connection, plan: Plan) -> Mapping[tuple[str, int], SavingEstimate]:
    """What each statement that saves rows would save, by version and number of the statement. Nothing is changed.

    Raises:
        DatabaseError: The session was lost.
    """
    found: dict[tuple[str, int], SavingEstimate] = {}
    try:
        with connection.transaction(force_rollback=True):
            work_in_schema(connection, plan.schema)
            for step in plan.steps:
                found |= {
                    (step.migration.version, statement.saves): _estimate(connection, statement, context)
                    for statement, context in _saving_statements(step)
                }
    except psycopg.Error as exc:
        raise translate_error(exc, doing="estimate how many rows will be saved") from exc
    return found


def _saving_statements(step: PlannedMigration) -> list[tuple[Statement, Context]]:
    chosen = [one for one in step.statements if one.saves]
    if not chosen:
        return []
    statements = split_statements(step.migration.up_sql, source=step.source)
    contexts = list(contexts_of(statements, Context(save_as=step.migration.version)))
    return [(one, contexts[one.saves - 1]) for one in chosen]


def _estimate(connection: Connection, statement: Statement, context: Context) -> SavingEstimate:
    saving, problem = saving_of(statement.sql, Catalogue(connection), context)
    if not saving:
        return SavingEstimate(problem=problem)
    tables = tuple(one.table for one in saving.tables)
    counted, width = _size(connection, tables[0])
    rows = _planned_rows(connection, statement) if saving.counted else None
    rows = counted if rows is None else rows
    return SavingEstimate(tables=tables, rows=rows, size_bytes=rows * width)


def _size(connection: Connection, table: str) -> tuple[int, int]:
    row = connection.execute(_SIZE, {"name": table}).fetchone()
    return (int(row[0] or 0), int(row[1] or 0)) if row else (0, 0)


def _planned_rows(connection: Connection, statement: Statement) -> int | None:
    """How many rows the planner thinks that the statement changes; None when it cannot say."""
    try:
        with connection.transaction():
            row = connection.execute(b"EXPLAIN (FORMAT JSON) " + statement.sql.encode()).fetchone()
    except (psycopg.errors.ProgrammingError, psycopg.errors.DataError, psycopg.errors.ReadOnlySqlTransaction):
        return None
    plan = row[0][0]["Plan"] if row else {}
    below = [part for part in plan.get("Plans", []) if part.get("Parent Relationship") != "InitPlan"]
    return sum(int(part["Plan Rows"]) for part in below)
