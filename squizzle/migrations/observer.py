"""Who looks at each statement that the executor runs: the seam between running a plan and tracing what it does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from squizzle.analysis.records import Statement
    from squizzle.migrations.records import PlannedMigration
    from squizzle.migrations.watch import SessionWatch


class StatementObserver(Protocol):
    """Told of every statement of every script, in the session that runs them and in the order in which they run.

    It may ask the session questions, but for one moment: between the beginning of a transaction and the end of its
    first statement, because a question there would take the snapshot that a script may still want to choose.
    What it raises ends the script as a failed statement does.
    """

    def script_begins(self, step: PlannedMigration, watch: SessionWatch | None) -> None:
        """A script begins; outside a transaction.

        Args:
            step: Which.
            watch: The second session; None when there is none.
        """

    def statement_begins(self, statement: Statement, number: int) -> None:
        """A statement is about to run: inside a transaction that is open, or that it opens, or outside any.

        Args:
            statement: As it stands in the script; of one in batches, each batch is told.
            number: Its place in the script, from 1. A place that was told before is tried again, or is the next batch.
        """

    def statement_ended(self, *, failed: bool) -> None:
        """It ended, its transaction not yet, unless it ran outside any or ended it. Must not raise when failed."""

    def transaction_ended(self, *, committed: bool) -> None:
        """The transaction of the statements before is over. Must not raise when it was rolled back."""

    def script_ended(self) -> None:
        """The script is over, or has failed. Must not raise."""


def observed_script(
    observer: StatementObserver | None, step: PlannedMigration, watch: SessionWatch | None
) -> AbstractContextManager[None]:
    """Tell of a script; nothing happens without an observer."""
    return nullcontext() if observer is None else _script(observer, step, watch)


def observed_transaction(observer: StatementObserver | None) -> AbstractContextManager[None]:
    """Tell how the transaction within ended; nothing happens without an observer."""
    return nullcontext() if observer is None else _transaction(observer)


def observed_statement(
    observer: StatementObserver | None, statement: Statement, number: int
) -> AbstractContextManager[None]:
    """Tell of a statement; nothing happens without an observer, or for one that has no place in the script (0)."""
    return nullcontext() if observer is None or not number else _statement(observer, statement, number)


@contextmanager
def _script(observer: StatementObserver, step: PlannedMigration, watch: SessionWatch | None) -> Iterator[None]:
    observer.script_begins(step, watch)
    try:
        yield
    finally:
        observer.script_ended()


@contextmanager
def _transaction(observer: StatementObserver) -> Iterator[None]:
    try:
        yield
    except BaseException:
        observer.transaction_ended(committed=False)
        raise
    observer.transaction_ended(committed=True)


@contextmanager
def _statement(observer: StatementObserver, statement: Statement, number: int) -> Iterator[None]:
    observer.statement_begins(statement, number)
    try:
        yield
    except BaseException:
        observer.statement_ended(failed=True)
        raise
    observer.statement_ended(failed=False)
