"""The fence of a database behind PgBouncer: PAUSE, so that its clients wait instead of failing.

What PgBouncer's console does was measured with 1.18: PAUSE waits for what is under way, and may be repeated; a console
that goes away meanwhile leaves the database paused; RESUME of what is not paused is an error; a PAUSE of everything is
not shown by SHOW DATABASES; neither is a database of the entry `*` while it has no clients, although it stays paused;
and somebody's WAIT_CLOSE can make PgBouncer answer a PAUSE too early. Names are quoted as in SQL. (Manual, "Admin
console".)
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.rows import dict_row

from squizzle.errors import (
    AuthenticationFailedError,
    ConnectionFailedError,
    FencingFailedError,
    FencingUnavailableError,
)
from squizzle.postgres.access import Connection, connect
from squizzle.postgres.translation import server_words
from squizzle.recovery.fences.book import FenceBook, Page, Step
from squizzle.recovery.fences.records import FenceKind, FenceState, FenceStatus, Hold, with_hold, without_hold
from squizzle.settings.fences import CONSOLE, PgBouncerSettings

_PAUSED = "paused"
_RUNNING = "running"
_STATES = {True: FenceState.FENCED, False: FenceState.OPEN, None: FenceState.UNKNOWN}
_LOOK_AGAIN_S = 0.005
# A login takes some milliseconds; of a server that does not answer it takes server_connect_timeout (15 s).
_LOGIN_S = 2.0


class PgBouncerFence:
    """PAUSE and RESUME of one database, noted in the book: PgBouncer itself forgets when it restarts. A `Fence`.

    Args:
        settings: Which PgBouncer, and which database of it.
        book: Where it is noted.
    """

    kind = FenceKind.PGBOUNCER

    def __init__(self, settings: PgBouncerSettings, book: FenceBook) -> None:
        self._settings = settings
        self._book = book
        self.name = f"pgbouncer {settings.access.where}/{settings.database}"

    def look(self) -> FenceStatus:
        """What it is like now."""
        page = self._book.read(self.name)
        with self._console() as console:
            is_paused = self._is_paused(console)
        detail = "" if is_paused or page is None else "it was resumed by hand or restarted: nobody waits"
        if is_paused is None:
            is_paused = None if page else False
            detail = "PgBouncer does not say while it has no clients" if page else ""
        return self._status(page.holds if page else (), detail, is_paused=is_paused)

    def put_up(self, hold: Hold) -> FenceStatus:
        """Let what is under way end, and whatever comes afterwards wait.

        Raises:
            FencingUnavailableError: It cannot be reached, and a connection that was lost meanwhile leaves the hold and
                perhaps the pause; or transactions did not end in time, then it is resumed unless another holds it.
            FencingFailedError: It refuses; nothing is paused.
            DatabaseError: It cannot be noted; nothing is paused.
        """
        with self._book.alone_with(self.name), self._console() as console:
            found = self._book.read(self.name)
            others = without_hold(found.holds, hold.holder) if found else ()
            page = found or Page(found=self._found(console))
            page = replace(page, holds=with_hold(page.holds, hold), step=Step.CLOSED)
            self._book.write(self.name, page)
            try:
                is_in_time = self._pause(console)
            except FencingFailedError as exc:
                if not exc.retryable:
                    self._put_back(found)
                raise
            if not is_in_time:
                raise self._give_up(console, page, others)
            wait = self._wait_timeout(console)
        return self._status(page.holds, f"clients wait{wait}", is_paused=True)

    def take_down(self, holder: str | None) -> FenceStatus:
        """Let go of a hold, and let those who wait go on when it was the last one.

        Raises:
            FencingUnavailableError: It cannot be reached; it is as it was.
            FencingFailedError: It refuses; it is as it was.
            DatabaseError: The notes cannot be read or changed.
        """
        with self._book.alone_with(self.name):
            page = self._book.read(self.name)
            rest = without_hold(page.holds, holder) if page else ()
            if page and rest:
                self._book.write(self.name, replace(page, holds=rest))
                return self._status(rest, "others hold it", is_paused=True)
            with self._console() as console:
                if holder is None or (page and page.found == _RUNNING):
                    self._resume(console)
                    is_paused = False
                else:
                    found = self._is_paused(console)
                    is_paused = bool(page) if found is None else found
            self._book.remove(self.name)
        before = "it was paused before Squizzle fenced it" if page else "whoever paused it has left no note"
        return self._status((), f"{before}, and stays so" if is_paused else "", is_paused=is_paused)

    def _put_back(self, page: Page | None) -> None:
        if page:
            self._book.write(self.name, page)
        else:
            self._book.remove(self.name)

    def _give_up(self, console: Connection, page: Page, others: tuple[Hold, ...]) -> FencingUnavailableError:
        """Undo a PAUSE that takes too long, unless it is another's."""
        if others:
            self._book.write(self.name, replace(page, holds=others))
            left = f"it stays paused, because {others[0]} holds it"
        else:
            self._resume(console)
            self._book.remove(self.name)
            left = "it was resumed: nobody waits, and nothing is fenced"
        seconds = self._settings.patience.total_seconds()
        return FencingUnavailableError(
            f"{self.name}: what is under way did not end within {seconds:g} s, so {left}",
            hint="end long transactions (SHOW SERVERS tells their pids), or give more patience; in a pool in session"
            " mode PAUSE waits until clients disconnect",
        )

    @contextmanager
    def _console(self) -> Iterator[Connection]:
        """The admin console: it speaks the simple protocol only, and knows no transactions."""
        try:
            console = connect(self._settings.access, CONSOLE, purpose="fence")
        except AuthenticationFailedError as exc:
            raise FencingFailedError(
                f"{self.name}: {exc.message}",
                hint="the account must be one of PgBouncer's admin_users, and the password the one of its auth_file",
            ) from exc
        except ConnectionFailedError as exc:
            raise FencingUnavailableError(f"{self.name}: {exc.message}", hint="check that PgBouncer runs") from exc
        try:
            yield console
        finally:
            console.close()

    def _is_paused(self, console: Connection) -> bool | None:
        """Whether it is paused; None when it is not listed, which says nothing."""
        for row in self._rows(console, "SHOW DATABASES"):
            if row["name"] == self._settings.database:
                return bool(row["paused"])
        return None

    def _found(self, console: Connection) -> str:
        """What it is like before the first hold; what is not listed has no clients, whom a RESUME would let through."""
        is_paused = self._is_paused(console)
        if is_paused is None:
            is_paused = self._resume(console)
        return _PAUSED if is_paused else _RUNNING

    def _rows(self, console: Connection, command: LiteralString) -> list[dict[str, Any]]:
        try:
            with console.cursor(row_factory=dict_row) as cursor:
                return cursor.execute(command).fetchall()
        except psycopg.Error as exc:
            raise self._translated(exc, command) from exc

    def _wait_timeout(self, console: Connection) -> str:
        """For how long clients wait, as the end of a sentence."""
        rows = {row["key"]: row["value"] for row in self._rows(console, "SHOW CONFIG")}
        seconds = rows.get("query_wait_timeout") or "0"
        return f" for up to {seconds} s (query_wait_timeout)" if seconds not in {"0", "0.0"} else ""

    def _command(self, verb: str) -> sql.Composed:
        return sql.SQL("{} {}").format(sql.SQL(verb), sql.Identifier(self._settings.database))

    def _resume(self, console: Connection) -> bool:
        """RESUME; whether it was paused."""
        try:
            console.execute(self._command("RESUME"))
        except psycopg.Error as exc:
            if any(words in server_words(exc) for words in ("is not paused", "no such database")):
                return False
            raise self._translated(exc, "RESUME") from exc
        return True

    def _pause(self, console: Connection) -> bool:
        """PAUSE on a session of its own; whether what is under way came to its end in time."""
        deadline = time.monotonic() + self._settings.patience.total_seconds()
        with self._console() as own:
            self._let_logins_end(console, min(deadline, time.monotonic() + _LOGIN_S))
            try:
                own.pgconn.send_query(self._command("PAUSE").as_bytes(own))
                if not _ends_before(own, deadline):
                    return False
            except psycopg.Error as exc:
                raise self._translated(exc, "PAUSE") from exc
        # The answer alone is not believed: it may be somebody else's.
        while any(row["database"] == self._settings.database for row in self._rows(console, "SHOW SERVERS")):
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_AGAIN_S)
        return True

    def _let_logins_end(self, console: Connection, deadline: float) -> None:
        """Wait while a session on the server is just beginning; after the deadline go on, for it may never get in.

        PAUSE ends such a session, PgBouncer takes that for a failed login, and then opens none for server_login_retry:
        clients would wait 15 s longer than the fence is up (measured).
        """
        while time.monotonic() < deadline:
            pools = self._rows(console, "SHOW POOLS")
            if not any(row["sv_login"] for row in pools if row["database"] == self._settings.database):
                return
            time.sleep(_LOOK_AGAIN_S)

    def _translated(self, exc: psycopg.Error, command: str) -> FencingFailedError:
        words = server_words(exc)
        # Whatever PgBouncer says has the SQLSTATE of a protocol violation; a lost connection says nothing.
        kind = FencingFailedError if exc.diag.message_primary else FencingUnavailableError
        hint = "look at PgBouncer's log, then run the same again"
        if "admin access needed" in words:
            hint = "add the account to PgBouncer's admin_users"
        elif "no such database" in words:
            hint = "SHOW DATABASES on its console lists the names that it knows"
        elif "already suspended/paused" in words:
            hint = "somebody has paused the whole PgBouncer; RESUME on its console without a name lets all go on"
        return kind(f"{self.name}: {command} failed: {words}", hint=hint)

    def _status(self, holds: tuple[Hold, ...], detail: str, *, is_paused: bool | None) -> FenceStatus:
        state = _STATES[is_paused]
        return FenceStatus(kind=self.kind, name=self.name, state=state, holds=holds, detail=detail)


def _ends_before(session: Connection, deadline: float) -> bool:
    """Whether what was sent is answered in time; raises psycopg.Error when the answer is an error."""
    pgconn = session.pgconn
    while True:
        while pgconn.is_busy():
            if not select.select([pgconn.socket], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return False
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            return True
        if result.status == ExecStatus.FATAL_ERROR:
            raise error_from_result(result)
