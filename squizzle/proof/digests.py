"""Taking fingerprints of a database, and comparing two of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import sql

from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error
from squizzle.proof.canonical import canonical
from squizzle.proof.records import (
    Comparison,
    DatabaseDigest,
    SchemaDigest,
    SchemaMatch,
    SchemaObject,
    TableComparison,
    TableDigest,
)

# The text of a value depends on these; the same everywhere makes the same text (manual, "Client Connection Defaults").
_TEXT_SETTINGS = {
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmloption": "content",
    "lc_monetary": "C",
    "quote_all_identifiers": "off",
    # Names come back qualified unless they are in pg_catalog.
    "search_path": "pg_catalog",
}

# Facts that a dump and a restore do not keep, and that change nothing for anybody who uses the schema.
_STRICT_ONLY = frozenset({"constraint origin"})

# Second rows about an object that has a row of its own: they come and go with it.
_COMPANIONS = frozenset(
    {"view definition", "constraint state", "constraint origin", "constraint triggers", "index state", "trigger state"}
)

_TABLES = """
    SELECT format('%%I.%%I', n.nspname, c.relname), n.nspname, c.relname,
           coalesce((SELECT array_agg(a.attname::text ORDER BY a.attname)
                     FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '{}')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND n.nspname NOT LIKE 'pg\\_%%'
      AND (%(schema)s::text IS NULL OR n.nspname = %(schema)s::text)
      AND (%(bookkeeping)s OR (n.nspname <> 'squizzle' AND c.relname <> 'squizzle_history'))
    ORDER BY c.relpages DESC, 1
"""

_SEQUENCES = """
    SELECT format('%%I.%%I', schemaname, sequencename), last_value
    FROM pg_sequences
    WHERE schemaname <> 'squizzle' AND sequencename <> 'squizzle_history_id_seq'
      AND (%(schema)s::text IS NULL OR schemaname = %(schema)s::text)
    ORDER BY 1
"""


def digest_database(connection: Connection, *, schema: str | None = None, bookkeeping: bool = False) -> DatabaseDigest:
    """Fingerprint schema, rows and sequences in one snapshot of its own. Nothing is changed.

    Args:
        connection: A session outside any transaction that may read every table.
        schema: Only this schema; None for the whole database.
        bookkeeping: Count the rows of Squizzle's own tables, too (a backup does, a migration proof must not).

    Raises:
        DatabaseError: A table may not be read, or the session was lost.
    """
    with read_snapshot(connection):
        return digest_in_snapshot(connection, schema=schema, bookkeeping=bookkeeping)


def digest_in_snapshot(
    connection: Connection, *, schema: str | None = None, bookkeeping: bool = False
) -> DatabaseDigest:
    """The same inside a snapshot that the caller opened with `read_snapshot`."""
    with _translated("fingerprint the database"):
        return DatabaseDigest(
            schema=_schema_digest(connection, schema),
            tables=tuple(
                _digest_table(connection, *row) for row in _tables(connection, schema, bookkeeping=bookkeeping)
            ),
            sequences=_sequences(connection, schema),
        )


def digest_schema(connection: Connection, *, schema: str | None = None) -> SchemaDigest:
    """Fingerprint only the definitions, from the catalogue; costs milliseconds. Nothing is changed.

    Raises:
        DatabaseError: The session was lost.
    """
    with read_snapshot(connection), _translated("fingerprint the schema"):
        return _schema_digest(connection, schema)


@contextmanager
def read_snapshot(connection: Connection) -> Iterator[str]:
    """One read-only REPEATABLE READ transaction, with the settings that make the texts of values comparable.

    Yields:
        The exported snapshot's id: other sessions and `pg_dump --snapshot` see exactly the same rows while this
        transaction is open (manual, "Snapshot Synchronization Functions").
    """
    with _translated("open a snapshot"), connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for name, value in _TEXT_SETTINGS.items():
            connection.execute("SELECT set_config(%s, %s, true)", (name, value))
        row = connection.execute("SELECT pg_export_snapshot()").fetchone()
        yield str(row[0]) if row else ""


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as exc:
        raise translate_error(exc, doing=doing) from exc


def _schema_digest(connection: Connection, schema: str | None) -> SchemaDigest:
    rows = connection.execute(load_sql("squizzle.proof", "schema_objects"), {"schema": schema}).fetchall()
    objects = tuple(sorted((_schema_object(*row) for row in rows), key=lambda one: (one.kind, one.name, one.strict)))
    return SchemaDigest(
        strict=_sha256(f"{one.kind} {one.name} {one.strict}" for one in objects),
        logical=_sha256(f"{one.kind} {one.name} {one.logical}" for one in objects),
        objects=objects,
    )


def _schema_object(kind: str, name: str, parent: str, position: int, definition: str | None) -> SchemaObject:
    text = definition or ""
    if kind in _STRICT_ONLY:
        meaning = ""
    elif kind == "enum value":
        meaning = f"{position} {text}"  # they compare by their order; that of columns has no such meaning
    else:
        meaning = canonical(kind, text)
    return SchemaObject(
        kind=kind, name=name, parent=parent, strict=_sha256((str(position), text)), logical=_sha256((meaning,))
    )


def _tables(connection: Connection, schema: str | None, *, bookkeeping: bool) -> list[tuple[str, str, str, list[str]]]:
    cursor = connection.execute(_TABLES, {"schema": schema, "bookkeeping": bookkeeping})
    return sorted((name, space, table, columns) for name, space, table, columns in cursor)


def _digest_table(connection: Connection, name: str, space: str, table: str, columns: list[str]) -> TableDigest:
    # md5 and the like are slower and no surer against accidents; xor alone would cancel duplicate rows.
    query = sql.SQL("SELECT count(*), coalesce(sum(hashtextextended(ROW({columns})::text, 0)), 0)::text FROM ONLY {t}")
    row = connection.execute(
        query.format(
            columns=sql.SQL(", ").join(sql.Identifier("t", column) for column in columns),
            t=sql.SQL("{} AS t").format(sql.Identifier(space, table)),
        )
    ).fetchone()
    if row is None:
        raise AssertionError("an aggregate without GROUP BY returned no row")
    return TableDigest(table=name, rows=row[0], digest=row[1])


def _sequences(connection: Connection, schema: str | None) -> dict[str, int | None]:
    return dict(connection.execute(_SEQUENCES, {"schema": schema}).fetchall())


def compare_digests(expected: DatabaseDigest, found: DatabaseDigest) -> Comparison:
    """Everything in which `found` differs from `expected`. Pure.

    A sequence may stand higher than expected: sequences do not follow snapshots, and a gap in numbers harms nobody,
    while a lower one would give out numbers that are taken.
    """
    wanted = {(one.kind, one.name): one for one in expected.schema.objects}
    there = {(one.kind, one.name): one for one in found.schema.objects}
    return Comparison(
        schema=_schema_match(expected.schema, found.schema),
        missing=_top_labels([wanted[key] for key in wanted.keys() - there.keys()]),
        changed=_labels(one for key, one in wanted.items() if key in there and there[key].logical != one.logical),
        unexpected=_top_labels([there[key] for key in there.keys() - wanted.keys()]),
        tables=_compare_tables(expected.tables, found.tables),
        sequences=_compare_sequences(expected.sequences, found.sequences),
    )


def _schema_match(expected: SchemaDigest, found: SchemaDigest) -> SchemaMatch:
    if expected.strict == found.strict:
        return SchemaMatch.EXACT
    return SchemaMatch.LOGICAL if expected.logical == found.logical else SchemaMatch.DIFFERENT


def _labels(objects: Iterable[SchemaObject]) -> tuple[str, ...]:
    return tuple(sorted({one.label for one in objects}))


def _top_labels(objects: Sequence[SchemaObject]) -> tuple[str, ...]:
    """The objects that are gone (or new) themselves: the columns of a table that is gone say nothing more."""
    tops = {one.name for one in objects if not one.parent}
    return _labels(one for one in objects if one.parent not in tops and one.kind not in _COMPANIONS)


def _compare_tables(expected: Sequence[TableDigest], found: Sequence[TableDigest]) -> tuple[TableComparison, ...]:
    wanted = {one.table: one for one in expected}
    there = {one.table: one for one in found}
    return tuple(
        TableComparison(
            table=name,
            expected_rows=wanted[name].rows if name in wanted else None,
            found_rows=there[name].rows if name in there else None,
            equal=wanted.get(name) == there.get(name),
        )
        for name in sorted(wanted.keys() | there.keys())
    )


def _compare_sequences(expected: Mapping[str, int | None], found: Mapping[str, int | None]) -> tuple[str, ...]:
    behind = []
    for name, position in sorted(expected.items()):
        if name not in found:
            behind.append(f"{name} is not there")
        elif position is not None and (found[name] or 0) < position:
            behind.append(f"{name} stands at {found[name]}, expected at least {position}")
    return tuple(behind)


def _sha256(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.hexdigest()
