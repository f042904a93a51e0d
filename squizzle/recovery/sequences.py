"""Letting a recovered database go on counting where the damaged one stopped.

A backup has its sequences where they stood when it was taken. Numbers that were given out since then are known to
clients, other systems and printed paper; to give them out again would be a second disaster.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import sql

from squizzle.postgres.access import Connection
from squizzle.postgres.translation import translate_error


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceMove:
    """One sequence that was moved on.

    Attributes:
        sequence: Qualified and quoted name.
        before: Where it stood in the recovered database; None: nothing was taken from it yet.
        after: Where it stands now: where the damaged database's stood.
    """

    sequence: str
    before: int | None
    after: int


_POSITIONS = """
    SELECT format('%I.%I', schemaname, sequencename), schemaname::text, sequencename::text, last_value,
           CASE WHEN increment_by > 0 THEN 1 ELSE -1 END
    FROM pg_sequences
    WHERE schemaname NOT IN ('squizzle', 'squizzle_log', 'squizzle_undo') AND schemaname NOT LIKE 'pg\\_%'
    ORDER BY 1
"""


def carry_sequences(damaged: Connection, recovered: Connection) -> tuple[SequenceMove, ...]:
    """Move each sequence of the recovered database on to where the damaged one's stands. Never back. Safe to repeat.

    Args:
        damaged: A session in the damaged database, which is only read.
        recovered: A session in the recovered one, outside any transaction.

    Returns:
        Those that were moved.

    Raises:
        DatabaseError: A sequence cannot be read or written; those before it were moved.
    """
    there = {name: value for name, _, _, value, _ in _positions(damaged) if value is not None}
    moves = []
    for name, schema, sequence, value, sign in _positions(recovered):
        further = there.get(name)
        if further is None or (value is not None and further * sign <= value * sign):
            continue
        _set(recovered, schema, sequence, further)
        moves.append(SequenceMove(sequence=name, before=value, after=further))
    return tuple(moves)


def _positions(connection: Connection) -> list[tuple[str, str, str, int | None, int]]:
    try:
        return connection.execute(_POSITIONS).fetchall()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read the positions of sequences") from exc


def _set(connection: Connection, schema: str, sequence: str, value: int) -> None:
    name = sql.Identifier(schema, sequence).as_string(connection)
    try:
        connection.execute("SELECT setval(%s::regclass, %s)", (name, value))
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"move the sequence {name} on", needs=f"UPDATE on {name}") from exc
