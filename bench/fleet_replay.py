"""The statements that Squizzle sends to one target, recorded, and sent to others by nothing but psycopg."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from squizzle.postgres.access import Connection, ServerAccess, connect


@dataclass(kw_only=True, slots=True)
class Sent:
    """One statement.

    Attributes:
        session: Which of the target's sessions, counted from 0.
        cursor: What sent it: on the client's side bound parameters, or not.
        query: As it was given.
        values: Its parameters; None for none.
        pids: What the session's server process was.
        answer: The number in its first row's first column; 0 for none.
    """

    session: int
    cursor: type[psycopg.Cursor[Any]]
    query: Any
    values: Any
    answer: int = 0


@dataclass(kw_only=True, slots=True)
class Recorded:
    """All of one target.

    Attributes:
        sessions: Whether each plans what it asks again and again only once.
        sent: In order.
        pids: Of each session.
    """

    sessions: list[int | None] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)


@contextmanager
def record(recorded: Recorded) -> Iterator[None]:
    """Write down what sessions send that are opened inside, from one thread at a time."""
    known: dict[int, int] = {}
    sent = psycopg.Cursor.execute
    command = psycopg.Connection._exec_command  # noqa: SLF001 - BEGIN and COMMIT go by it
    sessions: list[Connection] = []

    def number(connection: Connection) -> int:
        if id(connection) not in known:
            known[id(connection)] = len(sessions)
            sessions.append(connection)
            recorded.pids.append(connection.info.backend_pid)
            recorded.sessions.append(None)
        found = known[id(connection)]
        recorded.sessions[found] = connection.prepare_threshold
        return found

    def execute(cursor: Any, query: Any, params: Any = None, **options: Any) -> Any:
        one = Sent(session=number(cursor.connection), cursor=type(cursor), query=query, values=params)
        recorded.sent.append(one)
        result = sent(cursor, query, params, **options)
        one.answer = _first_number(cursor)
        return result

    def exec_command(connection: Any, query: Any, *rest: Any) -> Any:
        recorded.sent.append(Sent(session=number(connection), cursor=psycopg.Cursor, query=query, values=None))
        return (yield from command(connection, query, *rest))

    psycopg.Cursor.execute = execute  # type: ignore[method-assign, assignment]
    psycopg.Connection._exec_command = exec_command  # type: ignore[method-assign, assignment]  # noqa: SLF001
    try:
        yield
    finally:
        psycopg.Cursor.execute = sent  # type: ignore[method-assign]
        psycopg.Connection._exec_command = command  # type: ignore[method-assign]  # noqa: SLF001


def _first_number(cursor: Any) -> int:
    result = cursor.pgresult
    if result is None or not result.ntuples or not result.nfields:
        return 0
    value = result.get_value(0, 0) or b""
    return int(value) if value.isdigit() else 0


def replay(access: ServerAccess, database: str, recorded: Recorded) -> None:
    """Send it all to another database: the ids of sessions and of history rows are this one's own."""
    with ExitStack() as stack:
        sessions: dict[int, Connection] = {}
        own: dict[int, int] = {}
        for one in recorded.sent:
            if one.session not in sessions:
                session = connect(access, database, purpose="bench")
                session.prepare_threshold = recorded.sessions[one.session]
                stack.callback(session.close)
                sessions[one.session] = session
                own[recorded.pids[one.session]] = session.info.backend_pid
            cursor = one.cursor(sessions[one.session])
            cursor.execute(one.query, _as_own(one.values, own))
            if cursor.pgresult is not None and cursor.pgresult.ntuples:
                found = _first_number(cursor)
                cursor.fetchall()
                if one.answer and "INSERT INTO" in str(one.query):
                    own[one.answer] = found


def _as_own(values: Any, own: dict[int, int]) -> Any:
    if isinstance(values, dict):
        return {name: own.get(value, value) if name in {"pid", "holder"} else value for name, value in values.items()}
    if isinstance(values, tuple) and len(values) > 1 and isinstance(values[-1], int):
        return (*values[:-1], own.get(values[-1], values[-1]))
    return values
