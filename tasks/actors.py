"""Who is there while a disaster is played: an application that forgets a transaction, a migration that hangs, clients.

No tasks: they must be there between tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event, Lock, Thread
from time import monotonic

import psycopg
from psycopg import sql

from squizzle.drills.victims import Victim
from squizzle.errors import SquizzleError
from squizzle.postgres.access import Connection, connect, server_pid
from squizzle.postgres.translation import translate_error, translated
from tasks.sources import DatabaseSource
from tasks.steps import now

# Between two questions of one client: often enough that no gap of a recovery is missed.
_PAUSE_S = 0.05
# Whoever waits for longer gives up and comes back.
_CLIENT_PATIENCE = "SET statement_timeout = '5s'"


@contextmanager
def forgotten_transaction(application: DatabaseSource, victim: Victim) -> Iterator[int]:
    """A session that has read a table and does nothing more in its transaction, for the length of the block.

    Yields:
        The number of its server process.
    """
    session = connect(application.access(), application.database, purpose="application")
    try:
        with translated(doing="forget a transaction"):
            # Whoever ends it should do so on purpose.
            session.execute("SET application_name = 'shop worker'; SET idle_in_transaction_session_timeout = 0; BEGIN")
            session.execute(sql.SQL("SELECT 1 FROM {} LIMIT 1").format(sql.Identifier(victim.schema, victim.table)))
            pid = server_pid(session)
        yield pid
    finally:
        with suppress(psycopg.Error):
            session.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class Hanging:
    """A statement on its way, by somebody who waits as long as it takes.

    Attributes:
        pid: The number of its server process.
        ends: Done when the statement is: with None, or why it failed.
    """

    pid: int
    ends: Future[None]

    def wait(self, patience: timedelta) -> datetime | None:
        """Wait until it went through; returns when that was seen, None where it still hangs.

        Raises:
            DatabaseError: It failed.
        """
        try:
            self.ends.result(timeout=patience.total_seconds())
        except TimeoutError:
            return None
        return now()


@contextmanager
def hanging_statement(database: DatabaseSource, statement: str) -> Iterator[Hanging]:
    """Run a statement as another tool does that knows no lock_timeout; it is cancelled at the end if it still hangs."""
    with closing(connect(database.access(), database.database, purpose="application")) as session:
        with translated(doing="begin the migration of another tool"):
            session.execute("SET application_name = 'deploy'; SET lock_timeout = 0; SET statement_timeout = 0")
            pid = server_pid(session)
        with ThreadPoolExecutor(max_workers=1) as pool:
            try:
                yield Hanging(pid=pid, ends=pool.submit(_run, session, statement))
            finally:
                with suppress(psycopg.Error):
                    session.cancel()


def _run(session: Connection, statement: str) -> None:
    try:
        session.execute(statement.encode())
    except psycopg.Error as exc:
        raise translate_error(exc, doing="run the migration of another tool") from exc


class Clients:
    """A client that asks a table for its rows, again and again, and comes back whenever it is thrown out."""

    def __init__(self, application: DatabaseSource, victim: Victim) -> None:
        self._application = application
        query = sql.SQL("SELECT 1 FROM {} LIMIT 1")
        self._query = query.format(sql.Identifier(victim.schema, victim.table))
        self._over = Event()
        self._lock = Lock()
        self._answered: datetime | None = None
        self._answers = self._refusals = self._ended = 0

    @property
    def answers(self) -> int:
        """How many questions were answered."""
        with self._lock:
            return self._answers

    @property
    def refusals(self) -> int:
        """How often it was not let in."""
        with self._lock:
            return self._refusals

    @property
    def answered_at(self) -> datetime | None:
        """When the last question was answered; None before the first."""
        with self._lock:
            return self._answered

    @property
    def ended(self) -> int:
        """How often its session was ended, or its question failed."""
        with self._lock:
            return self._ended

    def run(self) -> None:
        """Ask until told to stop."""
        while not self._over.is_set():
            try:
                session = connect(self._application.access(), self._application.database, purpose="application")
            except SquizzleError:
                self._count(refused=1)
                self._over.wait(_PAUSE_S)
                continue
            with suppress(psycopg.Error), session:
                self._ask(session)

    def _ask(self, session: Connection) -> None:
        session.execute(_CLIENT_PATIENCE)
        while not self._over.is_set():
            try:
                session.execute(self._query)
            except psycopg.Error:
                self._count(ended=1)
                return
            self._count(answered=1)
            self._over.wait(_PAUSE_S)

    def _count(self, *, answered: int = 0, refused: int = 0, ended: int = 0) -> None:
        with self._lock:
            self._answers += answered
            self._refusals += refused
            self._ended += ended
            if answered:
                self._answered = now()

    def wait_for_more(self, before: int, patience: timedelta) -> bool:
        """Whether more questions than so many are answered, within so long."""
        ends = monotonic() + patience.total_seconds()
        while self.answers <= before and monotonic() < ends:
            self._over.wait(_PAUSE_S)
        return self.answers > before

    def stop(self) -> None:
        """Let it go home after its question."""
        self._over.set()


@contextmanager
def reconnecting_clients(application: DatabaseSource, victim: Victim) -> Iterator[Clients]:
    """Clients that keep asking and come back whenever they are thrown out, for the length of the block."""
    clients = Clients(application, victim)
    thread = Thread(target=clients.run, name="clients of the drill", daemon=True)
    thread.start()
    try:
        yield clients
    finally:
        clients.stop()
        thread.join()
