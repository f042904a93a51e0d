"""Runs every shape on a server and looks from a second session what it locks, writes anew and reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from lockmap.halfway import Seen, watch_half_way
from lockmap.schema import ROWS, TABLES, roles_for, schema_sql
from lockmap.shapes import PROBES, Probe
from squizzle.analysis.locks.kin import Kin
from squizzle.analysis.locks.lock_map import LockMap, MeasuredShape, Measurement
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import RelationLock
from squizzle.analysis.locks.shapes import Kind, Shape
from squizzle.migrations.watch import SessionWatch
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.kinship.reading import read_kin
from squizzle.postgres.sql_files import load_sql

_DATABASE = "lock_map"
# Nothing that this major knows (42601), or nothing that can be done to such a table. Any other error is one of ours.
_REFUSALS = (
    psycopg.errors.SyntaxError,
    psycopg.errors.FeatureNotSupported,
    psycopg.errors.WrongObjectType,
    psycopg.errors.InvalidTableDefinition,
)
_READ = "SELECT relid, seq_tup_read FROM pg_stat_xact_user_tables WHERE seq_tup_read > 0"
_COUNT_NOW = "SELECT pg_stat_force_next_flush()"
_READ_ALWAYS = "SELECT relid, seq_tup_read FROM pg_stat_user_tables"


@dataclass(frozen=True, kw_only=True, slots=True)
class Relation:
    """One relation before anything ran."""

    name: str
    kind: str
    file: int | None
    index_of: int | None
    toast_of: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One statement on one kind of table, as the second session saw it.

    Attributes:
        probe: What was run.
        kind: On which kind of table.
        statement: With the table's name.
        measured: By the parts that relations play.
        observed: By name, as `squizzle apply` notes it: no indexes whose table says enough, no reads.
    """

    probe: Probe
    kind: Kind
    statement: str
    measured: Measurement
    observed: tuple[RelationLock, ...]


def measure(access: ServerAccess, probes: Iterable[Probe] = PROBES) -> tuple[tuple[Run, ...], Kin]:
    """Run every shape, in a database of its own that is dropped afterwards; needs a superuser.

    Returns:
        The runs, and what hung together in the database before them.

    Raises:
        psycopg.Error: A statement failed in a way that is no property of the server version.
    """
    with probe_database(access):
        with connect(access, _DATABASE, purpose="lock map") as reader:
            kin = read_kin(reader)
        return tuple(_runs(access, probes)), kin


def as_map(runs: Iterable[Run], major: int) -> LockMap:
    """The runs as the map of a major version."""
    found: dict[str, dict[Kind, Measurement]] = {}
    first: dict[str, Run] = {}
    for run in runs:
        first.setdefault(run.probe.shape.value, run)
        found.setdefault(run.probe.shape.value, {})[run.kind] = run.measured
    order: list[str] = [shape.value for shape in Shape if shape.value in found]
    shapes = {
        name: MeasuredShape(
            statement=first[name].statement, transactional=first[name].probe.transactional, on=found[name]
        )
        for name in order
    }
    return LockMap(major=major, shapes=shapes)


@contextmanager
def probe_database(access: ServerAccess) -> Iterator[None]:
    """A database with the tables of all kinds, and a tablespace and an access method to move them to."""
    name = sql.Identifier(_DATABASE)
    with connect(access, "postgres", purpose="lock map") as control:
        control.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        control.execute("DROP TABLESPACE IF EXISTS lock_map_space")
        control.execute("SET allow_in_place_tablespaces = on")
        control.execute("CREATE TABLESPACE lock_map_space LOCATION ''")
        control.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(name))
        try:
            with connect(access, _DATABASE, purpose="lock map") as owner:
                owner.execute("CREATE ACCESS METHOD lock_map_heap TYPE TABLE HANDLER heap_tableam_handler")
                owner.execute(schema_sql().encode())
            yield
        finally:
            control.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
            control.execute("DROP TABLESPACE lock_map_space")


def _runs(access: ServerAccess, probes: Iterable[Probe]) -> Iterator[Run]:
    with (
        connect(access, _DATABASE, purpose="lock map") as worker,
        connect(access, _DATABASE, purpose="lock map looks") as looker,
    ):
        # The same few questions again and again: to plan one costs more than to answer it.
        worker.prepare_threshold = looker.prepare_threshold = 3
        before = _relations(looker)
        for probe in probes:
            before = before if probe.transactional else _relations(looker)
            yield from _run_kinds(access, worker, looker, probe, before)


def _run_kinds(
    access: ServerAccess, worker: Connection, looker: Connection, probe: Probe, before: dict[int, Relation]
) -> Iterator[Run]:
    for kind in probe.kinds:
        statement = probe.statement.replace("{t}", TABLES[kind])
        observed: tuple[RelationLock, ...] = ()
        if probe.transactional:
            seen, observed = _run_and_roll_back(worker, looker, probe, statement)
        else:
            seen = _run_outside(access, worker, looker, probe)
        measured = _measurement(seen, before, roles_for(kind))
        yield Run(probe=probe, kind=kind, statement=statement, measured=measured, observed=observed)


def _run_and_roll_back(
    worker: Connection, looker: Connection, probe: Probe, statement: str
) -> tuple[Seen, tuple[RelationLock, ...]]:
    watch = SessionWatch(looker, worker.info.backend_pid, lambda _text: None)
    try:
        with worker.transaction(force_rollback=True):
            if probe.set_up:
                worker.execute(probe.set_up.encode())
            # What earlier statements read is counted until the server passes it on, which it never does in between.
            read_before: dict[int, int] = dict(worker.execute(_READ).fetchall())
            worker.execute(statement.encode(), prepare=False)
            watch.note_locks()
            locks = _held(looker, worker.info.backend_pid)
            files = {relation.name: relation.file for relation in _relations(worker).values()}
            read = _grown(read_before, dict(worker.execute(_READ).fetchall()))
    except _REFUSALS as exc:
        return Seen(refused=exc.sqlstate or ""), ()
    return Seen(locks=locks, files=files, read=read), watch.take_locks()


def _run_outside(access: ServerAccess, worker: Connection, looker: Connection, probe: Probe) -> Seen:
    worker.execute(_COUNT_NOW)
    read_before: dict[int, int] = dict(looker.execute(_READ_ALWAYS).fetchall())
    locks = watch_half_way(access, worker, looker, database=_DATABASE, statement=probe.statement, table=probe.stops_at)
    worker.execute(_COUNT_NOW)
    files = {relation.name: relation.file for relation in _relations(looker).values()}
    read = _grown(read_before, dict(looker.execute(_READ_ALWAYS).fetchall()))
    return Seen(locks=locks, files=files, read=read)


def _grown(before: dict[int, int], after: dict[int, int]) -> dict[int, int]:
    return {relation: count - before.get(relation, 0) for relation, count in after.items()}


def _held(looker: Connection, pid: int) -> tuple[tuple[int, str], ...]:
    query = "SELECT relation, mode FROM pg_locks WHERE pid = %s AND locktype = 'relation'"
    return tuple(looker.execute(query, (pid,)).fetchall())


def _relations(connection: Connection) -> dict[int, Relation]:
    rows = connection.execute(load_sql("lockmap", "relations")).fetchall()
    return {
        oid: Relation(name=name, kind=kind, file=file, index_of=index_of, toast_of=toast_of)
        for oid, name, kind, file, index_of, toast_of in rows
    }


def _measurement(seen: Seen, before: dict[int, Relation], roles: dict[str, str]) -> Measurement:
    if seen.refused:
        return Measurement(refused=seen.refused)
    parts = {oid: _part(oid, before, roles) for oid in before}
    locks: dict[str, LockMode] = {}
    for oid, mode in seen.modes():
        if oid in parts:
            part = parts[oid]
            locks[part] = max(locks.get(part, mode), mode, key=lambda one: one.strength)
    rewritten = {
        parts[oid]
        for oid, relation in before.items()
        if relation.file and relation.name in seen.files and seen.files[relation.name] != relation.file
    }
    read = {parts[oid] for oid, count in seen.read.items() if oid in parts and count >= ROWS // 2}
    return Measurement(locks=locks, rewrites=tuple(sorted(rewritten)), reads=tuple(sorted(read)))


def _part(oid: int, relations: dict[int, Relation], roles: dict[str, str]) -> str:
    relation = relations[oid]
    if relation.index_of is not None:
        return f"an index of {_part(relation.index_of, relations, roles)}"
    if relation.toast_of is not None:
        return f"the TOAST table of {_part(relation.toast_of, relations, roles)}"
    return roles.get(relation.name, f"the relation {relation.name}")
