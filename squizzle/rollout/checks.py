"""Whether targets and their servers are fit to be migrated now, looked at from inside. Nothing is changed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from squizzle.backups.space import size_words
from squizzle.durations import words
from squizzle.errors import SquizzleError
from squizzle.migrations.history import History, read_history
from squizzle.migrations.planning import check_history
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error
from squizzle.proof.digests import digest_schema
from squizzle.rollout.bounded import each_bounded
from squizzle.rollout.deadlines import Deadlines
from squizzle.rollout.orders import Proof, RolloutOrder
from squizzle.rollout.records import Fleet, FleetTarget, TargetReport, TargetState
from squizzle.settings.fleets import resolve_server

# Sizes are added up where every target answered.
_SHOWN = 5


class CheckResult(StrEnum):
    """`ok`; `not known`: nobody can tell; `warning`: somebody should know; `stop`: nothing begins until it is right."""

    OK = "ok"
    NOT_KNOWN = "not known"
    WARNING = "warning"
    STOP = "stop"


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckFinding:
    """What one check found at one place.

    Attributes:
        place: A target's or a server's name.
        check: What was looked at.
        result: In a word.
        detail: What was found, in a clause; empty when all is well.
    """

    place: str
    check: str
    result: CheckResult = CheckResult.OK
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckRow:
    """One check at all places: ten thousand targets are one row.

    Attributes:
        check: What was looked at.
        ok: At how many places all is well.
        findings: The other ones, those that stop first.
    """

    check: str
    ok: int
    findings: tuple[CheckFinding, ...] = ()

    @property
    def result(self) -> CheckResult:
        """The worst of all."""
        return self.findings[0].result if self.findings else CheckResult.OK

    def sentence(self) -> str:
        """The first findings, for a table."""
        shown = "; ".join(f"{one.place}: {one.detail}" for one in self.findings[:_SHOWN])
        more = len(self.findings) - _SHOWN
        return f"{shown}; and {more:,} more" if more > 0 else shown


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckLimits:
    """Where a warning begins, and where it stops.

    Attributes:
        connections_warn_pct, connections_stop_pct: Of the connections that the server allows.
        long_transaction: An older one may hold locks that a migration needs.
        lag_warn, lag_stop: How far a standby may be behind.
        xid_age: An older database is about to be protected against wraparound, by a VACUUM that is in the way.
    """

    connections_warn_pct: int = 80
    connections_stop_pct: int = 95
    long_transaction: timedelta = timedelta(minutes=5)
    lag_warn: timedelta = timedelta(seconds=30)
    lag_stop: timedelta = timedelta(minutes=5)
    xid_age: int = 1_500_000_000


def check_targets(
    order: RolloutOrder,
    reports: Sequence[TargetReport],
    *,
    deadline: timedelta,
    environ: Mapping[str, str],
    exclude_unreachable: bool = False,
    limits: CheckLimits = CheckLimits(),
    on_size: Callable[[str, int], None] = lambda _target, _bytes: None,
) -> tuple[CheckRow, ...]:
    """Look at every target that lacks something, and at each server once.

    Args:
        order: What would be applied; its proofs say which schema it was rehearsed on.
        reports: What the survey found.
        deadline: How long one target may take to answer.
        environ: Where secrets are.
        exclude_unreachable: Whether what cannot be reached is left out instead of ending it.
        limits: Where a warning begins, and where it stops.
        on_size: Told how many bytes the database of each target has, from many threads.

    Returns:
        A row for each check.

    Raises:
        InvalidInputError: A variable is not set.
    """
    findings = [finding for report in reports for finding in _from_survey(report)]
    findings += _from_discovery(order.fleet, exclude_unreachable=exclude_unreachable)
    ready = [report.target for report in reports if report.state is TargetState.READY and report.pending]
    servers = {target.server for target in ready}
    accesses = {name: resolve_server(order.fleet.servers[name], environ=environ)[0] for name in servers}
    with Deadlines() as deadlines:
        look = _Look(order, accesses, deadlines, deadline.total_seconds(), limits, on_size)
        for _, found in each_bounded(
            ready,
            look.at,
            place=lambda target: target.server,
            concurrency=order.concurrency,
            per_place=order.per_server,
        ):
            findings += found
    return rows_of(findings)


def stops(rows: Iterable[CheckRow]) -> tuple[CheckFinding, ...]:
    """Everything for which nothing may be begun."""
    return tuple(one for row in rows for one in row.findings if one.result is CheckResult.STOP)


def rows_of(findings: Iterable[CheckFinding]) -> tuple[CheckRow, ...]:
    """One row for each check, the worst findings first."""
    worst_first = list(reversed(CheckResult))
    by_check: dict[str, list[CheckFinding]] = {}
    for one in findings:
        by_check.setdefault(one.check, []).append(one)
    return tuple(
        CheckRow(
            check=check,
            ok=sum(one.result is CheckResult.OK for one in found),
            findings=tuple(
                sorted(
                    (one for one in found if one.result is not CheckResult.OK),
                    key=lambda one: (worst_first.index(one.result), one.place),
                )
            ),
        )
        for check, found in by_check.items()
    )


def _from_discovery(fleet: Fleet, *, exclude_unreachable: bool) -> Iterator[CheckFinding]:
    """Targets of a server that could not be asked are in no list, so nobody would miss them."""
    result = CheckResult.WARNING if exclude_unreachable else CheckResult.STOP
    for one in fleet.unreachable:
        yield CheckFinding(place=one.server, check="says which targets it has", result=result, detail=one.why)


def _from_survey(report: TargetReport) -> Iterator[CheckFinding]:
    name = report.target.name
    healthy = report.state is TargetState.READY
    result = CheckResult.OK if healthy else CheckResult.STOP
    yield CheckFinding(place=name, check="reachable, and who it should be", result=result, detail=report.detail)
    if healthy:
        broken = f"failed or not ended: {', '.join(report.failed)}" if report.failed else ""
        yield _warning_if(name, "history", broken)


def _warning_if(place: str, check: str, detail: str) -> CheckFinding:
    result = CheckResult.WARNING if detail else CheckResult.OK
    return CheckFinding(place=place, check=check, result=result, detail=detail)


def _graded(place: str, check: str, value: float, *, warn: float, stop: float, detail: str) -> CheckFinding:
    result = CheckResult.STOP if value >= stop else CheckResult.WARNING if value >= warn else CheckResult.OK
    return CheckFinding(place=place, check=check, result=result, detail=detail if result is not CheckResult.OK else "")


class _Look:
    """What every look has in common."""

    def __init__(
        self,
        order: RolloutOrder,
        accesses: Mapping[str, ServerAccess],
        deadlines: Deadlines,
        deadline_s: float,
        limits: CheckLimits,
        on_size: Callable[[str, int], None],
    ) -> None:
        self._order = order
        self._accesses = accesses
        self._deadlines = deadlines
        self._deadline_s = deadline_s
        self._limits = limits
        self._on_size = on_size
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def _is_first(self, server: str) -> bool:
        with self._lock:
            is_first = server not in self._seen
            self._seen.add(server)
        return is_first

    def at(self, target: FleetTarget) -> tuple[CheckFinding, ...]:
        try:
            # Read-only by a SET and not by the session's options: those would hide whether the database itself is.
            connection = connect(self._accesses[target.server], target.database, purpose="checks")
            try:
                with self._deadlines.limit(connection, self._deadline_s):
                    connection.execute("SET default_transaction_read_only = on")
                    return self._in_session(connection, target)
            finally:
                connection.close()
        except (SquizzleError, psycopg.Error) as exc:
            error = exc if isinstance(exc, SquizzleError) else translate_error(exc, doing=f"check {target.name}")
            stop = CheckFinding(
                place=target.name, check="answers questions", result=CheckResult.STOP, detail=error.message
            )
            return (stop,)

    def _in_session(self, connection: Connection, target: FleetTarget) -> tuple[CheckFinding, ...]:
        found = [CheckFinding(place=target.name, check="answers questions")]
        if self._is_first(target.server):
            found += _server_findings(target.server, _row(connection, "server_checks"), self._limits)
        row = _row(connection, "database_checks")
        self._on_size(target.name, row["size"])
        found += _database_findings(target.name, row, self._limits)
        history = read_history(connection, target.schema)
        found += (self._files(history, target), self._drift(connection, target, history))
        return tuple(found)

    def _files(self, history: History, target: FleetTarget) -> CheckFinding:
        """Whether what is applied there is what is on disk: otherwise nothing can be applied behind it."""
        check = "history and files agree"
        try:
            check_history(self._order.migrations, history)
        except SquizzleError as exc:
            return CheckFinding(place=target.name, check=check, result=CheckResult.STOP, detail=exc.message)
        return CheckFinding(place=target.name, check=check)

    def _drift(self, connection: Connection, target: FleetTarget, history: History) -> CheckFinding:
        """Against the schema that was rehearsed, else against what the last run left."""
        lacking = self._order.lacking(history)
        found = digest_schema(connection, schema=target.schema).logical
        first = lacking[0] if lacking else ""
        wanted = "" if first in history.half_done() else self._order.proofs.get(first, Proof()).schema_before
        if wanted and wanted != found:
            detail = f"its schema is not the one that {first} was rehearsed on ({wanted[:12]}, is {found[:12]})"
            return CheckFinding(place=target.name, check="drift", result=CheckResult.STOP, detail=detail)
        return _warning_if(target.name, "drift", "" if wanted else _since_last_run(history, found))


def _since_last_run(history: History, found: str) -> str:
    was = history.schema_digest
    if was is None or was == found:
        return ""
    return f"its schema was changed by somebody else since the last run (was {was[:12]}, is {found[:12]})"


def _row(connection: Connection, name: str) -> dict[str, Any]:
    query: LiteralString = load_sql("squizzle.rollout", name)
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query).fetchone() or {}


def _server_findings(server: str, row: Mapping[str, Any], limits: CheckLimits) -> Iterator[CheckFinding]:
    pct = 100 * row["connections"] / row["most"]
    told = f"{row['connections']} of {row['most']} connections are taken"
    warn, stop = limits.connections_warn_pct, limits.connections_stop_pct
    yield _graded(server, "connections", pct, warn=warn, stop=stop, detail=told)
    lag = row["lag"] or 0.0
    behind = f"a standby is {words(timedelta(seconds=round(lag)))} behind"
    warn_s, stop_s = limits.lag_warn.total_seconds(), limits.lag_stop.total_seconds()
    yield _graded(server, "replication lag", lag, warn=warn_s, stop=stop_s, detail=behind)
    slots = ", ".join(row["slots"])
    yield _warning_if(server, "replication slots", f"nobody uses, or the log of it is lost: {slots}" if slots else "")
    fails = row["archiver_fails"] is True
    yield CheckFinding(
        place=server,
        check="archiver",
        result=CheckResult.STOP if fails else CheckResult.OK,
        detail="the last try to archive the log failed; `squizzle wal` says more" if fails else "",
    )
    backups = f"{row['backups']} copies of the cluster are being made" if row["backups"] else ""
    yield _warning_if(server, "running backups", backups)
    yield _warning_if(server, "server settings", ", ".join(row["risky"]))
    unseen = "" if row["sees_all"] else "sessions of others are hidden from this account; grant it pg_read_all_stats"
    yield _warning_if(server, "what can be seen", unseen)


def _database_findings(target: str, row: Mapping[str, Any], limits: CheckLimits) -> Iterator[CheckFinding]:
    yield CheckFinding(place=target, check="size", detail=size_words(row["size"]))
    longest = row["longest"] or 0.0
    is_long = longest >= limits.long_transaction.total_seconds()
    told = f"a transaction has been open for {words(timedelta(seconds=round(longest)))}; `squizzle locks` shows whose"
    yield _warning_if(target, "long transactions", told if is_long else "")
    prepared = ", ".join(row["prepared"])
    yield _warning_if(
        target, "prepared transactions", f"they hold locks until somebody decides: {prepared}" * bool(prepared)
    )
    invalid = ", ".join(row["invalid"])
    yield _warning_if(target, "invalid indexes", invalid)
    yield CheckFinding(
        place=target,
        check="can be written",
        result=CheckResult.STOP if row["read_only"] else CheckResult.OK,
        detail="default_transaction_read_only is on" if row["read_only"] else "",
    )
    age = f"{row['xid_age']:,} transactions old; VACUUM it first" if row["xid_age"] >= limits.xid_age else ""
    yield _warning_if(target, "wraparound", age)
