"""Whether a connection pooler lends our server process to other clients between two of our statements.

What migrating relies on belongs to a session: the migration lock, `lock_timeout`, `search_path`. Behind a pool in
transaction or statement mode (PgBouncer, Odyssey, pgcat, RDS Proxy) every transaction may get another session, so the
lock would be left behind in somebody else's, and the timeouts would be nobody's.
"""

from __future__ import annotations

import select
import time
from contextlib import closing

import psycopg
from psycopg.pq import ExecStatus

from squizzle.errors import ConnectionFailedError, RefusedError
from squizzle.postgres.access import Connection, access_of, connect, server_pid
from squizzle.postgres.translation import server_words

# A pool takes its servers from either end, or in turn: each of them gives itself away within two questions. A busy one
# takes a server back only some time after its client has its answer, so later rounds wait for that.
_PAUSES_S = (0.0, 0.05, 0.2)
# A pool that has no server left lets the second session wait; more than this is no answer.
PATIENCE_S = 5.0


def refuse_pooler(connection: Connection, database: str) -> None:
    """Refuse a session that is none: one whose server process is lent out in between. Nothing is changed.

    PostgreSQL tells a client the number of its server process when the session begins; a pooler tells a number of its
    own. Where the numbers are the same nothing is between, and that is all that is asked.

    Args:
        connection: The session that is to migrate, outside a transaction.
        database: Its database, for the message.

    Raises:
        RefusedError: A pooler stands between, and it lends the session out or it cannot be told that it does not.
        psycopg.Error: The session was lost.
    """
    ours = server_pid(connection)
    if ours == connection.info.backend_pid:
        return
    sign = _sign_of_lending(connection, ours)
    if sign:
        info = connection.info
        raise RefusedError(
            f"{database} is reached through a connection pooler ({info.host}:{info.port}) that lends sessions out:"
            f" {sign}. The migration lock, lock_timeout and search_path hold for a session, so they would not protect"
            " this run and would stay behind for others",
            hint="connect to PostgreSQL itself, or to a pool in session mode (PgBouncer: pool_mode = session)",
        )


def _sign_of_lending(connection: Connection, ours: int) -> str:
    """What shows that sessions are not kept apart, or why it could not be told; empty when they are."""
    try:
        second = connect(access_of(connection), connection.info.dbname, purpose="pooler check")
    except ConnectionFailedError as exc:
        return f"it lets no second session in, so it could not be told whether it keeps them apart ({exc.message})"
    # Only closed, not committed as a connection's own block would: it may be kept waiting, or gone.
    with closing(second):
        for pause in _PAUSES_S:
            time.sleep(pause)
            theirs = _ask(second, b"BEGIN; SELECT pg_backend_pid()")
            if not isinstance(theirs, int):
                return theirs
            if theirs == ours:
                return f"a second session got our server process {ours} while the first was between two statements"
            # And after it: where the second session had another process, that one is free now, too, and a pool that
            # takes the last one, or each in turn, lends it to us.
            numbers = [server_pid(connection)]
            _ask(second, b"ROLLBACK")
            numbers += [server_pid(connection), server_pid(connection)]
            other = next((one for one in numbers if one != ours), None)
            if other is not None:
                return f"two statements of one session ran in the server processes {ours} and {other}"
    return ""


def _ask(session: Connection, query: bytes) -> int | str:
    """The last number that the query gives, 0 for none, or why there is no answer.

    A pool that is used up does not refuse: it keeps the client waiting, for minutes as a rule. psycopg has no patience
    of the client's to set, so the answer is awaited here.
    """
    deadline = time.monotonic() + PATIENCE_S
    pgconn = session.pgconn
    number = 0
    try:
        pgconn.send_query(query)
        while True:
            while pgconn.is_busy():
                if not select.select([pgconn.socket], [], [], max(0.0, deadline - time.monotonic()))[0]:
                    return "it had no second session for us, so it could not be told whether it keeps them apart"
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                return number
            if result.status == ExecStatus.FATAL_ERROR:
                return f"it refuses transactions ({result.error_message.decode(errors='replace').strip()})"
            if result.status == ExecStatus.TUPLES_OK:
                number = int(result.get_value(0, 0) or 0)
    except psycopg.Error as exc:
        return f"it ended a second session, so it could not be told whether it keeps them apart ({server_words(exc)})"
