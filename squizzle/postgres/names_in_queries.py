"""Sessions for which a per cent sign in a name is a part of the name, and that refuse a name which would be cut.

PostgreSQL keeps the first 63 bytes of a name and goes on with those, with a notice that nobody reads: two names become
one (manual, "Identifiers and Key Words").

psycopg looks for its placeholders (`%s`) in the whole text of a query that has parameters, also in names that
`sql.Identifier` and texts that `sql.Literal` quoted. A schema named `a%b` made such a query fail, and one named `a%s`
took a parameter that was another's.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Any, Self

import psycopg
from psycopg import sql

from squizzle.errors import InvalidInputError

LONGEST_NAME_BYTES = 63
"""NAMEDATALEN - 1."""
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')


def refuse_cut_name(name: str, what: str) -> None:
    """Refuse a name that PostgreSQL would cut, and so take for another one's.

    Args:
        name: Any, as UTF-8.
        what: What it names, with its article.

    Raises:
        InvalidInputError: It is longer than 63 bytes; nothing was changed.
    """
    size = len(name.encode(errors="surrogateescape"))
    if size > LONGEST_NAME_BYTES:
        raise InvalidInputError(
            f"{what} cannot be called {name!r}: that has {size} bytes, and PostgreSQL keeps {LONGEST_NAME_BYTES}",
            hint="give the exact name, as `\\l`, `\\dn` or `\\du` of psql shows it",
        )


class NamesCursor(psycopg.Cursor[Any]):
    """A cursor that tells names from placeholders, and refuses names that would be cut."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        """As psycopg's."""
        _refuse_cut_names(query, self)
        return super().execute(query if params is None else _told_apart(query, self), params, **options)

    def executemany(self, query: Any, params_seq: Any, **options: Any) -> None:
        """As psycopg's."""
        _refuse_cut_names(query, self)
        super().executemany(_told_apart(query, self), params_seq, **options)


class ClientNamesCursor(psycopg.ClientCursor[Any]):
    """The same for one that sends its parameters within the query."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        """As psycopg's."""
        _refuse_cut_names(query, self)
        return super().execute(query if params is None else _told_apart(query, self), params, **options)


def _refuse_cut_names(query: Any, cursor: psycopg.Cursor[Any]) -> None:
    """Before anything is sent: a name is at most 63 bytes in the encoding of the database."""
    for name in _names_in(query, cursor):
        if len(name.encode(errors="surrogateescape")) <= LONGEST_NAME_BYTES:
            continue
        encoding = cursor.connection.info.parameter_status("server_encoding") or ""
        if _is_cut(name, encoding):
            refuse_cut_name(name, "nothing in a database")


def _names_in(query: Any, cursor: psycopg.Cursor[Any]) -> Iterator[str]:
    if isinstance(query, sql.Composed):
        for part in query:
            yield from _names_in(part, cursor)
    elif isinstance(query, sql.Identifier):
        yield from (one.replace('""', '"') for one in _QUOTED.findall(query.as_string(cursor)))


def _is_cut(name: str, encoding: str) -> bool:
    """Of an encoding that Python does not know only that each character has a byte is certain."""
    try:
        return len(codecs.encode(name, encoding)) > LONGEST_NAME_BYTES
    except (LookupError, UnicodeError):
        return len(name) > LONGEST_NAME_BYTES


def _told_apart(query: Any, session: Any) -> Any:
    if isinstance(query, sql.Composed):
        return sql.Composed([_told_apart(part, session) for part in query])
    if isinstance(query, sql.Identifier | sql.Literal):
        return sql.SQL(query.as_string(session).replace("%", "%%"))
    return query
