"""A column's collation changes, and its indexes are built anew."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AlterColumnType
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import qualified, quoted


def _check(action: AlterColumnType, context: Context) -> Iterator[Hit]:
    if action.has_collation and not context.is_new(action.table):
        yield Hit(
            message=f"builds every index on {action.column} of {action.table} anew while nobody can use the table",
            hint=f"CREATE INDEX CONCURRENTLY ON {qualified(action.table)} ({quoted(action.column)} COLLATE …);"
            f" -- and write COLLATE in the queries, ORDER BY {quoted(action.column)} COLLATE …",
            relation=action.table,
            mode=LockMode.ACCESS_EXCLUSIVE,
            location=action.location,
        )


RULE = Rule(
    code="L119",
    name="collation-rebuilds-indexes",
    severity=Severity.WARNING,
    condition="ALTER COLUMN … TYPE … COLLATE.",
    effect="The table is not written anew, but all its indexes over the column are, under ACCESS EXCLUSIVE.",
    safe_way="An index with the other collation, built CONCURRENTLY, and COLLATE in the queries that need it.",
    bad='ALTER TABLE users ALTER COLUMN full_name TYPE text COLLATE "C";',
    good='CREATE INDEX CONCURRENTLY users_full_name_c ON users (full_name COLLATE "C");',
    source="Measured on 15 and 18",
    on=(AlterColumnType,),
    check=_check,
)
