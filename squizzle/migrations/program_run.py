"""One migration that is a program on its way through a database: its tries, its timeouts, its notes in the history.

The program decides where its transactions end. What it leaves is known all the same: every statement goes through
`ProgramRun.execute`, and every commit is told before it happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import psycopg
from psycopg.pq import TransactionStatus

from squizzle.analysis.records import Statement
from squizzle.analysis.statements import split_statements
from squizzle.errors import DatabaseState, InvalidInputError, LockTimeoutError, SquizzleError
from squizzle.migrations.failures import program_failed, statement_failed
from squizzle.migrations.leftovers import clear_leftovers
from squizzle.migrations.limits import lock_timeout_of, sets_lock_timeout
from squizzle.migrations.observer import StatementObserver, observed_statement, observed_transaction
from squizzle.migrations.records import Direction, PlannedMigration, Timeouts
from squizzle.migrations.session import set_lock_timeout
from squizzle.migrations.source_lines import failed_line, line_at_work
from squizzle.migrations.tries import LockTries
from squizzle.migrations.units import UnitKind
from squizzle.migrations.watch import SessionWatch
from squizzle.postgres.access import Connection
from squizzle.postgres.translation import is_connection_loss

# In a transaction that has failed, the server takes nothing but the end of it.
_FAILED = TransactionStatus.INERROR


@dataclass(frozen=True, kw_only=True, slots=True)
class Notes:
    """What is written down, and who is told, while a program runs.

    Attributes:
        keep: Notes in the history how many statements are kept, in the transaction that is open or in one of its own.
        end: Writes that the migration is done, with the statements that it was made of.
        say: Told what a person may want to know.
    """

    keep: Callable[[int], None]
    end: Callable[[Sequence[Statement]], None]
    say: Callable[[str], None]


class ProgramRun:
    """Runs one program until its locks are granted; the `ProgramSession` that the program gets.

    Args:
        connection: The session that holds the migration lock, in autocommit mode.
        step: The program's migration and direction.
        timeouts: For every statement.
        notes: Where it is written down what is kept.
        watch: Watches the session; None when there is no second session.
        locks: Counts the tries.
        observer: Looks at each statement that is the migration's own.
    """

    def __init__(
        self,
        connection: Connection,
        step: PlannedMigration,
        timeouts: Timeouts,
        notes: Notes,
        *,
        watch: SessionWatch | None,
        locks: LockTries,
        observer: StatementObserver | None = None,
    ) -> None:
        self.connection = connection
        self.resumes = step.done_before > 0
        self._step = step
        self._timeouts = timeouts
        self._notes = notes
        self._watch = watch
        self._locks = locks
        self._observer = observer
        self._kept = 0
        self._gave_up = False
        self._begin_try()

    def _begin_try(self) -> None:
        self._ran: list[Statement] = []
        self._working = False
        self._finished = False
        self._decides_itself = False
        self._current: tuple[timedelta, bool] | None = None
        self._statement: Statement | None = None

    @property
    def may_repeat(self) -> bool:
        """Whether the program may be called again after a lock that was not granted."""
        return not self._kept and not self._gave_up

    def attempt(self) -> None:
        """Call the program once; it leaves nothing behind when it fails, but for what it committed itself.

        Raises:
            MigrationFailedError, RollbackFailedError: A statement failed, or the program raised something.
            LockTimeoutError: A lock was not granted.
            ConnectionFailedError: The session was lost.
        """
        with observed_transaction(self._observer):
            self._attempt()

    def _attempt(self) -> None:
        self._begin_try()
        program = self._step.migration.program
        if program is None:
            raise AssertionError("a plan has a program where its migration has none")
        run = program.apply if self._step.direction is Direction.APPLY else program.roll_back
        try:
            self.connection.autocommit = False
            run(self)
        except SquizzleError as exc:
            self._complete(exc)
            raise
        except (Exception, SystemExit) as exc:  # anything that a person may write into a program
            raise self._failure(exc) from exc
        finally:
            self._leave()

    def _leave(self) -> None:
        """The session as it was, whatever the program did to it."""
        if self.connection.closed:
            return
        try:
            self.connection.rollback()
            self.connection.isolation_level = None
            self.connection.autocommit = True
        except psycopg.Error:
            # The error that brought us here must stay the one that is seen; ending the session undoes the rest.
            self.connection.close()

    # Statements

    def execute(self, text: str, run: Callable[[], object]) -> None:
        """Run one statement of the program; see `ProgramSession`."""
        statement = self._read(text)
        self._statement = statement
        status = self.connection.info.transaction_status
        if self.connection.autocommit or (self._kept and status is TransactionStatus.IDLE):
            self._alone(statement, run)
        else:
            self._once(statement, run)
        self._statement = None
        self._decides_itself = self._decides_itself or sets_lock_timeout(statement)
        if not self._working:
            return
        self._ran.append(statement)
        if self.connection.info.transaction_status is TransactionStatus.IDLE:
            self._keep()

    def _read(self, text: str) -> Statement:
        """The statement with its line in the program; of several, the one that counts most for locks."""
        line = line_at_work(self._step.migration.source)
        try:
            parts = split_statements(text, source=self._step.source)
        except InvalidInputError:
            parts = ()  # the server decides
        chosen = min(parts, key=self._limit_of, default=None)
        return Statement(
            sql=text.strip(),
            line=line,
            words=chosen.words if chosen else (),
            transactional=all(one.transactional for one in parts),
        )

    def _limit_of(self, statement: Statement) -> timedelta:
        kind = UnitKind.TRANSACTION if statement.transactional else UnitKind.ALONE
        return lock_timeout_of(statement, kind, self._timeouts)

    def _once(self, statement: Statement, run: Callable[[], object]) -> None:
        self._limit_wait(statement)
        # What is not the migration's own has no place in it.
        number = len(self._ran) + 1 if self._working else 0
        with observed_statement(self._observer, statement, number):
            self._send(run)

    def _send(self, run: Callable[[], object]) -> None:
        if self._watch:
            self._watch.statement_begins(sample_locks=self.connection.autocommit)
        try:
            run()
        finally:
            if self._watch:
                self._watch.statement_ended()

    def _limit_wait(self, statement: Statement) -> None:
        """Set `lock_timeout` where it is not that already, and where the program has not set it itself."""
        local = not self.connection.autocommit
        wanted = self._limit_of(statement)
        status = self.connection.info.transaction_status
        if statement.words[:1] and statement.words[0] in {"ROLLBACK", "COMMIT", "SAVEPOINT", "BEGIN", "END"}:
            self._current = None  # what was set locally may be gone afterwards
        elif not self._decides_itself and status is not _FAILED and self._current != (wanted, local):
            set_lock_timeout(self.connection, wanted, local=local)
            self._current = (wanted, local)

    def _alone(self, statement: Statement, run: Callable[[], object]) -> None:
        """A statement that is tried again by itself: before it there is nothing that would be lost."""

        def try_once() -> None:
            try:
                self._clear(statement)
                self._once(statement, run)
            except psycopg.Error as exc:
                self._current = None
                if not self.connection.autocommit:
                    self.connection.rollback()
                failed = statement_failed(exc, self._step, statement, self._state)
                if isinstance(failed, LockTimeoutError):
                    raise failed from exc
                raise

        try:
            self._locks.until_granted(try_once, state=self._state)
        except LockTimeoutError:
            self._gave_up = True
            raise

    def _clear(self, statement: Statement) -> None:
        if statement.transactional or not self.connection.autocommit:
            return
        self._limit_wait(statement)
        for cleared in clear_leftovers(self.connection, statement, interrupted=self._step.interrupted):
            self._notes.say(f"{self._step.migration.version}: removed the invalid index {cleared}")

    # Commits

    @contextmanager
    def work(self) -> Iterator[None]:
        """Count statements within; afterwards a transaction is open or can be. See `ProgramSession`."""
        self._working = True
        try:
            yield
        finally:
            self._working = False
        # A program that said COMMIT in words is in autocommit mode since then (`_keep`).
        if self.connection.autocommit and self.connection.info.transaction_status is TransactionStatus.IDLE:
            self.connection.autocommit = False
        self._current = None

    @contextmanager
    def outside_transaction(self) -> Iterator[None]:
        """Autocommit mode; see `ProgramSession`."""
        self.connection.autocommit = True
        self._current = None
        try:
            yield
        finally:
            self._current = None
            if not self.connection.closed:
                self.connection.autocommit = False

    def before_commit(self) -> None:
        """Note what is about to be kept; see `ProgramSession`."""
        self._current = None
        in_transaction = self.connection.info.transaction_status is TransactionStatus.INTRANS
        if in_transaction and not self._finished and len(self._ran) > self._kept:
            self._note()

    def _keep(self) -> None:
        """A statement ended outside a transaction, or ended the transaction by saying COMMIT itself."""
        if not self.connection.autocommit:
            # As with drivers that do not look: nothing begins a transaction again, so CREATE INDEX CONCURRENTLY works.
            self.connection.autocommit = True
            self._current = None
        self._note()

    def _note(self) -> None:
        """Write how much is kept, as ourselves: the program may have taken another role, and gets it back."""
        query = "SELECT current_setting('session_authorization'), current_setting('role')"
        taken = self.connection.execute(query).fetchone() or ("", "")
        is_ourselves = taken == (self.connection.info.user, "none")
        if not is_ourselves:
            self.connection.execute("SET SESSION AUTHORIZATION DEFAULT")
        self._notes.keep(len(self._ran))
        self._kept = len(self._ran)
        if not is_ourselves:
            for name, value in zip(("session_authorization", "role"), taken, strict=True):
                self.connection.execute("SELECT set_config(%s, %s, false)", (name, value))

    def finish(self) -> None:
        """Write that the migration is done; see `ProgramSession`."""
        self._notes.end(self._ran)
        self._finished = True

    # Failures

    @property
    def _state(self) -> DatabaseState:
        return DatabaseState.CHANGED if self._kept or self.resumes else DatabaseState.UNTOUCHED

    def _state_after(self, statement: Statement | None) -> DatabaseState:
        """An index that CREATE INDEX CONCURRENTLY did not finish stays."""
        return self._state if statement is None or statement.transactional else DatabaseState.CHANGED

    def _complete(self, error: SquizzleError) -> None:
        """Add to an error of ours what the program kept before it."""
        if error.database_state is DatabaseState.UNTOUCHED:
            error.database_state = self._state

    def _failure(self, error: BaseException) -> SquizzleError:
        driver = error if isinstance(error, psycopg.Error) else getattr(error, "orig", None)
        if not isinstance(driver, psycopg.Error):
            line = failed_line(error, self._step.migration.source)
            return program_failed(error, self._step, line, self._state)
        if self._finished:
            lost = is_connection_loss(driver)
            return statement_failed(driver, self._step, None, DatabaseState.UNKNOWN if lost else self._state)
        statement = self._statement or self._unseen(error)
        failed = statement_failed(driver, self._step, statement, self._state_after(statement))
        if isinstance(failed, LockTimeoutError) and not self.may_repeat and (who := self._locks.blockers()):
            return LockTimeoutError(
                f"{failed.message}. Blocked by {who}.",
                sqlstate=failed.sqlstate,
                hint=failed.hint,
                database_state=failed.database_state,
            )
        return failed

    def _unseen(self, error: BaseException) -> Statement:
        """A statement that the program sent past us, with the driver itself."""
        line = failed_line(error, self._step.migration.source)
        text = str(getattr(error, "statement", None) or "a statement sent with the driver itself")
        return Statement(sql=text, line=line, words=(), transactional=True)
