"""One script on its way through a database: its pieces, its tries, its notes in the history."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial

import psycopg
from psycopg.pq import TransactionStatus

from squizzle.analysis.locks.forecast import forecast_locks
from squizzle.analysis.locks.records import RelationLock
from squizzle.analysis.records import Statement
from squizzle.analysis.statements import split_statements
from squizzle.errors import DatabaseState, MigrationFailedError, RollbackFailedError, SquizzleError
from squizzle.migrations import history
from squizzle.migrations.batch_records import BatchProgress
from squizzle.migrations.batches.run import BatchSurroundings, run_in_batches
from squizzle.migrations.batches.share_ends import note_last_share, stop_behind_share
from squizzle.migrations.failures import books_failed, excerpt, next_step, statement_failed
from squizzle.migrations.leftovers import clear_leftovers, is_already_done
from squizzle.migrations.limits import lock_timeout_of, sets_lock_timeout
from squizzle.migrations.listener import Listener
from squizzle.migrations.observer import observed_script, observed_statement, observed_transaction
from squizzle.migrations.program_run import Notes, ProgramRun
from squizzle.migrations.records import Books, Direction, LockReport, Outcome, Plan, PlannedMigration
from squizzle.migrations.refusals import divide_where_refused
from squizzle.migrations.row_saver import RowSaver
from squizzle.migrations.session import prepare_session, set_lock_timeout
from squizzle.migrations.tries import LockTries
from squizzle.migrations.units import Unit, UnitKind
from squizzle.migrations.verification import check_verification
from squizzle.migrations.watch import SessionWatch
from squizzle.postgres.access import Connection
from squizzle.postgres.translation import is_connection_loss, server_words

# Characters of COPY's rows that are encoded and sent in one go, so that large data is not there twice.
_ROWS_AT_A_TIME = 1 << 20


class ScriptRun:
    """Runs one script; used once.

    Args:
        connection: The session that holds the migration lock.
        plan: What the script is part of.
        step: The script.
        row_id: Its open row in the history.
        watch: Watches the session; None when there is no second session.
        listener: Told what happens.
    """

    def __init__(
        self,
        connection: Connection,
        plan: Plan,
        step: PlannedMigration,
        row_id: int,
        *,
        watch: SessionWatch | None,
        listener: Listener,
    ) -> None:
        self._connection = connection
        self._plan = plan
        self._step = step
        self._row_id = row_id
        self._watch = watch
        self._listener = listener
        self._observer = listener.observer
        self._forecast = forecast_locks(step.statements)
        self._locks_are_seen = watch is not None and watch.sees_relations
        self._observed: tuple[RelationLock, ...] | None = None
        # Whether a killed run may have finished the next statement without noting it.
        self._interrupted = step.interrupted
        self._search_path = _search_path(connection) if step.verify else ""
        # The statement of the piece that runs, counted from 0.
        self._at = 0
        self._started = time.monotonic()
        self._waited_before = watch.waited if watch else timedelta()
        self._locks = LockTries(
            connection,
            plan.timeouts,
            name=step.migration.version,
            next_step=partial(next_step, step),
            watch=watch,
            on_wait=listener.on_wait,
        )
        self._state = DatabaseState.CHANGED if step.is_begun else DatabaseState.UNTOUCHED
        self._progress = step.progress or BatchProgress(script=())
        self._saver = RowSaver(connection, step, plan.schema, row_id)

    def run(self) -> Outcome:
        """Run what is left of the script; errors and what they leave as for `execute_plan`."""
        with observed_script(self._observer, self._step, self._watch):
            return self._run()

    def _run(self) -> Outcome:
        for statement in self._step.settings:
            self._execute(statement, self._state)
        empty = Unit(kind=UnitKind.TRANSACTION, statements=(), ends_at=0)
        waiting = deque(self._step.units or (() if self._step.share else (empty,)))
        while waiting:
            unit = waiting.popleft()
            try:
                self._run_unit(unit, is_last=not waiting)
            except (MigrationFailedError, RollbackFailedError) as exc:
                waiting.extendleft(reversed(self._divided(unit, exc)))
            else:
                self._state = DatabaseState.CHANGED
                # A down script begins at its first line, so any of its statements may be there already.
                self._interrupted = self._interrupted and self._step.direction is Direction.ROLLBACK
        if self._step.share is not None:
            self._progress = stop_behind_share(self._connection, self._plan, self._step, self._row_id, self._outcome())
        elif unit.kind in {UnitKind.ALONE, UnitKind.BATCHES}:
            self._verify()
            with self._connection.transaction():
                self._finish(unit.ends_at)
        return self._outcome()

    def _run_unit(self, unit: Unit, *, is_last: bool) -> None:
        match unit.kind:
            case UnitKind.TRANSACTION:
                self._until_granted(partial(self._in_transaction, unit, is_last=is_last))
            case UnitKind.ALONE:
                self._until_granted(partial(self._alone, unit))
            case UnitKind.PROGRAM:
                self._run_program()
            case UnitKind.BATCHES:
                self._in_batches(unit)

    def _divided(self, unit: Unit, error: SquizzleError) -> tuple[Unit, ...]:
        """The pieces to run instead of one that the server refuses in a transaction; any other error is raised."""
        cause = error.__cause__ if isinstance(error.__cause__, psycopg.Error) else None
        pieces = divide_where_refused(unit, self._at, cause)
        if not pieces:
            raise error
        refused = unit.statements[self._at]
        self._listener.on_wait(
            f"{self._step.source}:{refused.line}: {server_words(cause) if cause else ''}:"
            " what stands before it is committed first"
        )
        return pieces

    def _until_granted(self, attempt: Callable[[], None]) -> None:
        self._locks.until_granted(attempt, state=self._state)

    def _outcome(self) -> Outcome:
        waited = self._watch.waited if self._watch else timedelta()
        return Outcome(
            version=self._step.migration.version,
            direction=self._step.direction,
            duration=timedelta(seconds=time.monotonic() - self._started),
            lock_wait=waited - self._waited_before,
            attempts=self._locks.tries,
            locks=LockReport(predicted=self._forecast, observed=self._observed),
            batched=self._progress.statements,
            saved=self._saver.saved,
            share=self._step.share,
        )

    # Pieces

    def _in_transaction(self, unit: Unit, *, is_last: bool) -> None:
        with observed_transaction(self._observer):
            self._all_of(unit, is_last=is_last)

    def _all_of(self, unit: Unit, *, is_last: bool) -> None:
        committing = False
        self._saver.begin()
        try:
            with self._connection.transaction():
                if unit.options:
                    self._connection.execute(f"SET TRANSACTION {unit.options}".encode())
                self._run_inside(unit)
                self._note_locks()
                if is_last:
                    self._verify()
                    self._finish(unit.ends_at)
                else:
                    self._note_done(unit)
                committing = True
        except psycopg.Error as exc:
            # What fails at COMMIT (deferred constraints) is rolled back; one whose answer was lost may have worked.
            lost = committing and is_connection_loss(exc)
            raise statement_failed(exc, self._step, None, DatabaseState.UNKNOWN if lost else self._state) from exc
        self._saver.committed()

    def _note_locks(self) -> None:
        """Let the second session note what this transaction locks; losing that session costs only the note."""
        if self._watch is None or not self._locks_are_seen:
            return
        try:
            self._watch.note_locks()
        except psycopg.Error:
            self._locks_are_seen = False

    def _run_program(self) -> None:
        notes = Notes(keep=self._keep_of_program, end=self._end_program, say=self._listener.on_wait)
        timeouts = self._plan.timeouts
        program = ProgramRun(
            self._connection,
            self._step,
            timeouts,
            notes,
            watch=self._watch,
            locks=self._locks,
            observer=self._observer,
        )
        self._locks.until_granted(program.attempt, state=self._state, may_repeat=lambda: program.may_repeat)

    def _end_program(self, ran: Sequence[Statement]) -> None:
        """What is written right before the last commit of a program; only now it is known what it is made of."""
        self._forecast = forecast_locks(ran)
        self._note_locks()
        self._verify()
        self._finish(len(ran))

    def _keep_of_program(self, statements: int) -> None:
        """What is written before a program commits on its way, or after a statement outside a transaction."""
        self._note_locks()
        history.note_done(self._connection, self._plan.schema, self._row_id, statements)

    def _note_done(self, unit: Unit) -> None:
        # A script may leave another role behind, which may not write our history.
        self._connection.execute("SET SESSION AUTHORIZATION DEFAULT")
        history.note_done(self._connection, self._plan.schema, self._row_id, unit.ends_at)
        self._saver.write()

    def _finish(self, statements: int) -> None:
        """Write that the script is done; inside its last transaction where it has one, else in one of its own."""
        if self._watch and self._locks_are_seen:
            self._observed = self._watch.take_locks()
        outcome = self._outcome()
        history.finish_row(self._connection, self._plan.schema, self._row_id, outcome, statements=statements)
        self._progress = note_last_share(self._connection, self._plan, self._row_id, self._progress)
        self._saver.write()
        if self._plan.books is not None:
            self._note_in(self._plan.books)

    def _note_in(self, books: Books) -> None:
        # Only the other tool itself may hold a lock on its table, and nobody else waits behind us there.
        set_lock_timeout(self._connection, self._plan.timeouts.rows, local=True)
        try:
            books.note(self._connection, self._plan.schema, self._step, self._outcome())
        except psycopg.Error as exc:
            raise books_failed(
                exc, self._step, f"{books.tool} ({books.place(self._plan.schema)})", self._state
            ) from exc

    def _run_inside(self, unit: Unit) -> None:
        script_decides = False
        # The session was given this one a moment ago, but for settings of the script that may have changed it since.
        as_prepared = self._step.units[:1] == (unit,) and not self._step.settings
        current = self._plan.timeouts.lock if as_prepared else None
        for self._at, statement in enumerate(unit.statements):
            wanted = lock_timeout_of(statement, unit.kind, self._plan.timeouts)
            if not script_decides and wanted != current:
                set_lock_timeout(self._connection, wanted, local=True)
                current = wanted
            script_decides = script_decides or sets_lock_timeout(statement)
            self._require(statement)
            self._execute_inside(statement, unit.number_of(self._at))

    def _execute_inside(self, statement: Statement, number: int) -> None:
        """Run a statement in our transaction, and notice when the transaction is over afterwards.

        No script gets here with a COMMIT that our own splitting can see; one that only the server sees must not be
        reported as "nothing was kept".
        """
        problem: SquizzleError | None = None
        try:
            self._execute(statement, self._state, number=number)
        except SquizzleError as exc:
            problem = exc
        if self._connection.info.transaction_status is TransactionStatus.IDLE:
            kind = RollbackFailedError if self._step.direction is Direction.ROLLBACK else MigrationFailedError
            raise kind(
                f"{self._step.source}:{statement.line} ended the transaction that the script runs in:"
                f" {excerpt(statement)}",
                hint="what it committed stays; compare the database with the script, and take the COMMIT out of it",
                database_state=DatabaseState.CHANGED,
            ) from problem
        if problem is not None:
            raise problem

    def _alone(self, unit: Unit) -> None:
        (statement,) = unit.statements
        if self._interrupted and is_already_done(self._connection, statement):
            self._note_done(unit)
            return
        for cleared in clear_leftovers(self._connection, statement, interrupted=self._interrupted):
            self._listener.on_wait(f"{self._step.migration.version}: removed the invalid index {cleared}")
        self._require(statement)
        if statement.words == ("DISCARD", "ALL"):
            # All of it but for advisory locks: the migration lock is one of them.
            prepare_session(self._connection, schema=self._plan.schema, timeouts=self._plan.timeouts)
        else:
            set_lock_timeout(self._connection, lock_timeout_of(statement, unit.kind, self._plan.timeouts))
            if statement.saves:
                self._saved_alone(unit, statement)
                return
            self._execute(statement, DatabaseState.CHANGED, sample_locks=True, number=unit.number_of(0))
        try:
            self._note_done(unit)
        except psycopg.Error as exc:
            # The statement is done, and the history may not know it; the next run finds out.
            raise statement_failed(exc, self._step, statement, DatabaseState.CHANGED) from exc

    def _saved_alone(self, unit: Unit, statement: Statement) -> None:
        """A statement that needs no transaction has one nevertheless: with the rows that it saves."""
        with observed_transaction(self._observer):
            self._all_saved_alone(unit, statement)

    def _all_saved_alone(self, unit: Unit, statement: Statement) -> None:
        self._saver.begin()
        try:
            with self._connection.transaction():
                self._execute(statement, self._state, sample_locks=True, number=unit.number_of(0))
                self._note_done(unit)
        except psycopg.Error as exc:
            state = DatabaseState.UNKNOWN if is_connection_loss(exc) else self._state
            raise statement_failed(exc, self._step, statement, state) from exc
        self._saver.committed()

    def _in_batches(self, unit: Unit) -> None:
        if not self._progress.is_begun:
            self._require(unit.statements[0])
        around = BatchSurroundings(
            connection=self._connection,
            plan=self._plan,
            step=self._step,
            row_id=self._row_id,
            locks=self._locks,
            watch=self._watch,
            listener=self._listener,
            note_locks=self._note_locks,
            saver=self._saver,
        )
        self._progress = run_in_batches(around, unit, self._progress, state=self._state)

    def _require(self, statement: Statement) -> None:
        """Ask what the script wants to be true before a statement; it fails here when it is not."""
        for note in statement.requires:
            (asked,) = split_statements(note.arguments[0].rstrip("; "), source=note.where)
            try:
                problem = check_verification(self._connection, asked)
            except psycopg.Error as exc:
                raise statement_failed(exc, self._step, statement, self._state, which=f" ({note.where})") from exc
            if problem:
                kind = RollbackFailedError if self._step.direction is Direction.ROLLBACK else MigrationFailedError
                raise kind(
                    f"{note.where}: what is required before {excerpt(statement)} does not hold: {problem}",
                    hint=next_step(self._step, self._state),
                    database_state=self._state,
                )

    def _verify(self) -> None:
        """Check what must be true afterwards, for whoever comes with a session of its own."""
        if self._step.verify:
            self._connection.execute("SET SESSION AUTHORIZATION DEFAULT")
            self._connection.execute("SELECT set_config('search_path', %s, false)", (self._search_path,))
        for statement in self._step.verify:
            source = f"{self._step.migration.labels.verify}:{statement.line}"
            try:
                problem = check_verification(self._connection, statement)
            except psycopg.Error as exc:
                problem = server_words(exc)
            if problem:
                raise MigrationFailedError(
                    f"version {self._step.migration.version} does not verify: {source}: {problem}",
                    hint=next_step(self._step, self._state),
                    database_state=self._state,
                )

    # Statements

    def _execute(
        self, statement: Statement, on_failure: DatabaseState, *, sample_locks: bool = False, number: int = 0
    ) -> None:
        with observed_statement(self._observer, statement, number):
            self._send(statement, on_failure, sample_locks=sample_locks)

    def _send(self, statement: Statement, on_failure: DatabaseState, *, sample_locks: bool) -> None:
        if self._watch:
            self._watch.statement_begins(sample_locks=sample_locks)
        try:
            # As bytes and without parameters: the text reaches the server as it is, per cent signs included.
            if statement.saves:
                self._execute_saved(statement, on_failure)
            elif statement.data is None:
                self._connection.execute(statement.sql.encode())
            else:
                self._copy(statement.sql, statement.data)
        except psycopg.Error as exc:
            raise statement_failed(exc, self._step, statement, on_failure) from exc
        finally:
            if self._watch:
                self._watch.statement_ended()

    def _execute_saved(self, statement: Statement, on_failure: DatabaseState) -> None:
        self._saver.before(statement, statement.sql, on_failure)
        touched = self._connection.execute(statement.sql.encode()).rowcount
        self._saver.after(statement, touched, on_failure)

    def _copy(self, sql_text: str, rows: str) -> None:
        with self._connection.cursor() as cursor, cursor.copy(sql_text.encode()) as copy:
            for begin in range(0, len(rows), _ROWS_AT_A_TIME):
                copy.write(rows[begin : begin + _ROWS_AT_A_TIME])


def _search_path(connection: Connection) -> str:
    """Where a session looks for names before a script says otherwise."""
    row = connection.execute("SELECT current_setting('search_path')").fetchone()
    return str(row[0]) if row else ""
