"""What logging a table costs: measured on a copy of some of its rows, in a transaction that is rolled back."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psycopg
from psycopg import sql

from squizzle.backups.change_log.records import TableState
from squizzle.backups.change_log.switching import install
from squizzle.backups.space import size_words
from squizzle.errors import RefusedError
from squizzle.postgres.access import Connection
from squizzle.postgres.translation import translate_error

# Enough for a stable figure, few enough for a second at the most.
_ROWS = 1000
# The least of these counts: other sessions can only make a round slower, and only add to the write-ahead log.
_ROUNDS = 3
_TRIAL = sql.Identifier("squizzle_log", "trial")


@dataclass(frozen=True, kw_only=True, slots=True)
class LogCost:
    """What updates of a table cost without and with the log.

    Attributes:
        rows: How many rows were copied and updated; 0 when the table has none, then the rest says nothing.
        plain_ms: Per 1,000 updated rows, without the log.
        logged_ms: Likewise, with it.
        plain_wal_bytes: Write-ahead log per 1,000 updated rows, without the log.
        logged_wal_bytes: Likewise, with it.
        truncate_bytes: What TRUNCATE of the table as it is now would copy into the log, told from the same rows.
    """

    rows: int
    plain_ms: float = 0.0
    logged_ms: float = 0.0
    plain_wal_bytes: int = 0
    logged_wal_bytes: int = 0
    truncate_bytes: int = 0

    def sentence(self) -> str:
        """What was measured, on what, for a person."""
        if not self.rows:
            return "the table has no rows to measure the cost on"
        return (
            f"1,000 updates took {self.plain_ms:.1f} ms and {self.plain_wal_bytes / 1e3:,.0f} kB of write-ahead log,"
            f" with the log {self.logged_ms:.1f} ms and {self.logged_wal_bytes / 1e3:,.0f} kB (the best of"
            f" {_ROUNDS} rounds over a copy of {self.rows:,} rows, rolled back;"
            " it has the table's indexes, not its triggers); TRUNCATE of it would first copy about"
            f" {size_words(self.truncate_bytes)} into the log"
        )


def measure_cost(connection: Connection, table: TableState) -> LogCost:
    """Measure updates with and without the log. The table is only read (ACCESS SHARE); all is rolled back.

    Args:
        connection: A session in autocommit mode that may create the log's schema.
        table: What would be logged; its key columns are updated to what they are.

    Raises:
        RefusedError: The server keeps too little write-ahead log to tell (`wal_level = minimal`).
        DatabaseError: No right to, or no space; nothing was changed.
    """
    if connection.execute("SHOW wal_level").fetchone() == ("minimal",):
        raise RefusedError(
            "the cost cannot be measured with wal_level = minimal", hint="add --yes to enable without measuring"
        )
    try:
        with connection.transaction(force_rollback=True):
            # Nobody waits for what we do here but one who creates the log at this very moment.
            connection.execute("SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '1min'")
            install(connection)
            rows = _copy(connection, table)
            if not rows:
                return LogCost(rows=0)
            plain = _best(connection, table, rows)
            exact = sql.Literal("exact" if table.needs_exact else "json")
            connection.execute(
                sql.SQL(
                    "CREATE TRIGGER trial AFTER INSERT OR UPDATE OR DELETE ON {}"
                    " FOR EACH ROW EXECUTE FUNCTION squizzle_log.log_row('0', {})"
                ).format(_TRIAL, exact)
            )
            logged = _best(connection, table, rows)
            truncate = _truncate_bytes(connection, table)
    except psycopg.Error as exc:
        raise translate_error(
            exc,
            doing=f"measure what logging {table.schema}.{table.name} costs",
            needs="SELECT on the table, and CREATE on the database or ownership of squizzle_log",
        ) from exc
    return LogCost(
        rows=rows,
        plain_ms=plain[0],
        logged_ms=logged[0],
        plain_wal_bytes=plain[1],
        logged_wal_bytes=logged[1],
        truncate_bytes=truncate,
    )


def _copy(connection: Connection, table: TableState) -> int:
    """A table like it, in our schema, with some of its rows; a temporary one would write no write-ahead log."""
    place = sql.Identifier(table.schema, table.name)
    connection.execute(sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL EXCLUDING IDENTITY)").format(_TRIAL, place))
    names = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::oid AND attnum > 0 AND NOT attisdropped"
        " AND attgenerated = '' ORDER BY attnum",
        (table.id,),
    ).fetchall()
    columns = sql.SQL(", ").join(sql.Identifier(name) for (name,) in names)
    return connection.execute(
        sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} LIMIT {}").format(_TRIAL, columns, columns, place, _ROWS)
    ).rowcount


def _truncate_bytes(connection: Connection, table: TableState) -> int:
    """The table's size, times how much longer its rows are as text with the names of their columns."""
    text = "octet_length(row_to_json(t)::text)" + (" + octet_length(t::text)" if table.needs_exact else "")
    row = connection.execute(
        sql.SQL(
            "SELECT ((SELECT sum({text}) / sum(pg_column_size(t.*))::numeric FROM {trial} t)"
            " * (SELECT sum(pg_table_size(m.relid)) FROM"
            " (SELECT {id}::oid AS relid UNION SELECT relid FROM pg_partition_tree({id}::oid)) m))::bigint"
        ).format(text=sql.SQL(text), trial=_TRIAL, id=sql.Literal(table.id))
    ).fetchone()
    return row[0] if row and row[0] else 0


def _best(connection: Connection, table: TableState, rows: int) -> tuple[float, int]:
    key = sql.Identifier(table.key_columns[0])
    update = sql.SQL("UPDATE {} SET {} = {}").format(_TRIAL, key, key)
    rounds = []
    for _ in range(_ROUNDS):
        before = _wal(connection)
        begun = time.perf_counter()
        connection.execute(update)
        took = time.perf_counter() - begun
        rounds.append((took, _wal(connection) - before))
    scale = 1000 / rows
    return min(one for one, _ in rounds) * 1000 * scale, round(min(one for _, one in rounds) * scale)


def _wal(connection: Connection) -> int:
    row = connection.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").fetchone()
    return row[0] if row else 0
