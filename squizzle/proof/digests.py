"""Taking fingerprints of a database, and comparing two of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from squizzle.headway import Unit, is_told, stretch
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
from squizzle.proof.schema_query import objects_query

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
    # A database without an encoding (SQL_ASCII) would send names as bytes.
    "client_encoding": "UTF8",
    # To compile the one long query over the catalogue takes longer than to run it.
    "jit": "off",
    # Rather an error than a fingerprint of the rows that a policy lets us see.
    "row_security": "off",
}

# One round trip for all of them.
_SET_FOR_TRANSACTION = (
    "SELECT pg_catalog.set_config(key, value, true) FROM pg_catalog.jsonb_each_text(%s::pg_catalog.jsonb)"
)

# Facts that a dump and a restore do not keep, and that change nothing for anybody who uses the schema.
_STRICT_ONLY = frozenset({"constraint origin"})

# Further rows about an object that has a row of its own: they come and go with it.
_COMPANIONS = frozenset(
    {
        "constraint origin",
        "constraint state",
        "constraint triggers",
        "domain constraint state",
        "function state",
        "index state",
        "partition key",
        "policy check",
        "policy using",
        "publication filter",
        "rule state",
        "statistics state",
        "trigger state",
        "view definition",
    }
)

# pg_dump leaves these out (manual, "pg_dump", is silent about it; getIndexes() in its source is not).
_NOT_IN_A_DUMP = "invalid index"

_TABLES = """
    SELECT format('%%I.%%I', n.nspname, c.relname), n.nspname, c.relname,
           coalesce((SELECT array_agg(a.attname::text ORDER BY a.attname)
                     FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '{}')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'squizzle_undo', 'squizzle_salvage')
      AND n.nspname NOT LIKE 'pg\\_%%'
      AND (%(schema)s::text IS NULL OR n.nspname = %(schema)s::text)
      AND (%(bookkeeping)s OR (n.nspname <> 'squizzle' AND c.relname <> 'squizzle_history'))
      -- Of an extension's tables, those that it lets a dump save (manual, "Extension Configuration Tables").
      AND NOT EXISTS (SELECT 1 FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
                        AND d.refclassid = 'pg_extension'::regclass AND c.oid <> ALL (coalesce(e.extconfig, '{}')))
    ORDER BY c.relpages DESC, 1
"""

_HISTORY = ".squizzle_history"

_SCALARS = """
    SELECT name
    FROM (SELECT a.attname::text, t.typcategory FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
          WHERE a.attrelid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped
          UNION ALL
          SELECT t.typname::text, t.typcategory FROM pg_type t WHERE t.oid >= 16384) AS one (name, category)
    GROUP BY name HAVING bool_and(category <> 'A')
"""

_SEQUENCES = """
    SELECT format('%%I.%%I', schemaname, sequencename),
           CASE WHEN increment_by > 0 THEN last_value ELSE -greatest(last_value, -9223372036854775807) END
    FROM pg_sequences
    WHERE schemaname <> 'squizzle' AND sequencename <> 'squizzle_history_id_seq'
      AND (%(schema)s::text IS NULL OR schemaname = %(schema)s::text)
    ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class TableRows:
    """A table whose rows are to be digested.

    Attributes:
        name: Qualified and quoted.
        schema: Where it is.
        table: Its bare name.
        columns: In the order of their names.
    """

    name: str
    schema: str
    table: str
    columns: list[str]

    @property
    def digest(self) -> sql.Composed:
        """Number of rows and sum of their hashes, as the list of a SELECT from `source`."""
        # md5 and the like are slower and no surer against accidents; xor alone would cancel duplicate rows.
        return sql.SQL("count(*), coalesce(sum(hashtextextended(ROW({})::text, 0)), 0)::text").format(
            sql.SQL(", ").join(sql.Identifier("t", column) for column in self.columns)
        )

    @property
    def source(self) -> sql.Composed:
        """The table, named `t`."""
        return sql.SQL("{} AS t").format(sql.Identifier(self.schema, self.table))


TableDigester = Callable[[Connection, TableRows], TableDigest]


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


def without_bookkeeping(digest: DatabaseDigest) -> DatabaseDigest:
    """The same without the rows of Squizzle's own tables, as `digest_database` gives it by default. Pure."""
    tables = tuple(
        one for one in digest.tables if not one.table.startswith("squizzle.") and not one.table.endswith(_HISTORY)
    )
    return replace(digest, tables=tables)


def digest_in_snapshot(
    connection: Connection,
    *,
    schema: str | None = None,
    bookkeeping: bool = False,
    rows: bool = True,
    digest_table: TableDigester | None = None,
) -> DatabaseDigest:
    """The same inside a snapshot that the caller opened with `read_snapshot`; without `rows` only the definitions.

    Args:
        connection: The session with the snapshot.
        schema: As above.
        bookkeeping: As above.
        rows: Whether tables are read at all.
        digest_table: Another way to the same digest of a table than to read all of it.
    """
    with _translated("fingerprint the database"):
        if not rows:
            return DatabaseDigest(schema=_schema_digest(connection, schema), tables=(), sequences={})
        return DatabaseDigest(
            sequences=read_sequences(connection, schema=schema),
            schema=_schema_digest(connection, schema),
            tables=_table_digests(
                connection,
                [TableRows(*row) for row in _tables(connection, schema, bookkeeping=bookkeeping)],
                digest_table or digest_whole_table,
            ),
        )


def digest_schema(connection: Connection, *, schema: str | None = None) -> SchemaDigest:
    """Fingerprint only the definitions, from the catalogue; costs milliseconds. Nothing is changed.

    Raises:
        DatabaseError: The session was lost.
    """
    with _translated("fingerprint the schema"), _snapshot(connection):
        return _schema_digest(connection, schema)


def digest_own_changes(connection: Connection) -> SchemaDigest:
    """Fingerprint all definitions as this session's open transaction sees them, its own changes included.

    Args:
        connection: A session in a transaction, or in none; its settings are as before afterwards.

    Raises:
        DatabaseError: The session was lost, or its transaction has failed.
    """
    with _translated("fingerprint the schema"), connection.transaction(force_rollback=True):
        connection.execute(
            _SET_FOR_TRANSACTION, (json.dumps(_TEXT_SETTINGS | {"plan_cache_mode": "force_generic_plan"}),)
        )
        scalars = frozenset(name for (name,) in connection.execute(_SCALARS))
        return _digest_of(connection.execute(_prepared(connection)), scalars)


# To plan the long query takes longer than to run it, and a proof runs it after each statement.
_PREPARED = "squizzle_schema_objects"


def _prepared(connection: Connection) -> bytes:
    """EXECUTE of the query over the catalogue, which is prepared in this session where it is not yet."""
    known = "SELECT EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE name = %s)"
    if connection.execute(known, (_PREPARED,)).fetchone() == (False,):
        query = load_sql("squizzle.proof", "schema_objects").replace("%(schema)s", "$1").replace("%%", "%")
        connection.execute(f"PREPARE {_PREPARED} (text) AS {query}".encode())
    return f"EXECUTE {_PREPARED} (NULL)".encode()


@contextmanager
def read_snapshot(connection: Connection) -> Iterator[str]:
    """One read-only REPEATABLE READ transaction, with the settings that make the texts of values comparable.

    Yields:
        The exported snapshot's id: other sessions and `pg_dump --snapshot` see exactly the same rows while this
        transaction is open (manual, "Snapshot Synchronization Functions").
    """
    with _translated("open a snapshot"), _snapshot(connection):
        row = connection.execute("SELECT pg_export_snapshot()").fetchone()
        yield str(row[0]) if row else ""


@contextmanager
def _snapshot(connection: Connection) -> Iterator[None]:
    """The same for this session alone: to export one is a file more."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.execute(_SET_FOR_TRANSACTION, (json.dumps(_TEXT_SETTINGS),))
        yield


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as exc:
        raise translate_error(exc, doing=doing) from exc


def _schema_digest(connection: Connection, schema: str | None) -> SchemaDigest:
    scalars = frozenset(name for (name,) in connection.execute(_SCALARS))
    query = objects_query(connection, schema=schema)
    return _digest_of(connection.execute(query, {"schema": schema}), scalars)


def _digest_of(rows: Iterable[TupleRow], scalars: frozenset[str]) -> SchemaDigest:
    found = (_schema_object(*row, scalars=scalars) for row in rows)
    objects = tuple(sorted(found, key=lambda one: (one.kind, one.name, one.strict)))
    return SchemaDigest(
        strict=_sha256(f"{one.kind} {one.name} {one.strict}" for one in objects),
        logical=_sha256(f"{one.kind} {one.name} {one.logical}" for one in objects),
        objects=objects,
    )


def _schema_object(
    kind: str, name: str, parent: str, position: int, definition: str | None, *, scalars: frozenset[str]
) -> SchemaObject:
    text = definition or ""
    if kind in _STRICT_ONLY:
        meaning = ""
    elif kind == "enum value":
        meaning = f"{position} {text}"  # they compare by their order; that of columns has no such meaning
    else:
        meaning = canonical(kind, text, scalars=scalars)
    return SchemaObject(
        kind=kind, name=name, parent=parent, strict=_sha256((str(position), text)), logical=_sha256((meaning,))
    )


def _tables(connection: Connection, schema: str | None, *, bookkeeping: bool) -> list[tuple[str, str, str, list[str]]]:
    cursor = connection.execute(_TABLES, {"schema": schema, "bookkeeping": bookkeeping})
    return sorted((name, space, table, columns) for name, space, table, columns in cursor)


_SIZES = """
    SELECT format('%I.%I', n.nspname, c.relname),
           coalesce(pg_relation_size(c.oid), 0) + coalesce(pg_relation_size(nullif(c.reltoastrelid, 0)), 0)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname <> 'pg_catalog'
"""


def _table_digests(
    connection: Connection, tables: Sequence[TableRows], digest_table: TableDigester
) -> tuple[TableDigest, ...]:
    # Nobody else needs to know how large tables are before they are read.
    sizes: dict[str, int] = dict(connection.execute(_SIZES).fetchall()) if is_told() and tables else {}
    total = sum(sizes.get(table.name, 0) for table in tables)
    found = []
    with stretch("fingerprinting rows", unit=Unit.BYTES, total=total, is_estimate=True) as headway:
        read = 0
        for table in tables:
            size = sizes.get(table.name, 0)
            headway.at(read, until=read + size, doing=f"fingerprinting {table.name}")
            found.append(digest_table(connection, table))
            read += size
            headway.at(read)
    return tuple(found)


def digest_whole_table(connection: Connection, table: TableRows) -> TableDigest:
    """Read every row of a table; inside `read_snapshot`."""
    row = connection.execute(sql.SQL("SELECT {} FROM ONLY {}").format(table.digest, table.source)).fetchone()
    if row is None:
        raise AssertionError("an aggregate without GROUP BY returned no row")
    return TableDigest(table=table.name, rows=row[0], digest=row[1])


def read_sequences(connection: Connection, *, schema: str | None = None) -> dict[str, int | None]:
    """How far every sequence has counted, a descending one as the negative number. Nothing is changed.

    Sequences belong to no snapshot: a copy is compared with positions that were read before the copy was made.

    Raises:
        DatabaseError: The session was lost.
    """
    with _translated("read the sequences"):
        return dict(connection.execute(_SEQUENCES, {"schema": schema}).fetchall())


def compare_digests(expected: DatabaseDigest, found: DatabaseDigest) -> Comparison:
    """Everything in which `found` differs from `expected`. Pure.

    A sequence may stand higher than expected: sequences do not follow snapshots, and a gap in numbers harms nobody,
    while a lower one would give out numbers that are taken.
    """
    there = {(one.kind, one.name): one for one in found.schema.objects}
    wanted = _without_lost({(one.kind, one.name): one for one in expected.schema.objects}, there)
    return Comparison(
        schema=SchemaMatch.EXACT if expected.schema.strict == found.schema.strict else _logical_match(wanted, there),
        missing=_top_labels([wanted[key] for key in wanted.keys() - there.keys()]),
        changed=_labels(one for key, one in wanted.items() if key in there and there[key].logical != one.logical),
        unexpected=_top_labels([there[key] for key in there.keys() - wanted.keys()]),
        tables=_compare_tables(expected.tables, found.tables),
        sequences=_compare_sequences(expected.sequences, found.sequences),
    )


_Objects = Mapping[tuple[str, str], SchemaObject]


def differing_objects(expected: SchemaDigest, found: SchemaDigest) -> frozenset[tuple[str, str]]:
    """Kind and name of everything that is not there in both with the same meaning. Pure."""
    wanted = {(one.kind, one.name): one.logical for one in expected.objects}
    there = {(one.kind, one.name): one.logical for one in found.objects}
    return frozenset(key for key in wanted.keys() | there.keys() if wanted.get(key) != there.get(key))


def _without_lost(wanted: _Objects, there: _Objects) -> _Objects:
    """What must be there: an index that was not valid may be gone, for no query could use it and no dump has it."""
    gone = {name for kind, name in wanted.keys() - there.keys() if kind == _NOT_IN_A_DUMP}
    return {
        key: one
        for key, one in wanted.items()
        if key in there or one.name not in gone or one.kind not in {_NOT_IN_A_DUMP, "index state"}
    }


def _logical_match(wanted: _Objects, there: _Objects) -> SchemaMatch:
    same = {key: one.logical for key, one in wanted.items()} == {key: one.logical for key, one in there.items()}
    return SchemaMatch.LOGICAL if same else SchemaMatch.DIFFERENT


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
