"""How much a database is used right now, as far as a lock would get in the way of it; nothing is changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from psycopg.rows import class_row

from squizzle.analysis.locks.modes import LockMode, lock_mode
from squizzle.analysis.locks.records import RelationName
from squizzle.errors import CouldNotVerifyError
from squizzle.health.reading import read_sessions
from squizzle.health.records import PreparedTransaction, Session
from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error

# A session reports what it counted at the end of a transaction, and at most once a second (PostgreSQL's pgstat.c).
WATCH = timedelta(seconds=2)
# To ask for a size is to read; where DDL is in the way it stays unknown.
_SIZE_PATIENCE = "100ms"
# Kinds of relations whose reads and writes nobody counts: views, sequences, foreign tables, composite types.
_COUNTED = frozenset({"r", "p", "m"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """Who holds a lock on a table or one of its indexes.

    Attributes:
        mode: The lock, the strongest one that it has there.
        pid: Of its session; None for a prepared transaction, which has none.
        who: In a few words.
        what: What it does since when; for a prepared transaction, what ends it.
        transaction_age: How long its transaction has been open; None where we may not see that.
        is_autovacuum: Whether it is autovacuum.
        prevents_wraparound: Whether it is the autovacuum that must not be ended.
    """

    mode: LockMode
    pid: int | None
    who: str
    what: str
    transaction_age: timedelta | None
    is_autovacuum: bool = False
    prevents_wraparound: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RelationTraffic:
    """How one relation is used; an index counts for its table, and a partitioned table for all of its partitions.

    Attributes:
        relation: What was asked about.
        table: Whose use this is.
        reads_per_s: Scans of it and of its indexes; None where nobody counts them (a view, a sequence).
        writes_per_s: Rows that were inserted, updated or deleted; None likewise.
        changes_per_s: Of those, the updated and deleted ones; None likewise.
        rows: As the planner believes, or as was counted where it was never analysed; None for what has none.
        size_bytes: With indexes, TOAST and partitions; None where asking would have had to wait for a lock.
        holders: Who holds a lock on it, the oldest transaction first, those of hidden age before.
        waiting: Sessions that wait for a lock on it already.
    """

    relation: RelationName
    table: RelationName
    reads_per_s: float | None
    writes_per_s: float | None
    changes_per_s: float | None
    rows: int | None = None
    size_bytes: int | None = None
    holders: tuple[Holder, ...] = ()
    waiting: int = 0

    @property
    def autovacuum(self) -> Holder | None:
        """The autovacuum that is on it."""
        return next((one for one in self.holders if one.is_autovacuum), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """How a database is used.

    Attributes:
        database: Its name.
        at: When this was read, by the server's clock.
        over: The time that rates are of.
        is_average: Whether that is all the time since the server counts, and not a moment that we watched.
        transactions_per_s: That ended in the database, whatever they touched.
        clients: Sessions of clients in this database, our own left out.
        active: How many of them run a query; None where some may not be seen.
        used: Connections of clients to the server in all, our own included.
        limit: How many ordinary roles may have (`max_connections` less the reserved ones; a limit of the database).
        hidden: Sessions of which we may not see what they do: we are no member of pg_read_all_stats.
        longest_transaction: The oldest transaction in this database that we may see; None for none.
        prepared: Prepared transactions of this database.
        relations: What was asked about, in that order.
        missing: What is not there.
    """

    database: str
    at: datetime
    over: timedelta
    is_average: bool
    transactions_per_s: float
    clients: int
    active: int | None
    used: int
    limit: int
    hidden: int = 0
    longest_transaction: timedelta | None = None
    prepared: int = 0
    relations: tuple[RelationTraffic, ...] = ()
    missing: tuple[RelationName, ...] = ()

    @property
    def free(self) -> int:
        """Connections that clients may still open."""
        return max(0, self.limit - self.used)

    def of(self, relation: RelationName) -> RelationTraffic | None:
        """How a relation is used; None for one that is not there."""
        return next((one for one in self.relations if one.relation == relation), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """What the server has counted for one table so far: scans, rows inserted, rows updated or deleted."""

    reads: int
    inserted: int
    changed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Counters:
    """One look at what the server counts.

    Attributes:
        at: When, by the server's clock.
        since: Since when it counts.
        transactions: That ended in this database.
        tables: What was counted, by OID.
    """

    at: datetime
    since: datetime
    transactions: int
    tables: Mapping[int, Counted]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    place: int
    oid: int
    table: RelationName
    kind: str


def read_counters(connection: Connection, relations: Iterable[RelationName], *, schema: str = "") -> Counters:
    """What the server has counted so far, as the first look of a later `read_traffic`.

    Args:
        connection: A session in the database, outside a transaction.
        relations: As in `read_traffic`.
        schema: As in `read_traffic`.

    Raises:
        DatabaseError: The session was lost.
    """
    try:
        asked = _tables(connection, tuple(relations), schema)
        return _counters(connection, {one.oid for one in asked})
    except psycopg.Error as exc:
        raise translate_error(exc, doing="see how much tables are used") from exc


def read_traffic(
    connection: Connection,
    relations: Iterable[RelationName],
    *,
    over: timedelta = WATCH,
    first: Counters | None = None,
    schema: str = "",
    pause: Callable[[float], None] = time.sleep,
) -> Traffic:
    """How the relations are used right now. Nothing is changed, and no lock is waited for longer than 0.1 s.

    Args:
        connection: A session in the database, outside a transaction.
        relations: Tables, partitions, indexes (an index counts for its table), views.
        over: How long to watch; zero does not watch but takes the averages since the server counts. Sessions report
            what they counted once a second, so less than that sees too little.
        first: An earlier look at the same relations, instead of watching.
        schema: Where names without a schema are looked for before the search path.
        pause: Waits, in seconds.

    Raises:
        DatabaseError: The session was lost.
        CouldNotVerifyError: The server did not answer.
    """
    wanted = tuple(dict.fromkeys(relations))
    try:
        asked = _tables(connection, wanted, schema)
        oids = {one.oid for one in asked}
        if first is None and over > timedelta():
            first = _counters(connection, oids)
            pause(over.total_seconds())
        last = _counters(connection, oids)
        sizes = _sizes(connection, oids)
        locks = connection.execute(load_sql("squizzle.rehearsal", "traffic_locks"), {"tables": list(oids)}).fetchall()
        # After the locks: who has come since holds none of them, and who has gone is no holder any more.
        sessions = read_sessions(connection)
        with connection.cursor(row_factory=class_row(PreparedTransaction)) as cursor:
            prepared = tuple(cursor.execute(load_sql("squizzle.health", "prepared")).fetchall())
        server = connection.execute(load_sql("squizzle.rehearsal", "connections")).fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="see how much tables are used") from exc
    if server is None:
        raise CouldNotVerifyError("the server did not say which database this is", hint="try again")
    database, at, limit, own_limit = server
    begun = first or Counters(at=last.since, since=last.since, transactions=0, tables={})
    elapsed = max(last.at - begun.at, timedelta(milliseconds=1))
    clients = [one for one in sessions if _is_client(one)]
    here = [one for one in clients if one.database == database]
    hidden = sum(one.is_hidden for one in here)
    by_pid = {one.pid: one for one in sessions}
    by_gid = {one.gid: one for one in prepared}
    found = []
    for one in asked:
        rates = _rates(one, begun, last, elapsed, is_average=first is None)
        size, rows = sizes.get(one.oid, (None, None)) if one.kind in _COUNTED else (None, None)
        found.append(
            RelationTraffic(
                relation=wanted[one.place - 1],
                table=one.table,
                reads_per_s=rates[0],
                writes_per_s=rates[1],
                changes_per_s=rates[2],
                rows=rows,
                size_bytes=size,
                holders=_holders(one.oid, locks, by_pid, by_gid, at),
                waiting=len({pid for oid, pid, _gid, _mode, granted in locks if oid == one.oid and not granted}),
            )
        )
    there = {one.relation for one in found}
    return Traffic(
        database=database,
        at=at,
        over=elapsed,
        is_average=first is None,
        transactions_per_s=max(0, last.transactions - begun.transactions) / elapsed.total_seconds(),
        clients=len(here),
        active=None if hidden else sum(one.state == "active" for one in here),
        used=len(clients) + 1,
        limit=limit if own_limit < 0 else min(limit, own_limit + len(clients) - len(here)),
        hidden=hidden,
        longest_transaction=max((at - one.transaction_start for one in here if one.transaction_start), default=None),
        prepared=len(prepared),
        relations=tuple(found),
        missing=tuple(one for one in wanted if one not in there),
    )


def _tables(connection: Connection, relations: Sequence[RelationName], schema: str) -> tuple[_Asked, ...]:
    parameters = {
        "schemas": [one.schema for one in relations],
        "names": [one.name for one in relations],
        "path": [schema] if schema else [],
    }
    rows = connection.execute(load_sql("squizzle.rehearsal", "traffic_relations"), parameters).fetchall()
    return tuple(
        _Asked(place=place, oid=oid, table=RelationName(schema=of_schema, name=name), kind=kind)
        for place, oid, of_schema, name, kind in rows
    )


def _counters(connection: Connection, oids: Iterable[int]) -> Counters:
    query = load_sql("squizzle.rehearsal", "traffic_counters")
    rows = connection.execute(query, {"tables": list(oids)}).fetchall()
    if not rows:
        raise CouldNotVerifyError("the server has no counters of this database", hint="try again")
    at, since, transactions = rows[0][:3]
    counted = {
        oid: Counted(reads=reads or 0, inserted=inserted or 0, changed=changed or 0)
        for _at, _since, _transactions, oid, reads, inserted, changed in rows
        if oid is not None
    }
    return Counters(at=at, since=since, transactions=transactions, tables=counted)


def _sizes(connection: Connection, oids: Iterable[int]) -> dict[int, tuple[int | None, int | None]]:
    try:
        with connection.transaction():
            connection.execute("SELECT set_config('lock_timeout', %s, true)", (_SIZE_PATIENCE,))
            rows = connection.execute(
                load_sql("squizzle.rehearsal", "traffic_sizes"), {"tables": list(oids)}
            ).fetchall()
    except (psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedTable):
        return {}  # DDL came in between; what is not known is said to be so
    return {oid: (size, rows_there) for oid, size, rows_there in rows}


def _rates(
    asked: _Asked, begun: Counters, last: Counters, elapsed: timedelta, *, is_average: bool
) -> tuple[float | None, float | None, float | None]:
    now = last.tables.get(asked.oid)
    was = Counted(reads=0, inserted=0, changed=0) if is_average else begun.tables.get(asked.oid)
    if now is None or was is None or asked.kind not in _COUNTED:
        return None, None, None
    # Counters that began anew in between are taken as they are: a lower bound, never a negative rate.
    anew = now.reads < was.reads or now.inserted < was.inserted or now.changed < was.changed
    was = Counted(reads=0, inserted=0, changed=0) if anew else was
    seconds = elapsed.total_seconds()
    changed = now.changed - was.changed
    return (now.reads - was.reads) / seconds, (now.inserted - was.inserted + changed) / seconds, changed / seconds


def _is_client(session: Session) -> bool:
    """Whether it takes one of the connections; what we may not look into has a database and a user, and is one."""
    return session.is_client or (session.is_hidden and bool(session.database) and bool(session.user))


def _holders(
    oid: int,
    locks: Sequence[tuple[int, int | None, str, str, bool]],
    by_pid: Mapping[int, Session],
    by_gid: Mapping[str, PreparedTransaction],
    at: datetime,
) -> tuple[Holder, ...]:
    strongest: dict[tuple[int | None, str], LockMode] = {}
    for table, pid, gid, name, granted in locks:
        mode = lock_mode(name)
        if table == oid and granted and mode is not None:
            known = strongest.get((pid, gid), mode)
            strongest[pid, gid] = max(known, mode, key=lambda one: one.strength)
    found = []
    for (pid, gid), mode in strongest.items():
        # Who is in neither has ended meanwhile, or is a parallel worker, whose leader holds the lock as well.
        session, transaction = by_pid.get(pid or 0), by_gid.get(gid)
        if session is not None:
            found.append(_session_holder(mode, session, at))
        elif transaction is not None:
            found.append(_prepared_holder(mode, transaction, at))
    return tuple(sorted(found, key=_older_first))


def _session_holder(mode: LockMode, session: Session, at: datetime) -> Holder:
    begun = session.transaction_start
    return Holder(
        mode=mode,
        pid=session.pid,
        who=session.who(),
        what=session.what(at),
        # No transaction any more: it has just ended.
        transaction_age=None if session.is_hidden else max(timedelta(), at - begun) if begun else timedelta(),
        is_autovacuum=session.is_autovacuum,
        prevents_wraparound=session.prevents_wraparound,
    )


def _prepared_holder(mode: LockMode, transaction: PreparedTransaction, at: datetime) -> Holder:
    return Holder(
        mode=mode,
        pid=None,
        who=f"prepared transaction {transaction.gid} of {transaction.owner}",
        what=f"ends by {' or '.join(transaction.commands)}",
        transaction_age=at - transaction.since,
    )


def _older_first(holder: Holder) -> tuple[bool, timedelta]:
    return holder.transaction_age is not None, -(holder.transaction_age or timedelta())
