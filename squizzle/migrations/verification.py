"""Whether a statement of a verify script holds."""

from __future__ import annotations

from collections.abc import Sequence

from squizzle.analysis.records import Statement
from squizzle.migrations.failures import excerpt
from squizzle.postgres.access import Connection


def check_verification(connection: Connection, statement: Statement) -> str:
    """Run one statement of a verify script; empty when it holds, else what is wrong.

    It holds when it runs without an error and, if it is a query of one boolean column, when there is at least one row
    and every row is true.
    """
    cursor = connection.execute(statement.sql.encode())
    if cursor.description is None or len(cursor.description) != 1 or cursor.description[0].type_display != "bool":
        return ""
    rows: Sequence[tuple[object, ...]] = cursor.fetchall()
    if not rows:
        return "no row came back, so nothing was checked"
    wrong = sum(row != (True,) for row in rows)
    return f"{wrong} of {len(rows)} rows are not true: {excerpt(statement)}" if wrong else ""
