"""A look at every target of a fleet: who answers, who it is, and what it has. Nothing is changed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import groupby

import psycopg

from squizzle.errors import ConnectionFailedError, IdentityMismatchError, InvalidInputError, SquizzleError
from squizzle.migrations.history import History, read_history
from squizzle.migrations.records import Migration, RowState
from squizzle.migrations.status import pending
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import ExpectedIdentity, check_identity, read_identity
from squizzle.postgres.translation import translate_error
from squizzle.rollout.bounded import each_bounded
from squizzle.rollout.deadlines import Deadlines, Limit
from squizzle.rollout.reaching import Reach, servers_of
from squizzle.rollout.records import Fleet, FleetTarget, PartlyApplied, TargetReport, TargetState
from squizzle.settings.fleets import FleetSettings

# Schemas of one database share a session, but not too many: others of its server's sessions help.
_SCHEMAS_A_SESSION = 200
_FEW = 10


def survey_fleet(
    fleet: Fleet, settings: FleetSettings, migrations: Sequence[Migration], *, environ: Mapping[str, str]
) -> tuple[TargetReport, ...]:
    """Look at every target, some at the same time, with one session each (one for many schemas of one database).

    Args:
        fleet: As `discover_fleet` found it.
        settings: How many at the same time, and how long each may take.
        migrations: What is on disk.
        environ: Where secrets are.

    Returns:
        A report on every target, in the order of the fleet's.

    Raises:
        InvalidInputError: A variable is not set, or two targets are one and the same database and schema.
    """
    reports = {report.target.name: report for report in each_report(fleet, settings, migrations, environ=environ)}
    ordered = tuple(reports[target.name] for target in fleet.targets)
    refuse_same_places(ordered)
    return ordered


def each_report(
    fleet: Fleet, settings: FleetSettings, migrations: Sequence[Migration], *, environ: Mapping[str, str]
) -> Iterator[TargetReport]:
    """The reports as they are made, in any order; otherwise like `survey_fleet`, and nothing is compared."""
    expected = ExpectedIdentity(environment=fleet.environment, fleet=fleet.name)
    accesses = servers_of(fleet, fleet.targets, environ=environ)
    reach = Reach(accesses, deadline=settings.deadline, purpose="fleet")
    with Deadlines() as deadlines:
        look = _Look(reach, settings.deadline, expected, tuple(migrations), deadlines)
        for _, reports in each_bounded(
            _sessions(fleet.targets),
            look.at,
            place=lambda targets: targets[0].server,
            concurrency=settings.concurrency,
            per_place=settings.per_server,
        ):
            yield from reports


def refuse_same_places(reports: Iterable[TargetReport]) -> None:
    """Refuse one database that is reached by two names. What did not answer cannot be told.

    Raises:
        InvalidInputError: Two targets are one and the same.
    """
    first: dict[str, str] = {}
    twice = [
        f"{first[report.place]} and {report.target.name}"
        for report in reports
        if report.place and first.setdefault(report.place, report.target.name) != report.target.name
    ]
    if twice:
        more = f" (and {len(twice) - _FEW} more)" if len(twice) > _FEW else ""
        raise InvalidInputError(
            f"targets are one and the same database: {'; '.join(twice[:_FEW])}{more}",
            hint="exclude one of each two, or correct the address of a server",
        )


def stopping(reports: Iterable[TargetReport], *, exclude_unreachable: bool) -> tuple[TargetReport, ...]:
    """The targets for which a rollout must not begin.

    Args:
        reports: Of every target.
        exclude_unreachable: Whether those that cannot be reached are left out instead; never those of another
            environment.
    """
    harmless = {TargetState.READY, *([TargetState.UNREACHABLE] if exclude_unreachable else [])}
    return tuple(report for report in reports if report.state not in harmless)


def _sessions(targets: Sequence[FleetTarget]) -> Iterator[tuple[FleetTarget, ...]]:
    """What one session looks at: schemas of one database."""

    def database(target: FleetTarget) -> tuple[str, str]:
        return target.server, target.database

    for _, group in groupby(sorted(targets, key=database), key=database):
        same = tuple(group)
        for begin in range(0, len(same), _SCHEMAS_A_SESSION):
            yield same[begin : begin + _SCHEMAS_A_SESSION]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Server:
    """What a session says about where it is."""

    database: str
    is_standby: bool


class _Look:
    """What every look has in common."""

    def __init__(
        self,
        reach: Reach,
        deadline: timedelta,
        expected: ExpectedIdentity,
        migrations: tuple[Migration, ...],
        deadlines: Deadlines,
    ) -> None:
        self._reach = reach
        self._deadline_s = deadline.total_seconds()
        self._expected = expected
        self._migrations = migrations
        self._deadlines = deadlines
        # Most targets lack the same versions: they share one tuple of them.
        self._pending: dict[tuple[str, ...], tuple[str, ...]] = {}

    def at(self, targets: tuple[FleetTarget, ...]) -> tuple[TargetReport, ...]:
        """Reports on schemas of one database; whatever goes wrong is in them."""
        server, database = targets[0].server, targets[0].database
        if why := self._reach.why_down(server):
            return tuple(_bad(target, TargetState.UNREACHABLE, f"not tried: {why}") for target in targets)
        began = time.monotonic()
        try:
            connection = self._reach.connect(server, database)
        except ConnectionFailedError as exc:
            return tuple(_bad(target, TargetState.UNREACHABLE, exc.message) for target in targets)
        left_s = self._deadline_s - (time.monotonic() - began)
        try:
            with self._deadlines.limit(connection, left_s) as limit:
                return tuple(self._in_session(connection, targets, limit))
        finally:
            connection.close()

    def _in_session(
        self, connection: Connection, targets: tuple[FleetTarget, ...], limit: Limit
    ) -> Iterator[TargetReport]:
        where: _Server | None = None
        for number, target in enumerate(targets):
            if number:
                limit.extend(self._deadline_s)
            try:
                if where is None:
                    where = self._prepare(connection, target)
                yield self._report(connection, target, where)
            except IdentityMismatchError as exc:
                yield _bad(target, TargetState.OTHER_ENVIRONMENT, exc.message)
            except (SquizzleError, psycopg.Error) as exc:
                if limit.passed:
                    detail = f"no answer within {self._deadline_s:g} s"
                    yield _bad(target, TargetState.UNREACHABLE, detail)
                else:
                    yield _failed(target, exc)

    def _prepare(self, connection: Connection, target: FleetTarget) -> _Server:
        """Limits of the server's own, so that it does not go on for long with what was cut; then who this is."""
        limit = f"{round((self._deadline_s + 1) * 1000)}ms"
        row = connection.execute(
            "SELECT set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false),"
            " pg_is_in_recovery(), pg_postmaster_start_time(), oid,"
            " has_function_privilege('pg_control_system()', 'EXECUTE')"
            " FROM pg_database WHERE datname = current_database()",
            (limit, limit),
        ).fetchone()
        if row is None:
            raise ConnectionFailedError(
                f"{target.database} was dropped a moment ago", hint="look at the fleet again (`squizzle fleet NAME`)"
            )
        _, _, is_standby, started, oid, may_ask = row
        cluster = ""
        if may_ask:
            (cluster,) = connection.execute("SELECT system_identifier FROM pg_control_system()").fetchone() or ("",)
        check_identity(read_identity(connection), self._expected, database=target.database)
        # Copies of a cluster share its identifier, but have not been started in the same microsecond.
        return _Server(database=f"{cluster} {started.timestamp():f} {oid}", is_standby=is_standby)

    def _report(self, connection: Connection, target: FleetTarget, where: _Server) -> TargetReport:
        place = f"{where.database} {target.schema}"
        if where.is_standby:
            return replace(_bad(target, TargetState.UNUSABLE, "is a standby; name its primary"), place=place)
        if not _has_schema(connection, target.schema):
            return replace(_bad(target, TargetState.UNUSABLE, f"has no schema {target.schema}"), place=place)
        history = read_history(connection, target.schema)
        wanted = tuple(one.version for one in pending(self._migrations, history))
        broken = (*history.in_state(RowState.FAILED), *history.in_state(RowState.RUNNING))
        return TargetReport(
            target=target,
            state=TargetState.READY,
            version=history.current,
            pending=self._pending.setdefault(wanted, wanted),
            failed=tuple(row.version for row in broken),
            partly=tuple(_partly(history)),
            place=place,
        )


def _partly(history: History) -> Iterator[PartlyApplied]:
    for version, row in history.half_done().items():
        staged = row.batch_progress.staged if row.batch_progress else None
        if staged is not None:
            pct = staged.shares[-1].pct if staged.shares else 0
            yield PartlyApplied(version=version, pct=pct, detail=str(staged))


def _has_schema(connection: Connection, schema: str) -> bool:
    return connection.execute("SELECT to_regnamespace(quote_ident(%s))", (schema,)).fetchone() != (None,)


def _bad(target: FleetTarget, state: TargetState, detail: str) -> TargetReport:
    return TargetReport(target=target, state=state, detail=detail)


def _failed(target: FleetTarget, exc: SquizzleError | psycopg.Error) -> TargetReport:
    error = exc if isinstance(exc, SquizzleError) else translate_error(exc, doing=f"look at {target.name}")
    lost = isinstance(error, ConnectionFailedError)
    return _bad(target, TargetState.UNREACHABLE if lost else TargetState.UNUSABLE, error.message)
