"""From the entries of a dump, the statements that make (or drop) a chosen few objects. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from squizzle.analysis.statements import split_statements
from squizzle.migrations.reversal.archive import Entry
from squizzle.migrations.reversal.trees import quoted

# Entries without a catalogue row of their own: they come with what they are about.
_COMPANIONS = frozenset(
    {
        "ACL",
        "COMMENT",
        "INDEX ATTACH",
        "ROW SECURITY",
        "SECURITY LABEL",
        "SEQUENCE OWNED BY",
        "TABLE ATTACH",
        "DEFAULT ACL",
    }
)
# Made by a dump only for rows.
_NO_DEFINITION = frozenset({"TABLE DATA", "SEQUENCE SET", "MATERIALIZED VIEW DATA", "BLOB", "BLOBS"})
_LAST = frozenset({"ACL"})

_OWNED_BY_NAME = frozenset(
    {
        "COLLATION",
        "CONVERSION",
        "DOMAIN",
        "FOREIGN TABLE",
        "MATERIALIZED VIEW",
        "SEQUENCE",
        "STATISTICS",
        "TABLE",
        "TEXT SEARCH CONFIGURATION",
        "TEXT SEARCH DICTIONARY",
        "TYPE",
        "VIEW",
    }
)
_OWNED_GLOBALLY = frozenset(
    {"EVENT TRIGGER", "FOREIGN DATA WRAPPER", "PROCEDURAL LANGUAGE", "PUBLICATION", "SCHEMA", "SERVER", "SUBSCRIPTION"}
)
_OWNED_BY_SIGNATURE = frozenset({"AGGREGATE", "FUNCTION", "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY", "PROCEDURE"})


def chosen_entries(entries: Sequence[Entry], rows: Collection[tuple[int, int]]) -> tuple[Entry, ...]:
    """The entries of these catalogue rows and of what is only about them, in the order of the dump.

    Args:
        entries: All of the dump.
        rows: (oid of the catalogue, oid of the row).
    """
    wanted = {one.id for one in entries if (one.catalogue, one.oid) in rows and one.kind not in _NO_DEFINITION}
    companions = {one.id for one in entries if one.kind in _COMPANIONS and _about(one) & wanted}
    chosen = [one for one in entries if one.id in wanted | companions and one.kind not in _NO_DEFINITION]
    return tuple(sorted(chosen, key=lambda one: one.kind in _LAST))


def _about(entry: Entry) -> frozenset[int]:
    return entry.needs


def making(entries: Sequence[Entry], *, current_user: str) -> tuple[str, ...]:
    """The statements that make these objects again, owners included."""
    return tuple(statement for entry in entries for statement in _making(entry, current_user))


def _making(entry: Entry, current_user: str) -> Iterator[str]:
    other_method = entry.kind == "TABLE" and entry.method not in {"", "heap"}
    if other_method:
        yield f"SET LOCAL default_table_access_method = {quoted(entry.method)}"
    yield from _split(entry.definition)
    if other_method:
        yield "SET LOCAL default_table_access_method = heap"
    if entry.owner and entry.owner != current_user and (owned := owned_object(entry)):
        yield f"ALTER {owned} OWNER TO {quoted(entry.owner)}"


def dropping(entries: Sequence[Entry]) -> tuple[str, ...]:
    """The statements that drop them again, the last one made first."""
    drops = [entry for entry in reversed(entries) if entry.drop and entry.kind not in _COMPANIONS]
    return tuple(statement for entry in drops for statement in _split(entry.drop))


def owned_object(entry: Entry) -> str:
    """What stands between ALTER and OWNER TO; empty for what has no owner of its own."""
    if entry.kind in _OWNED_BY_NAME:
        schema = f"{quoted(entry.schema)}." if entry.schema else ""
        return f"{entry.kind} {schema}{quoted(entry.tag)}"
    if entry.kind in _OWNED_GLOBALLY:
        return f"{entry.kind} {quoted(entry.tag)}"
    if entry.kind in _OWNED_BY_SIGNATURE:
        return entry.drop.strip().removeprefix("DROP ").rstrip(";")
    return ""


def _split(text: str) -> list[str]:
    return [one.sql for one in split_statements(text, source="the dump")]
