"""Settings that a script stores for sessions to come: they must hold for the next script, too.

ALTER DATABASE … SET and ALTER ROLE … SET change nothing for a session that is there already. Who runs each script in a
session of its own, as psql does, has them from the next script on.
"""

from __future__ import annotations

import re

from squizzle.analysis.records import Statement
from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql

_STORING = frozenset({("ALTER", "DATABASE"), ("ALTER", "ROLE"), ("ALTER", "USER")})
_MAY_STORE = re.compile(r"\balter\s+(?:database|role|user)\b", re.IGNORECASE)


def stores_settings(statement: Statement) -> bool:
    """Whether a statement may store a setting for sessions to come."""
    if statement.words[:1] == ("DO",):
        return _MAY_STORE.search(statement.sql) is not None
    return statement.words[:2] in _STORING


def take_stored_settings(connection: Connection) -> None:
    """Give the session what a new one would begin with: settings stored for its database and its role.

    Settings that whoever connected asked for stay as they are, and so do those that only a superuser may set.
    """
    connection.execute(load_sql("squizzle.migrations", "stored_settings").encode())
