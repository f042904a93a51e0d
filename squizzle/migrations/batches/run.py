"""One statement in ranges of a key, each range in a transaction together with the note of how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import psycopg

from squizzle.analysis.batchable import read_shape
from squizzle.errors import DatabaseState, InvalidInputError, LockTimeoutError, SquizzleError, StandbyBehindError
from squizzle.headway import Stretch, stretch
from squizzle.headway import Unit as Counted
from squizzle.migrations import history
from squizzle.migrations.batch_records import BatchedStatement, BatchProgress, Share
from squizzle.migrations.batches.key_table import Key, KeyTable
from squizzle.migrations.batches.pace import BatchRun, Pace, next_pace, smaller
from squizzle.migrations.batches.shares import rows_to_do
from squizzle.migrations.batches.standbys import LagReader, StandbyLag, StandbyReader, farthest_behind
from squizzle.migrations.batches.telling import Telling
from squizzle.migrations.failures import ended_between_batches, next_step, statement_failed
from squizzle.migrations.limits import batch_lock_timeout
from squizzle.migrations.listener import Listener
from squizzle.migrations.observer import observed_statement, observed_transaction
from squizzle.migrations.records import Plan, PlannedMigration
from squizzle.migrations.row_saver import RowSaver
from squizzle.migrations.session import set_lock_timeout
from squizzle.migrations.tries import LockTries
from squizzle.migrations.units import Unit
from squizzle.migrations.watch import SessionWatch
from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import is_connection_loss

_LOOK_EVERY_S = 0.5
_SAY_EVERY_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSurroundings:
    """What all batched statements of one script share.

    Attributes:
        connection: The session that holds the migration lock.
        plan: What the script is part of.
        step: The script.
        row_id: Its open row in the history.
        locks: Tries each batch until its locks are granted.
        watch: Watches the session; None when there is no second session.
        listener: Told how far it is, and what it waits for.
        saver: Saves the rows that a batch touches, where the statement is marked for it.
        note_locks: Notes what the open transaction locks.
    """

    connection: Connection
    plan: Plan
    step: PlannedMigration
    row_id: int
    locks: LockTries
    watch: SessionWatch | None
    listener: Listener
    saver: RowSaver
    note_locks: Callable[[], None] = lambda: None


def run_in_batches(
    around: BatchSurroundings,
    unit: Unit,
    progress: BatchProgress,
    *,
    state: DatabaseState,
    read_lags: LagReader | None = None,
) -> BatchProgress:
    """Run what is left of one statement, batch by batch.

    Rows whose key is higher than the highest one when the statement began are not touched, just as a statement that
    runs whole does not see rows that come after it; so it ends however fast rows are added.

    Args:
        around: Where it runs.
        unit: A piece of kind BATCHES.
        progress: How far the script's batched statements are.
        state: What earlier pieces left.
        read_lags: Says how far standbys are behind; None for pg_stat_replication.

    Returns:
        How far they are now.

    Raises:
        InvalidInputError: The key cannot be used; nothing of the statement was done.
        MigrationFailedError, RollbackFailedError, LockTimeoutError, ConnectionFailedError: A batch failed; the batches
            before it are committed, and the next run goes on behind them.
        StandbyBehindError: A standby did not come closer in time; as for a failed batch.
    """
    run = _StatementRun(around, unit, progress, state, read_lags or StandbyReader())
    run.run()
    return run.progress


class _StatementRun:
    _table: KeyTable
    _table_rows: int
    # The last key that this run does; None while it is not known, and where there is nothing to do.
    _limit: Key | None = None

    def __init__(
        self,
        around: BatchSurroundings,
        unit: Unit,
        progress: BatchProgress,
        state: DatabaseState,
        read_lags: LagReader,
    ) -> None:
        (self._statement,) = unit.statements
        if self._statement.batch is None:
            raise AssertionError("a piece of kind BATCHES is a statement with batch options")
        self._around = around
        self._connection = around.connection
        self._unit = unit
        self._state = state
        self._read_lags = read_lags
        self._policy = around.plan.policy.batches.with_mark(self._statement.batch)
        self._where = f"{around.step.source}:{self._statement.line}"
        self._shape = read_shape(self._statement.sql, self._statement.batch, where=self._where)
        self._pace = Pace(size=self._policy.size, pause=self._policy.pause)
        self._said_hidden = False
        share = around.step.share
        self._share = share if share is not None and share.position == unit.ends_at - 1 else None
        self.progress = progress

    def run(self) -> None:
        self._around.locks.until_granted(self._prepare, state=self._state)
        with stretch(
            f"{self._where}, in batches", unit=Counted.ROWS, total=self._table_rows, is_estimate=True
        ) as headway:
            self._all_batches(headway)

    def _all_batches(self, headway: Stretch) -> None:
        tell = self._around.listener.on_progress
        telling = Telling(tell, self._where, self._table_rows, self._done, headway=headway)
        while not self._is_over:
            if self._around.listener.is_ended():
                raise ended_between_batches(self._around.step, self._statement, self._state, rows=self._done.rows)
            self._wait_for_standbys()
            self._around.locks.until_granted(self._batch, state=self._state)
            telling.batch_done(self._done)
            if not self._is_over:
                time.sleep(self._pace.pause.total_seconds())
        if self._share is not None:
            telling.share_done(self._done, self._share)

    @property
    def _is_over(self) -> bool:
        """Whether nothing is left to do for this run; one that does a share leaves rows to the next."""
        return self._done.finished or (self._share is not None and self._limit in {None, self._done.after})

    @property
    def _done(self) -> BatchedStatement:
        done = self.progress.of(self._unit.ends_at - 1)
        if done is None:
            raise AssertionError("asked before the statement was prepared")
        return done

    # Before the first batch

    def _prepare(self) -> None:
        """Look at the table, and go on where an earlier run was; nothing is changed but our own note."""
        try:
            self._table = KeyTable(self._connection, self._shape, self._where)
            self._table_rows = self._table.estimated_rows()
            before = self.progress.of(self._unit.ends_at - 1)
            if before is None:
                self.progress = self.progress.with_statement(self._beginning())
            else:
                self._pace = replace(self._pace, size=before.size)
                self._refuse_other_table(before)
            self._limit = self._done.until if self._share is None else self._end_of_share(self._share)
        except InvalidInputError as exc:
            exc.database_state = self._state
            raise
        except psycopg.Error as exc:
            raise self._failed(exc, self._state) from exc

    def _beginning(self) -> BatchedStatement:
        until = self._table.highest()
        return BatchedStatement(
            position=self._unit.ends_at - 1,
            line=self._statement.line,
            table=self._table.name,
            key=self._shape.columns,
            until=until,
            size=self._policy.size,
        )

    def _end_of_share(self, share: Share) -> Key | None:
        """The last key that the share does; None when nothing of it is left."""
        done, until = self._done, self._done.until
        if done.finished or until is None:
            done = replace(done, share_of=done.share_of or done.rows, by_condition=True)
            self.progress = self.progress.with_statement(done)
            return None
        if done.share_of is None:
            by_condition, left = self._table.count_wanted(after=done.after, until=until)
            done = replace(done, share_of=done.rows + left, by_condition=by_condition)
            self.progress = self.progress.with_statement(done)
        else:
            left = self._table.count(after=done.after, until=until, by_condition=done.by_condition)
        rows = rows_to_do(done.share_of or 0, left, share.pct)
        if rows == 0:
            return None
        return self._table.bound(after=done.after, until=until, size=rows, by_condition=done.by_condition) or until

    def _refuse_other_table(self, before: BatchedStatement) -> None:
        if (before.table, before.key) != (self._table.name, self._shape.columns):
            raise InvalidInputError(
                f"{self._where}: batches were begun on {before.table} by {', '.join(before.key)}, and now the statement"
                f" means {self._table.name} by {', '.join(self._shape.columns)}",
                hint="set search_path and the mark as they were when it was begun, or roll the version back",
            )

    # A batch

    def _batch(self) -> None:
        """One try of the next batch; leaves nothing behind when it raises."""
        try:
            began = time.monotonic()
            with observed_transaction(self._around.listener.observer):
                done, run = self._try_batch(began)
        except LockTimeoutError:
            self._pace = smaller(self._pace, self._policy)
            raise
        run = replace(run, took=timedelta(seconds=time.monotonic() - began))
        self.progress = self.progress.with_statement(done)
        self._state = DatabaseState.CHANGED
        self._say_held_up(run)
        if not done.finished:
            self._pace = next_pace(self._pace, run, self._policy)

    def _try_batch(self, began: float) -> tuple[BatchedStatement, BatchRun]:
        committing = False
        saver = self._around.saver
        saver.begin()
        try:
            with self._connection.transaction():
                timeout = batch_lock_timeout(self._policy, self._around.plan.timeouts)
                set_lock_timeout(self._connection, timeout, local=True)
                bound = self._next_bound()
                rows = self._change(bound) if bound else 0
                if self._done.batches == 0:
                    self._around.note_locks()  # those of the next batches are the same
                waiters, longest = self._waiters()
                took = timedelta(seconds=time.monotonic() - began)
                run = BatchRun(took=took, waiters=waiters, longest_wait=longest)
                done = self._after(bound, rows, run)
                self._note(done)
                committing = True
        except psycopg.Error as exc:
            lost = committing and is_connection_loss(exc)
            raise self._failed(exc, DatabaseState.UNKNOWN if lost else self._state) from exc
        saver.committed()
        return done, run

    def _next_bound(self) -> Key | None:
        """The last key of the next batch; None when there is nothing to do."""
        done = self._done
        limit = self._limit
        if limit is None or done.after == limit:
            return None
        return self._table.bound(after=done.after, until=limit, size=self._pace.size) or limit

    def _change(self, bound: Key) -> int:
        text = self._shape.limited_to(self._table.range(after=self._done.after, until=bound))
        with observed_statement(self._around.listener.observer, self._statement, self._unit.ends_at):
            return self._send(text)

    def _send(self, text: str) -> int:
        watch = self._around.watch
        if watch:
            watch.statement_begins()
        try:
            # As bytes and without parameters: the text reaches the server as it is, per cent signs included.
            if not self._statement.saves:
                return max(0, self._connection.execute(text.encode()).rowcount)
            self._around.saver.before(self._statement, text, self._state)
            rows = max(0, self._connection.execute(text.encode()).rowcount)
            self._around.saver.after(self._statement, rows, self._state)
            return rows
        finally:
            if watch:
                watch.statement_ended()

    def _waiters(self) -> tuple[int, timedelta]:
        """Who waits for us: asked at the end, when everybody who began to wait during the batch still does."""
        row = self._connection.execute(load_sql("squizzle.migrations.batches", "waiters")).fetchone()
        return (int(row[0]), timedelta(seconds=row[1])) if row else (0, timedelta())

    def _after(self, bound: Key | None, rows: int, run: BatchRun) -> BatchedStatement:
        """How far the statement is when this batch is committed."""
        done = self._done
        finished = bound is None or bound == done.until
        return replace(
            done,
            after=bound or done.after,
            rows=done.rows + rows,
            passed=done.passed + (self._pace.size if bound else 0),
            batches=done.batches + (1 if bound else 0),
            size=next_pace(self._pace, run, self._policy).size,
            finished=finished,
        )

    def _note(self, done: BatchedStatement) -> None:
        schema, row_id = self._around.plan.schema, self._around.row_id
        history.note_batch(self._connection, schema, row_id, self.progress.with_statement(done))
        self._around.saver.write()
        if done.finished:
            history.note_done(self._connection, schema, row_id, self._unit.ends_at)

    def _failed(self, exc: psycopg.Error, state: DatabaseState) -> SquizzleError:
        done = self.progress.of(self._unit.ends_at - 1)
        which = ""
        if done is not None:
            behind = f"behind {', '.join(done.key)} = {', '.join(done.after)}" if done.after else "the first"
            which = f" (batch {done.batches + 1}, {behind}; {done.rows:,} rows are done and stay)"
        return statement_failed(exc, self._around.step, self._statement, state, which=which)

    # Between batches

    def _say_held_up(self, run: BatchRun) -> None:
        if run.held_up:
            sessions = "1 session" if run.waiters == 1 else f"{run.waiters} sessions"
            milliseconds = run.longest_wait.total_seconds() * 1000
            self._around.listener.on_wait(
                f"{self._where}: {sessions} waited for a batch, the longest {milliseconds:.0f} ms; smaller batches"
            )

    def _wait_for_standbys(self) -> None:
        deadline = time.monotonic() + self._around.plan.timeouts.budget.total_seconds()
        said_at: float | None = None
        while (behind := farthest_behind(self._lags(), self._policy.max_replication_lag)) is not None:
            now = time.monotonic()
            if now > deadline:
                raise self._too_far_behind(behind)
            if said_at is None or now - said_at > _SAY_EVERY_S:
                said_at = now
                self._around.listener.on_wait(f"{self._where}: {self._how_far(behind)}; waiting before the next batch")
            time.sleep(_LOOK_EVERY_S)

    def _lags(self) -> tuple[StandbyLag, ...]:
        try:
            lags = self._read_lags(self._connection)
        except psycopg.Error as exc:
            raise self._failed(exc, self._state) from exc
        if not self._said_hidden and any(one.lag is None for one in lags):
            self._said_hidden = True
            self._around.listener.on_wait(
                f"{self._where}: there are standbys, and this account may not see how far they are behind"
                " (GRANT pg_monitor); nothing waits for them"
            )
        return lags

    def _how_far(self, behind: StandbyLag) -> str:
        lag = (behind.lag or timedelta()).total_seconds()
        limit = self._policy.max_replication_lag.total_seconds()
        return f"standby {behind.name} is {lag:.1f} s behind (limit {limit:g} s)"

    def _too_far_behind(self, behind: StandbyLag) -> StandbyBehindError:
        budget = self._around.plan.timeouts.budget.total_seconds()
        done = self._done
        return StandbyBehindError(
            f"{self._where}: {self._how_far(behind)} and did not come closer in {budget:g} s;"
            f" {done.rows:,} rows in {done.batches:,} batches are done",
            hint=f"look at the standby; {next_step(self._around.step, self._state)}",
            database_state=self._state,
        )
