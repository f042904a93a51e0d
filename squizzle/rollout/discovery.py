"""Which targets a fleet has now: said by hand, asked from a control database, or found by their names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import partial
from typing import LiteralString, NoReturn

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from squizzle.errors import ConnectionFailedError, InvalidInputError
from squizzle.postgres.access import CONTROL_DATABASE, Connection, connect
from squizzle.postgres.translation import is_connection_loss, server_words, translate_error, translated
from squizzle.rollout.bounded import each_bounded
from squizzle.rollout.deadlines import Deadlines, Limit
from squizzle.rollout.records import ExcludedTarget, Fleet, FleetTarget, UnreachableServer
from squizzle.settings.fleet_labels import label_words
from squizzle.settings.fleets import (
    DatabasesByName,
    Exclusion,
    FleetQuery,
    FleetServer,
    FleetSettings,
    Pattern,
    SchemasByName,
    resolve_server,
)

# The comment of every database that Squizzle keeps or makes for itself begins so (docs/adr/0029).
_OUR_MARK = "squizzle:"
_KNOWN_COLUMNS = frozenset({"server", "database", "name", "schema", "tier", "size", "pinned"})
_FEW = 10


def discover_fleet(settings: FleetSettings, *, default_schema: str, environ: Mapping[str, str]) -> Fleet:
    """Ask every server of the fleet what it has. Nothing is changed.

    Left out of what is found by name: templates, databases that accept no connections, the maintenance database
    `postgres`, and, listed as excluded, what Squizzle itself put aside or makes.

    Args:
        settings: `[fleets.NAME]`.
        default_schema: Of targets where neither they nor the fleet say another one.
        environ: Where secrets are.

    Raises:
        InvalidInputError: A variable is not set, a query or a pattern is wrong, a target is there twice, or nothing is
            left.
        ConnectionFailedError: There is no target, and a server that may have some could not be asked.
        DatabaseError: A question was refused.
    """
    schema = settings.schema or default_schema
    jobs = _jobs(settings, schema)
    found = _listed(settings, schema)
    ours: list[ExcludedTarget] = []
    unreachable: list[UnreachableServer] = []
    seconds = settings.deadline.total_seconds()
    accesses = {job.server: resolve_server(settings.servers[job.server], environ=environ) for job in jobs}
    with Deadlines() as deadlines:

        def ask(job: _Job) -> _Answer | UnreachableServer:
            access, database = accesses[job.server]
            access = replace(access, connect_timeout=min(access.connect_timeout, settings.deadline))
            limit: Limit | None = None
            try:
                with (
                    connect(access, job.database or database, purpose="fleet", read_only=True) as connection,
                    deadlines.limit(connection, seconds) as limit,
                    translated(f"ask {job.server}"),
                ):
                    # The server's own limit, too: it would go on with a question whose asker was cut off.
                    own = f"{round((seconds + 1) * 1000)}ms"
                    connection.execute("SELECT set_config('statement_timeout', %s, false)", (own,))
                    return job.ask(connection)
            except ConnectionFailedError as exc:
                late = limit is not None and limit.passed
                return UnreachableServer(
                    server=job.server, why=f"no answer within {seconds:g} s" if late else exc.message
                )

        for _, answer in each_bounded(
            jobs, ask, place=lambda job: job.server, concurrency=settings.concurrency, per_place=settings.per_server
        ):
            if isinstance(answer, UnreachableServer):
                unreachable.append(answer)
            else:
                found += answer.targets
                ours += answer.ours
    return _assemble(settings, found, ours, tuple(sorted(unreachable, key=lambda one: one.server)))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    targets: tuple[FleetTarget, ...]
    ours: tuple[ExcludedTarget, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """One question to one server; None as the database is the one of its URL."""

    server: str
    ask: Callable[[Connection], _Answer]
    database: str | None = None


def _jobs(settings: FleetSettings, schema: str) -> list[_Job]:
    where = f"fleets.{settings.name}"
    jobs = []
    if settings.databases:
        ask = partial(_databases, source=settings.databases, schema=schema, where=f"{where}.databases")
        names = settings.databases.servers or tuple(settings.servers)
        jobs += [_Job(server=name, ask=partial(ask, server=settings.servers[name])) for name in names]
    if settings.schemas:
        source = settings.schemas
        server = settings.servers[source.server]
        in_it = partial(_schemas, source=source, server=server, where=f"{where}.schemas")
        jobs.append(_Job(server=server.name, ask=in_it, database=source.database))
    if settings.query:
        reader = _RowReader(settings.servers, schema, f"{where}.query")
        jobs.append(_Job(server=settings.query.server, ask=partial(_asked, source=settings.query, reader=reader)))
    return jobs


def _listed(settings: FleetSettings, schema: str) -> list[FleetTarget]:
    return [
        _target(
            settings.servers[one.server],
            one.database,
            one.schema or schema,
            usual_schema=schema,
            name=one.name,
            tier=one.tier,
            size=one.size,
            pinned=one.pinned,
            labels=one.labels,
        )
        for one in settings.targets
    ]


def _target(  # noqa: PLR0913 - one for each thing that may be said of a target
    server: FleetServer,
    database: str,
    schema: str,
    *,
    usual_schema: str | None,
    name: str | None = None,
    tier: int | None = None,
    size: int | None = None,
    pinned: bool = False,
    labels: tuple[tuple[str, str], ...] = (),
) -> FleetTarget:
    called = f"{server.name}/{database}" + ("" if schema == usual_schema else f"/{schema}")
    return FleetTarget(
        name=name or called,
        server=server.name,
        database=database,
        schema=schema,
        tier=server.tier if tier is None else tier,
        size=size,
        pinned=pinned,
        labels=tuple(sorted((dict(server.labels) | dict(labels)).items())) if labels else server.labels,
    )


def _fits(column: LiteralString, pattern: Pattern) -> tuple[sql.Composed, str]:
    operator: LiteralString = "LIKE" if pattern.like is not None else "~"
    return sql.SQL(f"{column} {operator} %s").format(), pattern.like or pattern.regex or ""


def _databases(
    connection: Connection, *, source: DatabasesByName, server: FleetServer, schema: str, where: str
) -> _Answer:
    fits, value = _fits("datname", source.pattern)
    # Who may not connect may not ask for the size either (manual, "Database Object Size Functions").
    size: LiteralString = (
        "CASE WHEN has_database_privilege(oid, 'CONNECT') THEN pg_database_size(oid) END" if source.sizes else "NULL"
    )
    query = sql.SQL(
        "SELECT datname, {size}, shobj_description(oid, 'pg_database') FROM pg_database"
        # Limits below -1 are those of a DROP DATABASE that did not end.
        " WHERE datallowconn AND NOT datistemplate AND datconnlimit >= -1 AND datname <> {control} AND {fits}"
    ).format(size=sql.SQL(size), control=sql.Literal(CONTROL_DATABASE), fits=fits)
    targets, ours = [], []
    for name, bytes_, comment in _rows(connection, query, value, where):
        target = _target(server, name, schema, usual_schema=schema, size=bytes_)
        if comment and comment.startswith(_OUR_MARK):
            ours.append(ExcludedTarget(target=target, reason=comment.split("\n")[0]))
        else:
            targets.append(target)
    return _Answer(targets=tuple(targets), ours=tuple(ours))


def _schemas(connection: Connection, *, source: SchemasByName, server: FleetServer, where: str) -> _Answer:
    fits, value = _fits("nspname", source.pattern)
    query = sql.SQL(
        "SELECT nspname FROM pg_namespace WHERE NOT starts_with(nspname, 'pg_')"
        " AND nspname NOT IN ('information_schema', 'squizzle', 'squizzle_salvage') AND {fits}"
    ).format(fits=fits)
    found = _rows(connection, query, value, where)
    return _Answer(targets=tuple(_target(server, source.database, name, usual_schema=None) for (name,) in found))


def _rows(connection: Connection, query: sql.Composed, value: str, where: str) -> list[TupleRow]:
    try:
        return connection.execute(query, (value,)).fetchall()
    except psycopg.DataError as exc:
        raise InvalidInputError(
            f"{where} has a pattern that the server does not take: {server_words(exc)}",
            hint="see docs/fleets.md; a backslash in a text of squizzle.toml is written twice",
        ) from exc
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"find what {where} means") from exc


def _asked(connection: Connection, *, source: FleetQuery, reader: _RowReader) -> _Answer:
    where = reader.where
    try:
        cursor = connection.execute(source.sql.encode())
        columns = [column.name for column in cursor.description or ()]
        rows = cursor.fetchall() if columns else []
    except psycopg.Error as exc:
        if is_connection_loss(exc):
            raise translate_error(exc, doing=f"ask what {where} says") from exc
        raise InvalidInputError(
            f"{where} failed: {server_words(exc)}", hint="run it with psql as the same user"
        ) from exc
    missing = sorted({"server", "database"} - set(columns))
    if missing:
        raise InvalidInputError(
            f"{where} gives no column {', '.join(missing)}", hint="SELECT server, database FROM …; see docs/fleets.md"
        )
    return _Answer(
        targets=tuple(reader.target(dict(zip(columns, row, strict=True)), n) for n, row in enumerate(rows, start=1))
    )


class _RowReader:
    """Takes targets out of a control database's rows, and complains by the number of the row."""

    def __init__(self, servers: Mapping[str, FleetServer], schema: str, where: str) -> None:
        self.servers = servers
        self.schema = schema
        self.where = where

    def target(self, row: Mapping[str, object], number: int) -> FleetTarget:
        server = self.text(row, "server", number) or ""
        if server not in self.servers:
            self.complain(number, f"has server {server!r}, and there is no such section")
        return _target(
            self.servers[server],
            self.text(row, "database", number) or self.complain(number, "has no database"),
            self.text(row, "schema", number) or self.schema,
            usual_schema=self.schema,
            name=self.text(row, "name", number),
            tier=self.whole(row, "tier", number),
            size=self.whole(row, "size", number),
            pinned=row.get("pinned") is True,
            labels=tuple(
                (column, str(value))
                for column, value in row.items()
                if column not in _KNOWN_COLUMNS and value is not None
            ),
        )

    def text(self, row: Mapping[str, object], column: str, number: int) -> str | None:
        value = row.get(column)
        if not isinstance(value, str | None):
            self.complain(number, f"has a {column} that is no text")
        return value or None

    def whole(self, row: Mapping[str, object], column: str, number: int) -> int | None:
        value = row.get(column)
        if value is None:
            return None
        # A sum of bytes is a numeric.
        if isinstance(value, bool) or not isinstance(value, int | Decimal) or value < 0 or int(value) != value:
            self.complain(number, f"has a {column} that is no whole number of 0 or more")
        return int(value)

    def complain(self, number: int, what: str) -> NoReturn:
        raise InvalidInputError(f"{self.where}: row {number} {what}", hint="correct the query, or what it reads")


def _assemble(
    settings: FleetSettings,
    found: Sequence[FleetTarget],
    ours: Sequence[ExcludedTarget],
    unreachable: tuple[UnreachableServer, ...],
) -> Fleet:
    _refuse_duplicates(found)
    remarks: list[str] = []
    pinned = _pinned(found, settings.pinned, remarks)
    targets, excluded = [], [*ours]
    used: set[int] = set()
    for target in sorted(pinned, key=lambda one: one.name):
        position = next((n for n, one in enumerate(settings.exclusions) if _is_excluded(target, one)), None)
        if position is None:
            targets.append(target)
        else:
            used.add(position)
            excluded.append(ExcludedTarget(target=target, reason=settings.exclusions[position].reason))
    for number, one in enumerate(settings.exclusions):
        if number not in used:
            remarks.append(f"nothing is excluded by {one.target or dict(one.labels)} ({one.reason})")
    chosen = [target for target in targets if set(settings.only) <= set(target.labels)]
    if not targets:
        _refuse_empty(settings, excluded, unreachable)
    if not chosen:
        _refuse_labels(settings, targets)
    return Fleet(
        name=settings.name,
        environment=settings.environment,
        servers=settings.servers,
        targets=tuple(chosen),
        excluded=tuple(excluded),
        unreachable=unreachable,
        only=settings.only,
        not_chosen=tuple(one for one in targets if not set(settings.only) <= set(one.labels)),
        remarks=tuple(remarks),
    )


def _pinned(found: Iterable[FleetTarget], patterns: Sequence[str], remarks: list[str]) -> list[FleetTarget]:
    if not patterns:
        return list(found)
    used: set[str] = set()
    pinned = []
    for target in found:
        fitting = [pattern for pattern in patterns if fnmatchcase(target.name, pattern)]
        used.update(fitting)
        pinned.append(replace(target, pinned=True) if fitting else target)
    remarks += [f"no target is called {pattern}, which is pinned" for pattern in patterns if pattern not in used]
    return pinned


def _is_excluded(target: FleetTarget, exclusion: Exclusion) -> bool:
    by_name = not exclusion.target or fnmatchcase(target.name, exclusion.target)
    return by_name and set(exclusion.labels) <= set(target.labels)


def _refuse_duplicates(targets: Iterable[FleetTarget]) -> None:
    names: dict[str, FleetTarget] = {}
    places: dict[tuple[str, str, str], FleetTarget] = {}
    twice: list[str] = []
    for target in targets:
        place = (target.server, target.database, target.schema)
        if place in places:
            twice.append(f"{'/'.join(place)} is there twice, as {places[place].name} and as {target.name}")
        elif target.name in names:
            twice.append(f"two targets are called {target.name}")
        places.setdefault(place, target)
        names.setdefault(target.name, target)
    if twice:
        more = f" (and {len(twice) - _FEW} more)" if len(twice) > _FEW else ""
        raise InvalidInputError(
            f"the fleet has targets twice: {'; '.join(twice[:_FEW])}{more}",
            hint="each may come from one source only; `pinned` and `exclude` take targets from all of them",
        )


def _refuse_labels(settings: FleetSettings, targets: Sequence[FleetTarget]) -> NoReturn:
    there = sorted({label for target in targets for label in target.labels})
    known = label_words(tuple(there[:_FEW])) + (f" and {len(there) - _FEW} more" if len(there) > _FEW else "")
    raise InvalidInputError(
        f"no target of the fleet {settings.name} has {label_words(settings.only)}; labels there: {known or 'none'}",
        hint=f"`squizzle fleet {settings.name} --json` shows the labels of each",
    )


def _refuse_empty(
    settings: FleetSettings, excluded: Sequence[ExcludedTarget], unreachable: Sequence[UnreachableServer]
) -> None:
    if unreachable:
        told = "; ".join(f"{one.server}: {one.why}" for one in unreachable)
        raise ConnectionFailedError(
            f"no target of the fleet {settings.name} could be found: {told}", hint="run it again when they answer"
        )
    left_out = f"; {len(excluded)} are excluded" if excluded else ""
    raise InvalidInputError(
        f"the fleet {settings.name} has no target{left_out}", hint=f"look at [fleets.{settings.name}] in squizzle.toml"
    )
