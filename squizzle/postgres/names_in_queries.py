"""Sessions for which a per cent sign in a name is a part of the name.

psycopg looks for its placeholders (`%s`) in the whole text of a query that has parameters, also in names that
`sql.Identifier` and texts that `sql.Literal` quoted. A schema named `a%b` made such a query fail, and one named `a%s`
took a parameter that was another's.
"""

from __future__ import annotations

from typing import Any, Self

import psycopg
from psycopg import sql


class NamesCursor(psycopg.Cursor[Any]):
    """A cursor that tells names from placeholders."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        """As psycopg's."""
        return super().execute(query if params is None else _told_apart(query, self), params, **options)

    def executemany(self, query: Any, params_seq: Any, **options: Any) -> None:
        """As psycopg's."""
        super().executemany(_told_apart(query, self), params_seq, **options)


class ClientNamesCursor(psycopg.ClientCursor[Any]):
    """The same for one that sends its parameters within the query."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        """As psycopg's."""
        return super().execute(query if params is None else _told_apart(query, self), params, **options)


def _told_apart(query: Any, session: Any) -> Any:
    if isinstance(query, sql.Composed):
        return sql.Composed([_told_apart(part, session) for part in query])
    if isinstance(query, sql.Identifier | sql.Literal):
        return sql.SQL(query.as_string(session).replace("%", "%%"))
    return query
