"""Names as SQL writes them, for the safe way in the script's own words."""

from __future__ import annotations

import re

from squizzle.analysis.locks.records import RelationName

_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")


def quoted(name: str) -> str:
    """A name as it stands in SQL: quoted only where it has to be."""
    escaped = name.replace('"', '""')
    return name if _PLAIN.fullmatch(name) else f'"{escaped}"'


def qualified(relation: RelationName) -> str:
    """A relation's name as it stands in SQL."""
    return f"{quoted(relation.schema)}.{quoted(relation.name)}" if relation.schema else quoted(relation.name)
