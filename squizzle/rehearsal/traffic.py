"""How much a database is used right now, as far as a lock would get in the way of it; nothing is changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from squizzle.rehearsal.traffic_records import Counted, Counters, Holder, RelationTraffic, Traffic

# A session reports what it counted at the end of a transaction, and at most once a second (PostgreSQL's pgstat.c).
WATCH = timedelta(seconds=2)
# To ask for a size is to read; where DDL is in the way it stays unknown.
_SIZE_PATIENCE = "100ms"
# Kinds of relations whose reads and writes nobody counts: views, sequences, foreign tables, composite types.
_COUNTED = frozenset({"r", "p", "m"})


_NOTHING = Counted(reads=0, inserted=0, changed=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    place: int
    oid: int
    table: RelationName
    kind: str
    parents: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """What one look brought, as the server says it."""

    counters: Counters
    sizes: Mapping[int, tuple[int | None, int | None]]
    locks: Sequence[tuple[int, int | None, str, str, bool]]
    sessions: tuple[Session, ...]
    prepared: tuple[PreparedTransaction, ...]
    database: str
    at: datetime
    limit: int
    own_limit: int


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
        return _counters(connection, sorted({one.oid for one in asked}))
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
        oids = sorted({one.oid for one in asked})
        if first is None and over > timedelta():
            first = _counters(connection, oids)
            pause(over.total_seconds())
        seen = _look(connection, oids)
    except psycopg.Error as exc:
        raise translate_error(exc, doing="see how much tables are used") from exc
    last = seen.counters
    begun = first or Counters(at=last.since, since=last.since, transactions=0, tables={})
    elapsed = max(last.at - begun.at, timedelta(milliseconds=1))
    clients = [one for one in seen.sessions if _is_client(one)]
    here = [one for one in clients if one.database == seen.database]
    hidden = sum(one.is_hidden for one in here)
    there = {wanted[one.place - 1] for one in asked}
    ages = [seen.at - one.transaction_start for one in here if one.transaction_start]
    return Traffic(
        database=seen.database,
        at=seen.at,
        over=elapsed,
        is_average=first is None,
        transactions_per_s=max(0, last.transactions - begun.transactions) / elapsed.total_seconds(),
        clients=len(here),
        active=None if hidden else sum(one.state == "active" for one in here),
        used=len(clients) + 1,
        limit=seen.limit if seen.own_limit < 0 else min(seen.limit, seen.own_limit + len(clients) - len(here)),
        hidden=hidden,
        longest_transaction=max(ages, default=None),
        prepared=len(seen.prepared),
        relations=tuple(_relations(wanted, asked, seen, first, elapsed)),
        missing=tuple(one for one in wanted if one not in there),
    )


def _look(connection: Connection, oids: Sequence[int]) -> _Seen:
    counters = _counters(connection, oids)
    sizes = _sizes(connection, oids)
    locks = connection.execute(load_sql("squizzle.rehearsal", "traffic_locks"), {"tables": oids}).fetchall()
    # After the locks: who has come since holds none of them, and who has gone is no holder any more.
    sessions = read_sessions(connection)
    with connection.cursor(row_factory=class_row(PreparedTransaction)) as cursor:
        prepared = tuple(cursor.execute(load_sql("squizzle.health", "prepared")).fetchall())
    server = connection.execute(load_sql("squizzle.rehearsal", "connections")).fetchone()
    if server is None:
        raise CouldNotVerifyError("the server did not say which database this is", hint="try again")
    database, at, limit, own_limit = server
    return _Seen(
        counters=counters,
        sizes=sizes,
        locks=locks,
        sessions=sessions,
        prepared=prepared,
        database=database,
        at=at,
        limit=limit,
        own_limit=own_limit,
    )


def _relations(
    wanted: Sequence[RelationName], asked: Sequence[_Asked], seen: _Seen, first: Counters | None, elapsed: timedelta
) -> Iterator[RelationTraffic]:
    names = {one.oid: wanted[one.place - 1] for one in asked}
    holders, waiting = _holders(seen)
    for one in asked:
        reads, writes, changes = _rates(one, first, seen.counters, elapsed)
        size, rows = seen.sizes.get(one.oid, (None, None)) if one.kind in _COUNTED else (None, None)
        yield RelationTraffic(
            relation=wanted[one.place - 1],
            table=one.table,
            reads_per_s=reads,
            writes_per_s=writes,
            changes_per_s=changes,
            rows=rows,
            size_bytes=size,
            holders=holders.get(one.oid, ()),
            waiting=waiting.get(one.oid, 0),
            within=tuple(names[oid] for oid in one.parents if oid in names),
        )


def _tables(connection: Connection, relations: Sequence[RelationName], schema: str) -> tuple[_Asked, ...]:
    parameters = {
        "schemas": [one.schema for one in relations],
        "names": [one.name for one in relations],
        "path": [schema] if schema else [],
    }
    rows = connection.execute(load_sql("squizzle.rehearsal", "traffic_relations"), parameters).fetchall()
    return tuple(
        _Asked(
            place=place,
            oid=oid,
            table=RelationName(schema=of_schema, name=name),
            kind=kind,
            parents=tuple(parents),
        )
        for place, oid, of_schema, name, kind, parents in rows
    )


def _counters(connection: Connection, oids: Sequence[int]) -> Counters:
    query = load_sql("squizzle.rehearsal", "traffic_counters")
    rows = connection.execute(query, {"tables": oids}).fetchall()
    if not rows:
        raise CouldNotVerifyError("the server has no counters of this database", hint="try again")
    at, since, transactions = rows[0][:3]
    counted = {
        oid: Counted(reads=reads or 0, inserted=inserted or 0, changed=changed or 0)
        for _at, _since, _transactions, oid, reads, inserted, changed in rows
        if oid is not None
    }
    return Counters(at=at, since=since, transactions=transactions, tables=counted)


def _sizes(connection: Connection, oids: Sequence[int]) -> dict[int, tuple[int | None, int | None]]:
    try:
        with connection.transaction():
            connection.execute("SELECT set_config('lock_timeout', %s, true)", (_SIZE_PATIENCE,))
            rows = connection.execute(load_sql("squizzle.rehearsal", "traffic_sizes"), {"tables": oids}).fetchall()
    except (psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedTable):
        return {}  # DDL came in between; what is not known is said to be so
    return {oid: (size, rows_there) for oid, size, rows_there in rows}


def _rates(
    asked: _Asked, first: Counters | None, last: Counters, elapsed: timedelta
) -> tuple[float | None, float | None, float | None]:
    now = last.tables.get(asked.oid)
    was = _NOTHING if first is None else first.tables.get(asked.oid)
    if now is None or was is None or asked.kind not in _COUNTED:
        return None, None, None
    # Counters that began anew in between are taken as they are: a lower bound, never a negative rate.
    anew = now.reads < was.reads or now.inserted < was.inserted or now.changed < was.changed
    was = _NOTHING if anew else was
    seconds = elapsed.total_seconds()
    changed = now.changed - was.changed
    return (now.reads - was.reads) / seconds, (now.inserted - was.inserted + changed) / seconds, changed / seconds


def _is_client(session: Session) -> bool:
    """Whether it takes one of the connections; what we may not look into has a database and a user, and is one."""
    return session.is_client or (session.is_hidden and bool(session.database) and bool(session.user))


def _holders(seen: _Seen) -> tuple[dict[int, tuple[Holder, ...]], dict[int, int]]:
    """Who holds a lock on each table, the oldest transaction first; and how many wait for one."""
    by_pid = {one.pid: one for one in seen.sessions}
    by_gid = {one.gid: one for one in seen.prepared}
    strongest: dict[tuple[int, int | None, str], LockMode] = {}
    waiting: dict[int, set[int | None]] = {}
    for oid, pid, gid, name, granted in seen.locks:
        mode = lock_mode(name)
        if not granted:
            waiting.setdefault(oid, set()).add(pid)
        elif mode is not None:
            known = strongest.get((oid, pid, gid), mode)
            strongest[oid, pid, gid] = max(known, mode, key=lambda one: one.strength)
    found: dict[int, list[Holder]] = {}
    for (oid, pid, gid), mode in strongest.items():
        # Who is in neither has ended meanwhile, or is a parallel worker, whose leader holds the lock as well.
        session, transaction = by_pid.get(pid or 0), by_gid.get(gid)
        if session is not None:
            found.setdefault(oid, []).append(_session_holder(mode, session, seen.at))
        elif transaction is not None:
            found.setdefault(oid, []).append(_prepared_holder(mode, transaction, seen.at))
    in_order = {oid: tuple(sorted(holders, key=_older_first)) for oid, holders in found.items()}
    return in_order, {oid: len(pids) for oid, pids in waiting.items()}


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
