"""Taking fingerprints of a database, and comparing two of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
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
    DatabaseDigest,
    SchemaDigest,
    SchemaObject,
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


def _sha256(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.hexdigest()
