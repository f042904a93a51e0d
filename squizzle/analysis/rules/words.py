"""Names as SQL writes them, for the safe way in the script's own words."""

from __future__ import annotations

import re
from collections.abc import Iterable

from squizzle.analysis.columns import TypeName
from squizzle.analysis.locks.records import RelationName

# What one migration must have committed before the other begins.
LATER = "-- in the next migration:"
_LONGEST_NAME = 63
_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")


def quoted(name: str) -> str:
    """A name as it stands in SQL: quoted only where it has to be."""
    escaped = name.replace('"', '""')
    return name if _PLAIN.fullmatch(name) else f'"{escaped}"'


def bracketed(columns: Iterable[str]) -> str:
    """Columns as SQL lists them; an expression, which has no name, is left open."""
    return f"({', '.join(quoted(column) if column else '…' for column in columns)})"


def beside(table: RelationName, name: str) -> str:
    """Something else in the schema of a table, from its name as SQL writes it."""
    return f"{quoted(table.schema)}.{name}" if table.schema else name


_SQL_TYPES = {
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "bool": "boolean",
    "float4": "real",
    "float8": "double precision",
}


def sql_type(type_: TypeName) -> str:
    """A type as SQL writes it: `bigint` for int8, `char(3)` for bpchar(3)."""
    plain = "char" if type_.name == "bpchar" and type_.modifiers else type_.name
    name = f"{quoted(type_.schema)}.{quoted(plain)}" if type_.schema else _SQL_TYPES.get(plain) or quoted(plain)
    modifiers = f"({', '.join(map(str, type_.modifiers))})" if type_.modifiers else ""
    return f"{name}{modifiers}{'[]' if type_.is_array else ''}"


def alter(table: RelationName) -> str:
    """The beginning of ALTER TABLE."""
    return f"ALTER TABLE {qualified(table)}"


def name_for(table: RelationName, *parts: str) -> str:
    """A name for something that belongs to a table, cut off where PostgreSQL would."""
    name = "_".join([table.name, *(part for part in parts if part)])
    return quoted(name.encode()[:_LONGEST_NAME].decode(errors="ignore"))


def qualified(relation: RelationName) -> str:
    """A relation's name as it stands in SQL."""
    return f"{quoted(relation.schema)}.{quoted(relation.name)}" if relation.schema else quoted(relation.name)
