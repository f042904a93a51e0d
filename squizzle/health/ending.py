"""Ending sessions: each is looked at once more in the very statement that ends it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import LiteralString

import psycopg

from squizzle.health.records import Session
from squizzle.health.release_plan import Ending, Method
from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import server_words, translate_error

# A session reacts within milliseconds unless it is in a function that ignores interrupts, or its disk hangs.
_PATIENCE_MS = 5000
_LOOK_AGAIN_S = 0.01


class EndState(StrEnum):
    """What became of a session that was to be ended."""

    ENDED = "ended"
    CANCELLED = "cancelled"
    GONE = "gone"
    CHANGED = "changed"
    STILL_THERE = "still there"
    NOT_ALLOWED = "not allowed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """One session, and what became of it.

    Attributes:
        ending: What was to be done.
        state: What came of it.
        detail: More about it; empty when the state says it all.
    """

    ending: Ending
    state: EndState
    detail: str = ""

    def sentence(self) -> str:
        """What became of whom."""
        meaning = {
            EndState.ENDED: "its connection was ended and its transaction rolled back",
            EndState.CANCELLED: "its query was cancelled",
            EndState.GONE: "it had gone by itself",
            EndState.CHANGED: "spared: it did something else by then",
            EndState.STILL_THERE: f"it does not end; kill -TERM {self.ending.session.pid} on the server, never -9",
            EndState.NOT_ALLOWED: "not allowed",
        }[self.state]
        return f"{self.ending.session.who()}: {meaning}{f' ({self.detail})' if self.detail else ''}"


_LOOK = "look"
_IS_CONNECTED: LiteralString = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND backend_start = %s"


def end_sessions(
    connection: Connection, endings: Sequence[Ending], *, on_ended: Callable[[Ended], None] = lambda _ended: None
) -> tuple[Ended, ...]:
    """End these sessions one after the other, each only if it is still what it was when that was decided.

    Args:
        connection: A session of its own, in autocommit mode.
        endings: Whom, and how.
        on_ended: Told what became of each.

    Raises:
        DatabaseError: Our own session was lost; those before are ended.
    """
    done = []
    for ending in endings:
        try:
            ended = _end(connection, ending)
        except psycopg.errors.InsufficientPrivilege as exc:
            needs = f"{server_words(exc)}; GRANT pg_signal_backend to {connection.info.user}"
            ended = Ended(ending=ending, state=EndState.NOT_ALLOWED, detail=needs)
        except psycopg.Error as exc:
            raise translate_error(exc, doing=f"end session {ending.session.pid}") from exc
        done.append(ended)
        on_ended(ended)
    return tuple(done)


def _end(connection: Connection, ending: Ending) -> Ended:
    if ending.method is Method.TERMINATE:
        return _terminate(connection, ending)
    if _same_session(connection, ending.session, how=Method.CANCEL) is None:
        return _not_the_same(connection, ending)
    deadline = time.monotonic() + _PATIENCE_MS / 1000
    while _same_session(connection, ending.session, how=_LOOK):
        if time.monotonic() > deadline:
            if ending.or_terminate:
                return _terminate(connection, ending, detail="it did not react to a cancel")
            return Ended(ending=ending, state=EndState.STILL_THERE, detail="it does not react to a cancel")
        time.sleep(_LOOK_AGAIN_S)
    return Ended(ending=ending, state=EndState.CANCELLED)


def _terminate(connection: Connection, ending: Ending, detail: str = "") -> Ended:
    has_ended = _same_session(connection, ending.session, how=Method.TERMINATE)
    if has_ended is None:
        return _not_the_same(connection, ending)
    return Ended(ending=ending, state=EndState.ENDED if has_ended else EndState.STILL_THERE, detail=detail)


def _not_the_same(connection: Connection, ending: Ending) -> Ended:
    session = ending.session
    row = connection.execute(_IS_CONNECTED, (session.pid, session.backend_start)).fetchone()
    return Ended(ending=ending, state=EndState.GONE if row is None else EndState.CHANGED)


def _same_session(connection: Connection, session: Session, *, how: str) -> bool | None:
    """Do something to a session; None when it is not the same any more, and nothing was done."""
    values = {
        "how": how,
        "patience_ms": _PATIENCE_MS,
        "pid": session.pid,
        "backend_start": session.backend_start,
        "transaction_start": session.transaction_start,
        "query_start": session.query_start,
        "state_change": session.state_change,
        "state": session.state or None,
    }
    row = connection.execute(load_sql("squizzle.health", "end_session"), values).fetchone()
    return None if row is None else bool(row[0])
