"""Migrations whose work is a program rather than SQL: what the engine asks of one, and what it offers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from squizzle.analysis.records import Statement
from squizzle.postgres.access import Connection


class ProgramSession(Protocol):
    """What a program works with: the session that holds the migration lock, and what the engine wants to be told.

    The session is not in autocommit mode and no transaction is open. What the program leaves uncommitted is rolled
    back. When a lock is not granted the program is called again, as long as nothing of it was committed.
    """

    @property
    def connection(self) -> Connection:
        """The session."""
        ...

    @property
    def resumes(self) -> bool:
        """Whether an earlier run committed a part of this program and never reached its end."""
        ...

    def execute(self, text: str, run: Callable[[], object]) -> None:
        """Run one statement by calling `run`, with the engine's lock timeout; outside a transaction in short tries.

        Args:
            text: The statement, for choosing its timeout and for messages.
            run: Sends it to the server.

        Raises:
            psycopg.Error: As `run` raised it.
            LockTimeoutError: Outside a transaction: not granted in time.
        """
        ...

    def work(self) -> AbstractContextManager[None]:
        """Statements within are the migration's own and count in the history; others are the tool's."""
        ...

    def outside_transaction(self) -> AbstractContextManager[None]:
        """Statements within run in autocommit mode; what is open before is committed first."""
        ...

    def before_commit(self) -> None:
        """Note in the history what the transaction that is about to be committed keeps."""
        ...

    def finish(self) -> None:
        """Verify, and write that the migration is done; inside its last transaction, right before the commit."""
        ...


class Program(Protocol):
    """A migration that is a program; frozen, comparable, and free of connections, so that it travels."""

    @property
    def has_way_back(self) -> bool:
        """Whether it can be rolled back."""
        ...

    def apply(self, session: ProgramSession) -> None:
        """Do the work, keep the tool's own books, call `session.finish()`, and commit, all in one transaction."""
        ...

    def roll_back(self, session: ProgramSession) -> None:
        """Undo the work, as `apply` does it."""
        ...

    def preview(self, *, back: bool) -> tuple[Statement, ...]:
        """The statements that `apply`, or `roll_back`, would run; nothing is connected.

        A statement's line is the program's, and `transactional` is False where it runs outside a transaction.

        Raises:
            InvalidInputError: They cannot be told without running the program.
        """
        ...

    def applied(self, connection: Connection) -> frozenset[str]:
        """What the tool's own books say is applied, by alias. Nothing is changed.

        Raises:
            InvalidInputError: The tool's books cannot be found.
            VersionConflictError: They name something that is not on disk.
        """
        ...
