"""Tables that Squizzle keeps for itself, in the schema `squizzle` of a database of the user's."""

from __future__ import annotations

from squizzle.postgres.access import Connection


def is_there(connection: Connection, table: str) -> bool:
    """Whether there is such a table, or any other relation, by its qualified name: `squizzle.alert`.

    Raises:
        psycopg.Error: The session was lost.
    """
    return connection.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone() == (True,)
