"""The fence of a database: nobody new gets in, whoever is in is ended, and it is noted who wanted that."""

from __future__ import annotations

from dataclasses import replace

from squizzle.errors import RefusedError
from squizzle.postgres.access import Connection
from squizzle.recovery.fence import is_fenced, set_allow_connections, terminate_sessions
from squizzle.recovery.fences.book import FenceBook, Page, Step
from squizzle.recovery.fences.records import FenceKind, FenceState, FenceStatus, Hold, with_hold, without_hold


class DatabaseFence:
    """`ALLOW_CONNECTIONS false` with a note, in one transaction. A `Fence`.

    The note goes with the name, as clients do: after a switch-over the same hold keeps the recovered database shut.

    Args:
        control: A session in the maintenance database.
        database: The database to shut.
    """

    kind = FenceKind.DATABASE

    def __init__(self, control: Connection, database: str) -> None:
        self._control = control
        self._database = database
        self._book = FenceBook(control)
        self.name = f"database {database}"

    def look(self) -> FenceStatus:
        """What it is like now."""
        page = self._book.read(self.name)
        return self._status(page.holds if page else (), "" if page else "nobody has noted a fence")

    def put_up(self, hold: Hold) -> FenceStatus:
        """Shut it for everybody, superusers included, and end the sessions that are in it.

        Raises:
            RefusedError: It is the maintenance database itself.
            RecoveryError: Sessions would not end in time; it is shut and noted, and still has them.
            DatabaseError: Not the owner, no such database, or no right to note it; it is as it was.
        """
        if self._database == self._control.info.dbname:
            raise RefusedError(
                f"{self._database} is the database that others are fenced from, so it cannot be fenced itself",
                hint="end its sessions with `squizzle terminate`, or stop the server",
            )
        with self._book.alone_with(self.name):
            with self._book.transaction(f"fence {self._database}"):
                page = self._book.read(self.name) or Page(found=self._state().value)
                page = replace(page, holds=with_hold(page.holds, hold), step=Step.CLOSED)
                self._book.write(self.name, page)
                set_allow_connections(self._control, self._database, allow=False)
            ended = terminate_sessions(self._control, self._database)
        return self._status(page.holds, f"{ended} sessions ended")

    def take_down(self, holder: str | None) -> FenceStatus:
        """Let go of a hold, and let everybody in when it was the last one.

        Raises:
            DatabaseError: Not the owner, no such database, or no right to the notes; it is as it was.
        """
        doing = f"unfence {self._database}"
        with self._book.alone_with(self.name), self._book.transaction(doing):
            page = self._book.read(self.name)
            rest = without_hold(page.holds, holder) if page else ()
            if page and rest:
                self._book.write(self.name, replace(page, holds=rest))
                return self._status(rest, "others hold it")
            self._book.remove(self.name)
            if holder is None or (page and page.found == FenceState.OPEN):
                set_allow_connections(self._control, self._database, allow=True)
        return self._status((), self._why_still_shut(page))

    def _why_still_shut(self, page: Page | None) -> str:
        if self._state() is FenceState.OPEN:
            return ""
        if page:
            return "it was shut before Squizzle fenced it, and stays so"
        return "whoever shut it has left no note"

    def _state(self) -> FenceState:
        return FenceState.FENCED if is_fenced(self._control, self._database) else FenceState.OPEN

    def _status(self, holds: tuple[Hold, ...], detail: str) -> FenceStatus:
        return FenceStatus(kind=self.kind, name=self.name, state=self._state(), holds=holds, detail=detail)
