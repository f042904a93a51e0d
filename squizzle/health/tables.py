"""Tables full of dead rows: which are the worst, cleaning them one at a time, and what keeps their dead rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from squizzle.durations import words
from squizzle.migrations.session import set_lock_timeout
from squizzle.migrations.watch import SessionWatch, watching
from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import server_words, translate_error

# VACUUM conflicts with DDL and with another VACUUM only, and nobody but those queues behind it.
_LOCK_TIMEOUT = timedelta(seconds=2)
# As autovacuum works by default: VACUUM by hand never rests, which an overloaded disk feels.
_COST_DELAY = "2ms"


@dataclass(frozen=True, kw_only=True, slots=True)
class TableLoad:
    """What VACUUM would find in one table, as the server counts.

    Attributes:
        schema: The table's schema.
        name: Its name.
        live_rows: Rows that are there.
        dead_rows: Row versions that nobody needs any more, or that somebody keeps from being removed.
        changed_rows: Rows written since it was analysed.
        size_bytes: Of the table without its indexes.
        vacuumed_at: When it was cleaned last, by hand or by autovacuum; None for never since counting began.
        analyzed_at: The same for its statistics.
        is_being_vacuumed: Whether somebody cleans it now.
    """

    schema: str
    name: str
    live_rows: int
    dead_rows: int
    changed_rows: int
    size_bytes: int
    vacuumed_at: datetime | None = None
    analyzed_at: datetime | None = None
    is_being_vacuumed: bool = False

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def dead_share(self) -> float:
        """Which part of its row versions is dead, from 0 to 1."""
        return self.dead_rows / max(1, self.live_rows + self.dead_rows)


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """Something that keeps dead rows from being removed.

    Attributes:
        kind: session, prepared transaction, replication slot, or standby.
        name: Which.
        age: How many transactions ago is the oldest that it may still want to see.
        since: Since when it does; None where the server does not say.
    """

    kind: str
    name: str
    age: int
    since: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cleaned:
    """One table that was to be cleaned.

    Attributes:
        before: As it was.
        after: As it is; None where it was not cleaned.
        problem: Why not; empty when it was.
    """

    before: TableLoad
    after: TableLoad | None = None
    problem: str = ""

    def sentence(self) -> str:
        """What came of it."""
        if self.after is None:
            return f"{self.before}: not cleaned: {self.problem}"
        return f"{self.before}: {self.before.dead_rows:,} dead rows before, {self.after.dead_rows:,} after"


def read_tables(connection: Connection) -> tuple[TableLoad, ...]:
    """Every table of the database, most dead rows first. Nothing is changed.

    Raises:
        DatabaseError: The session was lost.
    """
    try:
        with connection.cursor(row_factory=class_row(TableLoad)) as cursor:
            return tuple(cursor.execute(load_sql("squizzle.health", "tables")).fetchall())
    except psycopg.Error as exc:
        raise translate_error(exc, doing="count dead rows") from exc


def read_horizon(connection: Connection) -> tuple[Holder, ...]:
    """What keeps dead rows from being removed, the oldest first. Nothing is changed.

    Raises:
        DatabaseError: The session was lost.
    """
    try:
        with connection.cursor(row_factory=class_row(Holder)) as cursor:
            return tuple(cursor.execute(load_sql("squizzle.health", "horizon")).fetchall())
    except psycopg.Error as exc:
        raise translate_error(exc, doing="see what keeps dead rows") from exc


def worst_tables(
    tables: Sequence[TableLoad], *, at_most: int, dead_rows: int = 1000, dead_share: float = 0.1
) -> tuple[TableLoad, ...]:
    """The tables that are worth cleaning now, the worst first. Pure.

    Args:
        tables: All of them.
        at_most: So many.
        dead_rows: With fewer dead rows a table is left alone.
        dead_share: With a smaller part of dead rows a table is left alone; 0.1 is a tenth.
    """
    full = [
        one
        for one in tables
        if one.dead_rows >= dead_rows and one.dead_share >= dead_share and not one.is_being_vacuumed
    ]
    return tuple(sorted(full, key=lambda one: -one.dead_rows)[:at_most])


def clean_tables(
    connection: Connection, tables: Sequence[TableLoad], *, say: Callable[[str], None]
) -> tuple[Cleaned, ...]:
    """VACUUM (ANALYZE) these tables one after the other; a killed one leaves the table as it was, less clean.

    SHARE UPDATE EXCLUSIVE: reads and writes go on. Never FULL, which locks everybody out and writes the table anew; and
    without cutting empty pages off the end, which takes ACCESS EXCLUSIVE. It rests as often as autovacuum does.

    Args:
        connection: A session of its own, in autocommit mode.
        tables: Which.
        say: Told how far a long one is, and who blocks.

    Raises:
        DatabaseError: The session was lost; tables before are cleaned.
    """
    cleaned: list[Cleaned] = []
    try:
        set_lock_timeout(connection, _LOCK_TIMEOUT)
        connection.execute(sql.SQL("SET vacuum_cost_delay = {}").format(sql.Literal(_COST_DELAY)))
        with watching(connection, say) as watch:
            for table in tables:
                say(f"cleaning {table}: {table.dead_rows:,} dead rows")
                cleaned.append(_clean(connection, table, watch))
                say(cleaned[-1].sentence())
    except psycopg.Error as exc:
        raise translate_error(exc, doing="clean tables") from exc
    return tuple(cleaned)


def _clean(connection: Connection, table: TableLoad, watch: SessionWatch | None) -> Cleaned:
    command = sql.SQL("VACUUM (ANALYZE, TRUNCATE false) {}").format(sql.Identifier(table.schema, table.name))
    try:
        if watch:
            watch.statement_begins()
        connection.execute(command)
    except (psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedTable) as exc:
        wait = watch.last_wait if watch else None
        blockers = "; ".join(one.sentence() for one in wait.blockers) if wait else ""
        return Cleaned(before=table, problem=f"{server_words(exc)}{f': {blockers}' if blockers else ''}")
    finally:
        if watch:
            watch.statement_ended()
    connection.execute("SELECT pg_stat_clear_snapshot()")
    after = next((one for one in read_tables(connection) if str(one) == str(table)), None)
    if after is None or after.vacuumed_at == table.vacuumed_at:
        # VACUUM only warns somebody who may not clean a table.
        who = f"{connection.info.user} may not clean it"
        return Cleaned(before=table, problem=f"{who}; let its owner, or a member of pg_maintain, do so")
    return Cleaned(before=table, after=after)


def holder_sentences(holders: Sequence[Holder], now: datetime) -> list[str]:
    """What keeps dead rows, a sentence each."""
    return [
        f"{one.kind} {one.name} keeps what died in the last {one.age:,} transactions"
        + (f", for {words(now - one.since)}" if one.since else "")
        for one in holders
    ]
