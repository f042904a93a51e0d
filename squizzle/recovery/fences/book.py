"""Notes about fences in the maintenance database, where whoever comes after a killed run finds them.

One row a thing: what was found before the first hold, and who holds it. It lies outside of the database that is fenced,
so no door must be opened to read it; and in the same cluster, so the note and the fence of a database are one
transaction (docs/adr/0025).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum

import psycopg
from psycopg.rows import TupleRow

from squizzle.errors import DatabaseError, DatabaseState, LockTimeoutError
from squizzle.postgres.access import CONTROL_DATABASE, Connection
from squizzle.postgres.own_scripts import OwnTables
from squizzle.postgres.own_tables import ensure_tables, find_tables
from squizzle.postgres.translation import is_connection_loss, translate_error
from squizzle.recovery.fences.records import Hold, holds_text, read_holds

_TABLES = OwnTables(package="squizzle.recovery.fences", script="fence_table")
_NEEDS = f"CREATE on the database {CONTROL_DATABASE}, or SELECT, INSERT, UPDATE and DELETE on its table squizzle.fence"
# Shutting takes as long as its own deadline allows; who comes meanwhile is told soon, and tries again.
_PATIENCE_MS = 10_000


class Step(StrEnum):
    """How far a thing is that cannot be asked what it is like."""

    CLOSING = "closing"
    CLOSED = "closed"
    OPENING = "opening"


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """What is noted about one thing.

    Attributes:
        found: What it was like before the first hold, in the words of its kind of fence.
        holds: Who holds it, the first one first.
        step: How far it is.
    """

    found: str
    holds: tuple[Hold, ...] = ()
    step: Step = Step.CLOSING


class FenceBook:
    """The table `squizzle.fence`; it is made with the first note.

    Args:
        control: A session in the maintenance database, in autocommit mode.
    """

    def __init__(self, control: Connection) -> None:
        self.control = control

    @contextmanager
    def alone_with(self, thing: str) -> Iterator[None]:
        """Be the only one who shuts or opens this thing; the lock dies with the session.

        Raises:
            LockTimeoutError: Somebody else is at it for more than 10 seconds; nothing was changed.
        """
        key = f"squizzle.fence {thing}"
        doing = f"be the only one who fences {thing}"
        try:
            # A transaction for the setting alone: the lock is the session's.
            with self.control.transaction():
                self.control.execute(f"SET LOCAL lock_timeout = {_PATIENCE_MS}")
                self.control.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (key,))
        except psycopg.errors.LockNotAvailable as exc:
            raise LockTimeoutError(
                f"somebody else is fencing or unfencing {thing}", sqlstate=exc.sqlstate or "", hint="run the same again"
            ) from exc
        except psycopg.Error as exc:
            raise translate_error(exc, doing=doing) from exc
        try:
            yield
        finally:
            with suppress(DatabaseError):  # a session that is lost has lost its locks, too
                self._run("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (key,), doing=doing)

    @contextmanager
    def transaction(self, doing: str) -> Iterator[None]:
        """All or nothing of what is noted and done inside.

        Args:
            doing: What is done, as the beginning of a sentence.
        """
        try:
            with self.control.transaction():
                yield
        except psycopg.Error as exc:
            # A session that is lost at COMMIT does not learn what became of it.
            state = DatabaseState.UNKNOWN if is_connection_loss(exc) else DatabaseState.UNTOUCHED
            raise translate_error(exc, doing=doing, database_state=state) from exc

    def read(self, thing: str) -> Page | None:
        """What is noted about a thing; None when it has no hold. Nothing is changed.

        Raises:
            DatabaseError: No right to read it, or the session was lost.
        """
        if not self._has_table():
            return None
        query = "SELECT found, step, holds::text FROM squizzle.fence WHERE thing = %s"
        rows = self._run(query, (thing,), doing="read squizzle.fence")
        if not rows:
            return None
        found, step, holds = rows[0]
        return Page(found=found, step=Step(step), holds=read_holds(holds, where=f"{thing} (in squizzle.fence)"))

    def write(self, thing: str, page: Page) -> None:
        """Note something about a thing, instead of what was noted before.

        Raises:
            DatabaseError: No right to do so, or the session was lost; nothing was noted.
        """
        ensure_tables(self.control, _TABLES)
        self._run(
            "INSERT INTO squizzle.fence (thing, found, step, holds) VALUES (%s, %s, %s, %s::jsonb)"
            " ON CONFLICT (thing) DO UPDATE SET found = EXCLUDED.found, step = EXCLUDED.step, holds = EXCLUDED.holds",
            (thing, page.found, page.step.value, holds_text(page.holds)),
            doing=f"note that {thing} is fenced",
        )

    def remove(self, thing: str) -> None:
        """Forget a thing that nobody holds.

        Raises:
            DatabaseError: No right to do so, or the session was lost; the note is still there.
        """
        if self._has_table():
            query = "DELETE FROM squizzle.fence WHERE thing = %s"
            self._run(query, (thing,), doing=f"note that {thing} is not fenced any more")

    def _has_table(self) -> bool:
        try:
            return find_tables(self.control, _TABLES) is not None
        except psycopg.Error as exc:
            raise translate_error(exc, doing="look for squizzle.fence", needs=_NEEDS) from exc

    def _run(self, query: str, values: Sequence[object], *, doing: str) -> list[TupleRow]:
        try:
            cursor = self.control.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as exc:
            raise translate_error(exc, doing=doing, needs=_NEEDS) from exc
