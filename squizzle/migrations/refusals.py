"""What PostgreSQL refuses in a transaction though the text does not show it. Pure.

A procedure or a DO block that commits, REINDEX or CLUSTER of a partitioned table, an enum value that is used under
another spelling than the one it was added by: only the server knows. It says so with an error, the transaction is gone
as if it had never been, and the piece is divided at that statement and run again.
"""

from __future__ import annotations

from dataclasses import replace

import psycopg

from squizzle.migrations.units import Unit, UnitKind

# SQLSTATE codes, PostgreSQL manual, appendix "PostgreSQL Error Codes".
_ACTIVE_TRANSACTION = "25001"
_INVALID_TRANSACTION_TERMINATION = "2D000"
_UNSAFE_NEW_ENUM_VALUE = "55P04"

# SET TRANSACTION has the same SQLSTATE and no effect outside a transaction; in a function, nothing of it helps.
_NEVER_HELPED = frozenset({"SET", "SELECT", "WITH", "DO", "CALL"})
_MAY_COMMIT = frozenset({"DO", "CALL"})


def divide_where_refused(unit: Unit, refused: int, error: psycopg.Error | None) -> tuple[Unit, ...]:
    """The pieces to run instead of one that the server refused and rolled back; none when that would not help.

    Args:
        unit: What was refused. Where the script itself says BEGIN, it is run as it says or not at all.
        refused: The place of the statement that failed, counted from 0.
        error: What the server said.
    """
    if error is None or unit.begun or unit.kind is not UnitKind.TRANSACTION or refused >= len(unit.statements):
        return ()
    sqlstate = error.sqlstate
    if sqlstate == _UNSAFE_NEW_ENUM_VALUE:
        return _cut(unit, refused) if refused else ()
    first = next(iter(unit.statements[refused].words), "")
    if sqlstate == _ACTIVE_TRANSACTION and first not in _NEVER_HELPED:
        return _apart(unit, refused)
    if sqlstate == _INVALID_TRANSACTION_TERMINATION and first in _MAY_COMMIT:
        return _apart(unit, refused)
    return ()


def _cut(unit: Unit, at: int) -> tuple[Unit, Unit]:
    left = len(unit.statements) - at
    return (
        replace(unit, statements=unit.statements[:at], ends_at=unit.ends_at - left),
        replace(unit, statements=unit.statements[at:]),
    )


def _apart(unit: Unit, at: int) -> tuple[Unit, ...]:
    before, rest = _cut(unit, at)
    alone, after = _cut(rest, 1)
    pieces = (before, replace(alone, kind=UnitKind.ALONE), after)
    return tuple(piece for piece in pieces if piece.statements)
