"""Names of tables as people give them."""

from __future__ import annotations

from squizzle.errors import InvalidInputError


def table_names(tables: tuple[str, ...], schema: str) -> tuple[tuple[str, str], ...]:
    """(schema, name) of each, without doubles; a name with a dot says its schema itself.

    Raises:
        InvalidInputError: One is no name.
    """
    found = []
    for one in tables:
        before, dot, after = one.partition(".")
        if not before or (dot and not after):
            raise InvalidInputError(f"{one!r} is no name of a table", hint="write TABLE or SCHEMA.TABLE")
        found.append((before, after) if dot else (schema, one))
    return tuple(dict.fromkeys(found))
