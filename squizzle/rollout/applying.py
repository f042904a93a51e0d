"""Applying to many targets at the same time, and taking back from them. The targets' histories are the truth.

Whatever ends a run in the middle, the next one finds out from each history what is there, and does nothing twice.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg

from squizzle.errors import BeingMigratedError, ConnectionFailedError, DatabaseState, SquizzleError
from squizzle.migrations.approvals import Approvals
from squizzle.migrations.executor import Report
from squizzle.migrations.history import History, read_history
from squizzle.migrations.listener import Listener
from squizzle.migrations.operations import apply_versions, roll_back_versions
from squizzle.migrations.planning import check_history
from squizzle.migrations.read_scripts import kept_scripts
from squizzle.migrations.records import Outcome
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import check_identity, read_identity
from squizzle.postgres.translation import translate_error
from squizzle.rollout.bounded import each_bounded
from squizzle.rollout.deadlines import Deadlines
from squizzle.rollout.orders import ApplyVerdict, RolloutOrder, TargetResult
from squizzle.rollout.records import FleetTarget
from squizzle.settings.fleets import resolve_server

# A server that restarts, or has no room for one more session, has both in a second or two. Whoever migrates a database
# may be gone already: a server notices within two seconds that a process was killed.
_AGAIN_AFTER_S = (0.2, 1.0, 3.0)
_TRIES_IF_LOST = 2
_TRIES_IF_LOCKED = 3
_LOST = "the target took longer than it may, so its session was cut"
_RUN_AGAIN = "look at `squizzle status` there, repair it, and run the same rollout again: it goes on"

# What a second try finds there was done by the first one.
_AFTER_ALL = {
    ApplyVerdict.DONE_BEFORE: ApplyVerdict.APPLIED,
    ApplyVerdict.NOTHING_TO_TAKE_BACK: ApplyVerdict.TAKEN_BACK,
}

OnResult = Callable[[TargetResult], None]


def apply_to_targets(
    order: RolloutOrder,
    targets: Sequence[FleetTarget],
    *,
    max_failures: int,
    environ: Mapping[str, str],
    on_result: OnResult = lambda _result: None,
    listener: Listener = Listener(),  # noqa: B008 - frozen
) -> tuple[TargetResult, ...]:
    """Apply what targets lack, some at the same time. Targets that have everything are left as they are.

    When more than `max_failures` targets have failed, no other one is begun; those under way come to their end. Schemas
    of one database come one after the other, for a database is migrated by one session at a time.

    Args:
        order: What, and how.
        targets: Of one stage, in their order.
        max_failures: So many may fail.
        environ: Where secrets are.
        on_result: Told of each target as it is done, in the thread that called.
        listener: Told what happens while it happens, from many threads.

    Returns:
        What became of each target, in the order of `targets`.

    Raises:
        InvalidInputError: A variable is not set. Nothing was changed.
    """
    work = _Apply(order, max_failures, listener)
    return _each(order, targets, work, environ, on_result)


def take_back_from_targets(
    order: RolloutOrder,
    targets: Sequence[FleetTarget],
    *,
    environ: Mapping[str, str],
    on_result: OnResult = lambda _result: None,
    listener: Listener = Listener(),  # noqa: B008 - frozen
) -> tuple[TargetResult, ...]:
    """Run the down scripts of what this rollout brought, newest first; what others brought stays.

    A target that fails keeps no other one from being taken back.

    Args and errors as for `apply_to_targets`.
    """
    return _each(order, targets, _TakeBack(order, listener), environ, on_result)


class _Work(ABC):
    """What is done at one target, in a session of it."""

    bad = ApplyVerdict.FAILED

    def __init__(self, order: RolloutOrder, listener: Listener) -> None:
        self.order = order
        self._listener = listener
        self._lock = threading.Lock()
        self.failed = 0
        # Nobody waits for the results any more, or all are there.
        self.ended = threading.Event()

    @property
    def is_stopped(self) -> bool:
        """Whether no other target is to be begun."""
        return False

    def note_failure(self) -> None:
        """One more target failed."""
        with self._lock:
            self.failed += 1

    def after_all(self, verdict: ApplyVerdict) -> ApplyVerdict:
        """What became of a target at which something was done before the session was lost and it was tried again."""
        if verdict is ApplyVerdict.DONE_BEFORE and self.order.share is not None:
            return ApplyVerdict.SHARE_APPLIED
        return _AFTER_ALL.get(verdict, verdict)

    @abstractmethod
    def at(
        self, connection: Connection, target: FleetTarget, history: History, outcomes: list[Outcome]
    ) -> TargetResult:
        """Do it; what is done is put into `outcomes` at once, for whatever comes after it may fail."""

    def listener(self, target: FleetTarget, outcomes: list[Outcome]) -> Listener:
        def note(outcome: Outcome) -> None:
            outcomes.append(outcome)
            self._listener.on_done(outcome)

        return Listener(
            on_done=note,
            on_wait=lambda text: self._listener.on_wait(f"{target.name}: {text}"),
            on_progress=lambda text: self._listener.on_progress(f"{target.name}: {text}"),
            is_ended=self.ended.is_set,
        )


class _Apply(_Work):
    def __init__(self, order: RolloutOrder, max_failures: int, listener: Listener) -> None:
        super().__init__(order, listener)
        self._max_failures = max_failures

    @property
    def is_stopped(self) -> bool:
        return self.failed > self._max_failures

    def at(
        self, connection: Connection, target: FleetTarget, history: History, outcomes: list[Outcome]
    ) -> TargetResult:
        order, meant = self.order, self.order.target(target)
        lacking = order.lacking(history)
        if not lacking:
            # Whatever else it has: versions behind the last one of this rollout, for one.
            return TargetResult(target=target, verdict=ApplyVerdict.DONE_BEFORE, share=_share_words(order, history))
        check_history(order.migrations, history)
        apply_versions(
            connection,
            meant,
            order.migrations,
            to=order.last,
            policy=order.policy,
            listener=self.listener(target, outcomes),
            books=order.books,
            approvals=order.approvals(lacking[0], is_begun=lacking[0] in history.half_done()),
            until_pct=order.share.until_pct if order.share else 100,
        )
        if order.share is None:
            return TargetResult(target=target, verdict=ApplyVerdict.APPLIED)
        words = _share_words(order, read_history(connection, target.schema))
        return TargetResult(target=target, verdict=ApplyVerdict.SHARE_APPLIED, share=words)


def _share_words(order: RolloutOrder, history: History) -> str:
    """How far the version is of which a share was asked for; empty where none was, or it is wholly there."""
    row = history.half_done().get(order.share.version) if order.share else None
    staged = row.batch_progress.staged if row and row.batch_progress else None
    return f"{row.version}: {staged}" if row and staged else ""


class _TakeBack(_Work):
    bad = ApplyVerdict.NOT_TAKEN_BACK

    def at(
        self, connection: Connection, target: FleetTarget, history: History, outcomes: list[Outcome]
    ) -> TargetResult:
        order = self.order
        brought = order.brought(history)
        if not brought:
            return TargetResult(target=target, verdict=ApplyVerdict.NOTHING_TO_TAKE_BACK)
        approvals = order.approvals("", is_begun=True)
        listener = self.listener(target, outcomes)
        for version in brought:
            self._one(connection, target, version, listener, approvals)
        return TargetResult(target=target, verdict=ApplyVerdict.TAKEN_BACK)

    def _one(
        self,
        connection: Connection,
        target: FleetTarget,
        version: str,
        listener: Listener,
        approvals: Approvals,
    ) -> Report:
        return roll_back_versions(
            connection,
            self.order.target(target),
            self.order.migrations,
            only=version,
            policy=self.order.policy,
            listener=listener,
            books=self.order.books,
            approvals=approvals,
        )


def _each(
    order: RolloutOrder,
    targets: Sequence[FleetTarget],
    work: _Work,
    environ: Mapping[str, str],
    on_result: OnResult,
) -> tuple[TargetResult, ...]:
    servers = {target.server for target in targets}
    accesses = {name: resolve_server(order.fleet.servers[name], environ=environ)[0] for name in servers}
    done: dict[str, TargetResult] = {}
    with Deadlines() as deadlines, kept_scripts():
        at = _At(order, work, accesses, deadlines)
        found = each_bounded(
            _by_database(targets),
            at.one_database,
            place=lambda same: same[0].server,
            concurrency=order.concurrency,
            per_place=order.per_server,
            on_end=work.ended.set,
        )
        # Closed, and not left to be collected: whatever ends this (somebody may cancel it) begins no other target.
        with closing(found):
            for _, results in found:
                for result in results:
                    done[result.target.name] = result
                    on_result(result)
    return tuple(done[target.name] for target in targets)


def _by_database(targets: Iterable[FleetTarget]) -> tuple[tuple[FleetTarget, ...], ...]:
    """Schemas of one database together, where the first of them stands."""
    together: dict[tuple[str, str], list[FleetTarget]] = {}
    for target in targets:
        together.setdefault((target.server, target.database), []).append(target)
    return tuple(map(tuple, together.values()))


class _At:
    """One target after the other, each in a session of its own, tried again where that can help."""

    def __init__(
        self, order: RolloutOrder, work: _Work, accesses: Mapping[str, ServerAccess], deadlines: Deadlines
    ) -> None:
        self._order = order
        self._work = work
        self._accesses = accesses
        self._deadlines = deadlines

    def one_database(self, targets: tuple[FleetTarget, ...]) -> tuple[TargetResult, ...]:
        return tuple(self._one(target) for target in targets)

    def _one(self, target: FleetTarget) -> TargetResult:
        if self._work.is_stopped:
            return TargetResult(target=target, verdict=ApplyVerdict.NOT_BEGUN)
        began = time.monotonic()
        outcomes: list[Outcome] = []
        until = began + self._order.deadline.total_seconds()
        for number, pause in enumerate((*_AGAIN_AFTER_S, 0.0)):
            result, more = self._try(target, outcomes, until)
            if number >= more or time.monotonic() + pause > until:
                break
            time.sleep(pause)
        if result.verdict is self._work.bad:
            self._work.note_failure()
        return replace(
            result,
            verdict=self._work.after_all(result.verdict) if outcomes else result.verdict,
            versions=tuple(outcome.version for outcome in outcomes),
            duration=timedelta(seconds=time.monotonic() - began),
            lock_wait=sum((outcome.lock_wait for outcome in outcomes), timedelta()),
            attempts=max((outcome.attempts for outcome in outcomes), default=0),
            ended_at=datetime.now(UTC),
        )

    def _try(self, target: FleetTarget, outcomes: list[Outcome], until: float) -> tuple[TargetResult, int]:
        """What became of one try, and how many more may help."""
        before: str | None = None
        try:
            connection = connect(self._accesses[target.server], target.database, purpose="rollout")
        except ConnectionFailedError as exc:
            return self._failed(target, exc, before, before), _more_tries(exc)
        try:
            with self._deadlines.limit(connection, until - time.monotonic()) as limit:
                try:
                    expected = self._order.target(target).expected
                    check_identity(read_identity(connection), expected, database=target.database)
                    history = read_history(connection, target.schema)
                    before = history.current
                    result = self._work.at(connection, target, history, outcomes)
                    after = read_history(connection, target.schema).current if outcomes else before
                    return replace(result, before=before, after=after), 0
                except (SquizzleError, psycopg.Error) as exc:
                    error = exc if isinstance(exc, SquizzleError) else _translated(exc, target)
                    after = _current(connection, target)
                    result = self._failed(target, error, before, after)
                    if limit.passed:
                        return replace(result, error=f"{_LOST}: {result.error}"), 0
                    return result, _more_tries(error)
        finally:
            connection.close()

    def _failed(self, target: FleetTarget, error: SquizzleError, before: str | None, after: str | None) -> TargetResult:
        return TargetResult(
            target=target,
            verdict=self._work.bad,
            before=before,
            after=after,
            error=error.message,
            hint=error.hint or _RUN_AGAIN,
            database_state=error.database_state,
        )


def _more_tries(error: SquizzleError) -> int:
    """How many: the session was lost, there was none, or somebody else migrates the database at this moment."""
    if isinstance(error, BeingMigratedError):
        return _TRIES_IF_LOCKED
    return _TRIES_IF_LOST if isinstance(error, ConnectionFailedError) and error.retryable else 0


def _translated(exc: psycopg.Error, target: FleetTarget) -> SquizzleError:
    return translate_error(exc, doing=f"migrate {target.name}", database_state=DatabaseState.UNKNOWN)


def _current(connection: Connection, target: FleetTarget) -> str | None:
    """The version after a failure, where the session still can say it."""
    with suppress(SquizzleError, psycopg.Error):
        return read_history(connection, target.schema).current
    return None
