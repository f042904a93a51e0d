"""Whether the disks of servers have room for what is rolled out, where free space can be known at all.

PostgreSQL itself does not say how much is free. It is asked for where somebody can tell: the file system of a server on
this machine, CloudWatch for an instance of RDS, or a query that the fleet's settings name.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import psycopg

from squizzle.backups.space import MARGIN, RESERVE_BYTES, size_words
from squizzle.errors import SquizzleError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.translation import server_words
from squizzle.rehearsal.records import Certificate
from squizzle.rollout.bounded import each_bounded
from squizzle.rollout.checks import CheckFinding, CheckResult, CheckRow, rows_of
from squizzle.rollout.deadlines import Deadlines
from squizzle.rollout.orders import RolloutOrder
from squizzle.rollout.records import FleetTarget, TargetReport, TargetState
from squizzle.settings.fleets import FleetServer, resolve_server

CHECK = "free disk"
# Below so many times what is needed, a person should know.
_COMFORT = 2
# Where nobody rehearsed it: so much of what the targets have should be free.
_SHARE = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class FreeSpace:
    """How much is free where a server keeps its data.

    Attributes:
        free_bytes: None where it is not known. Never 0 for unknown.
        told_by: Who says so, or why nobody can.
        total_bytes: How big that place is; None where nobody says.
    """

    free_bytes: int | None
    told_by: str
    total_bytes: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptNeed:
    """What one version wrote in its rehearsal.

    Attributes:
        wal_bytes: To the log; it holds every page of tables and indexes that was written, so the files grew by no more.
        temp_bytes: To temporary files, which go when it ends.
        rehearsed_bytes: Size of the database that was rehearsed; None when the backup does not say.
    """

    wal_bytes: int
    temp_bytes: int
    rehearsed_bytes: int | None = None


# Asks a cloud about a host; None where the host is none of its.
AskCloud = Callable[[str], FreeSpace | None]


def script_need(certificate: Certificate, rehearsed_bytes: int | None) -> ScriptNeed | None:
    """What a version needs, from its trace; None where it has none. Pure."""
    if certificate.up is None:
        return None
    statements = certificate.up.statements
    return ScriptNeed(
        wal_bytes=sum(one.wal_bytes for one in statements),
        temp_bytes=max((one.temp_bytes for one in statements), default=0),
        rehearsed_bytes=rehearsed_bytes,
    )


def server_need(
    lacking: Mapping[FleetTarget, Sequence[str]],
    needs: Mapping[str, ScriptNeed],
    sizes: Mapping[str, int],
    *,
    per_server: int,
) -> int | None:
    """Bytes that the targets of one server need in all; None where a version was not rehearsed. Pure.

    What tables and indexes grow by, stays. The log of it, as much again, and temporary files are there for those
    targets that are migrated at the same time. A target that is twice as big as the rehearsed one needs twice as much.

    Args:
        lacking: What each target lacks.
        needs: By version.
        sizes: Bytes of each target's database, by the target's name; those of others are taken as rehearsed.
        per_server: So many at the same time.
    """
    stays, passing = 0.0, []
    alone: defaultdict[str, int] = defaultdict(int)
    for target in lacking:
        alone[target.database] += 1
    for target, versions in lacking.items():
        log, temp = 0.0, 0.0
        for version in versions:
            need = needs.get(version)
            if need is None:
                return None
            scale = 1.0
            # The size of a database says nothing of one of its many schemas.
            if need.rehearsed_bytes and target.name in sizes and alone[target.database] == 1:
                scale = sizes[target.name] / need.rehearsed_bytes
            log += need.wal_bytes * scale
            temp = max(temp, need.temp_bytes * scale)
        stays += log
        passing.append(log + temp)
    return round(stays + sum(sorted(passing, reverse=True)[:per_server]))


def judge_disk(server: str, free: FreeSpace, need: int | None, held: int) -> CheckFinding:
    """Whether there is room. Pure.

    Args:
        server: Its name.
        free: What is free.
        need: What is needed, in bytes; None when nobody rehearsed it.
        held: What the targets there have, in bytes.
    """
    if free.free_bytes is None:
        return CheckFinding(place=server, check=CHECK, result=CheckResult.NOT_KNOWN, detail=free.told_by)
    least = round((need or 0) * MARGIN) + RESERVE_BYTES
    wanted = _COMFORT * least if need is not None else max(least, held // _SHARE)
    told = f"{size_words(free.free_bytes)} are free ({free.told_by})"
    about = f"it needs about {size_words(need)}, as rehearsed" if need is not None else "nobody rehearsed what it needs"
    if free.free_bytes < least:
        return CheckFinding(place=server, check=CHECK, result=CheckResult.STOP, detail=f"{told}; {about}")
    if free.free_bytes < wanted:
        return CheckFinding(place=server, check=CHECK, result=CheckResult.WARNING, detail=f"{told}; {about}")
    return CheckFinding(place=server, check=CHECK, detail=f"{told}; {about}")


def check_disks(
    order: RolloutOrder,
    reports: Iterable[TargetReport],
    needs: Mapping[str, ScriptNeed],
    sizes: Mapping[str, int],
    *,
    deadline: timedelta,
    environ: Mapping[str, str],
    ask_cloud: AskCloud,
) -> tuple[CheckRow, ...]:
    """Look at the disk of every server whose targets lack something. Nothing is changed.

    Args:
        order: What would be applied.
        reports: What the survey found.
        needs: What versions wrote in their rehearsals.
        sizes: Bytes of databases, by the name of the target.
        deadline: How long one server may take to answer.
        environ: Where secrets are.
        ask_cloud: Asks a cloud about a host.

    Raises:
        InvalidInputError: A variable is not set.
    """
    wanted = set(order.versions)
    by_server: defaultdict[str, dict[FleetTarget, tuple[str, ...]]] = defaultdict(dict)
    for report in reports:
        lacks = tuple(one for one in report.pending if one in wanted)
        if report.state is TargetState.READY and lacks:
            by_server[report.target.server][report.target] = lacks
    places = {name: resolve_server(order.fleet.servers[name], environ=environ) for name in by_server}
    with Deadlines() as deadlines:

        def look(name: str) -> CheckFinding:
            access, database = places[name]
            free = free_space(order.fleet.servers[name], access, database, deadlines, deadline, ask_cloud)
            lacking = by_server[name]
            need = server_need(lacking, needs, sizes, per_server=order.per_server)
            held = {one.database: sizes.get(one.name, 0) for one in lacking}
            return judge_disk(name, free, need, sum(held.values()))

        found = each_bounded(
            by_server, look, place=lambda name: name, concurrency=order.concurrency, per_place=order.per_server
        )
        return rows_of([finding for _, finding in found])


def free_space(
    server: FleetServer,
    access: ServerAccess,
    database: str,
    deadlines: Deadlines,
    deadline: timedelta,
    ask_cloud: AskCloud,
) -> FreeSpace:
    """How much is free where a server keeps its data, by whoever can tell. Nothing is changed.

    Args:
        server: Which, with its own question if it has one.
        access: How it is reached.
        database: Where it is asked.
        deadlines: Who cuts a session that takes too long.
        deadline: How long it may take to answer.
        ask_cloud: Asks a cloud about a host.
    """
    is_here = access.host.startswith("/")
    if server.free_bytes_query is None and not is_here:
        return ask_cloud(access.host) or FreeSpace(
            free_bytes=None, told_by="nobody can tell from inside; name a free_bytes_query for the server"
        )
    access = replace(access, connect_timeout=min(access.connect_timeout, deadline))
    try:
        with (
            connect(access, database, purpose="checks", read_only=True) as connection,
            deadlines.limit(connection, deadline.total_seconds()),
        ):
            if server.free_bytes_query is not None:
                return _asked(connection, server.free_bytes_query)
            return _on_this_machine(connection)
    except SquizzleError as exc:
        return FreeSpace(free_bytes=None, told_by=exc.message)
    except psycopg.Error as exc:
        return FreeSpace(free_bytes=None, told_by=f"the question failed: {server_words(exc)}")


def _asked(connection: Connection, query: str) -> FreeSpace:
    row = connection.execute(query.encode()).fetchone()
    try:
        free = int(row[0]) if row else None
    except (TypeError, ValueError):
        free = None
    if free is None or free < 0:
        return FreeSpace(free_bytes=None, told_by="free_bytes_query gave no number of bytes")
    return FreeSpace(free_bytes=free, told_by="free_bytes_query")


def _on_this_machine(connection: Connection) -> FreeSpace:
    """The file system of the data folder; tablespaces and a log elsewhere are not looked at."""
    try:
        row = connection.execute("SHOW data_directory").fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return FreeSpace(
            free_bytes=None, told_by="the account may not see data_directory; grant it pg_read_all_settings"
        )
    folder = Path(row[0]) if row else Path()
    try:
        usage = shutil.disk_usage(folder)
    except OSError as exc:
        return FreeSpace(free_bytes=None, told_by=f"{folder} cannot be looked at here: {exc.strerror}")
    return FreeSpace(free_bytes=usage.free, told_by=f"the file system of {folder}", total_bytes=usage.total)
