"""The query over the catalogue, without the parts that can find nothing in a database: planning them costs the most."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from types import MappingProxyType
from typing import LiteralString

from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql

# Whether there is anything of a kind, by the name that parts of the query take it from: a catalogue or a subquery. What
# initdb makes has an OID below 16384 (FirstNormalObjectId, access/transam.h), in schemas that no digest is about.
QUESTIONS: Mapping[str, LiteralString] = MappingProxyType(
    {
        "functions": "SELECT FROM pg_proc WHERE oid >= 16384",
        "pg_attrdef": "SELECT FROM pg_attrdef WHERE oid >= 16384",
        "pg_collation": "SELECT FROM pg_collation WHERE oid >= 16384",
        "pg_conversion": "SELECT FROM pg_conversion WHERE oid >= 16384",
        "pg_default_acl": "SELECT FROM pg_default_acl",
        "pg_enum": "SELECT FROM pg_enum",
        "pg_opclass": "SELECT FROM pg_opclass WHERE oid >= 16384",
        "pg_operator": "SELECT FROM pg_operator WHERE oid >= 16384",
        "pg_opfamily": "SELECT FROM pg_opfamily WHERE oid >= 16384",
        "pg_policy": "SELECT FROM pg_policy",
        # That of a view is read by its relation.
        "pg_rewrite": "SELECT FROM pg_rewrite WHERE oid >= 16384 AND rulename <> '_RETURN'",
        "pg_sequence": "SELECT FROM pg_sequence",
        "pg_statistic_ext": "SELECT FROM pg_statistic_ext",
        "pg_trigger": "SELECT FROM pg_trigger",
        "pg_ts_config": "SELECT FROM pg_ts_config WHERE oid >= 16384",
        "pg_ts_dict": "SELECT FROM pg_ts_dict WHERE oid >= 16384",
        # Each table has a type of its own and an array of it, which are not listed.
        "types": "SELECT FROM pg_type t WHERE oid >= 16384 AND (typtype IN ('e', 'd', 'r')"
        " OR (typtype = 'b' AND typsubscript <> 'array_subscript_handler'::regproc)"
        " OR (typtype = 'c' AND EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c')))",
    }
)
# Of the database, so no part of a digest of one schema.
_WHOLE_DATABASE = "%(schema)s::text IS NULL"
_BETWEEN = "\nUNION ALL\n"
_SOURCE = re.compile(r"(?:^FROM|(?<!LEFT )\bJOIN) (\w+)")


def objects_query(connection: Connection, *, schema: str | None) -> LiteralString:
    """`schema_objects.sql` with the parts that may find something in this database, as the transaction sees it.

    Args:
        connection: The session that will run it, with the parameter `schema`.
        schema: The one schema that it is about; None for the whole database.

    Raises:
        psycopg.Error: The session was lost.
    """
    row = connection.execute(_what_is_there()).fetchone() or ()
    there = frozenset(name for name, found in zip(QUESTIONS, row, strict=True) if found)
    return _query_for(there, whole=schema is None)


@cache
def _what_is_there() -> LiteralString:
    return "SELECT " + ", ".join(f"EXISTS ({one})" for one in QUESTIONS.values())


# A fleet's databases are alike.
@lru_cache(maxsize=64)
def _query_for(there: frozenset[str], *, whole: bool) -> LiteralString:
    subqueries, parts = query_parts()
    lacking = QUESTIONS.keys() - there
    kept = [part for part in parts if (whole or _WHOLE_DATABASE not in part) and not lacking & sources(part)]
    return f"{subqueries}\n{_BETWEEN.join(kept)}"


@cache
def query_parts() -> tuple[LiteralString, tuple[LiteralString, ...]]:
    """The subqueries of the whole query, and its parts, each of which lists one kind of object. Pure."""
    first, *others = load_sql("squizzle.proof", "schema_objects").split(_BETWEEN)
    subqueries, begin, rest = first.partition("\n)\n")
    return subqueries + begin, (rest, *others)


def sources(part: str) -> frozenset[str]:
    """What a part takes rows from: where one of them is empty, it has none. Subqueries in a part are indented. Pure."""
    lines = (line for line in part.splitlines() if line.startswith(("FROM ", "JOIN ")))
    return frozenset(name for line in lines for name in _SOURCE.findall(line))
