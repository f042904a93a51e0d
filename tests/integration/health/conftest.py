"""Sessions of an application: some hold locks, others wait for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from squizzle.health.reading import read_locks
from squizzle.postgres.access import Connection, ServerAccess, connect, server_pid
from squizzle.postgres.identity import Target
from tests.support.processes import wait_until
from tests.support.scratch import new_role


class Client:
    """A session that may be in the middle of a statement."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.pid = server_pid(connection)

    def does(self, *statements: str) -> Client:
        for statement in statements:
            self.connection.execute(statement.encode())
        return self

    def begins(self, statement: str) -> Client:
        """Send a statement and do not wait for its end."""
        self.connection.pgconn.send_query(statement.encode())
        return self

    def ends(self) -> str:
        """Wait for the end of what was begun; the server's complaint, or nothing."""
        words = ""
        while (result := self.connection.pgconn.get_result()) is not None:
            words = words or result.error_message.decode()
        return words

    @property
    def lives(self) -> bool:
        try:
            self.connection.execute("SELECT 1")
        except psycopg.errors.InFailedSqlTransaction:
            return True
        except psycopg.OperationalError:
            return False
        return True


Clients = Callable[..., Client]


@pytest.fixture
def target(database: str) -> Target:
    return Target(database=database)


@pytest.fixture
def application_role(control: Connection) -> Iterator[str]:
    with new_role(control, sql.SQL("LOGIN REPLICATION")) as name:
        yield name


@pytest.fixture
def clients(access: ServerAccess, database: str, connection: Connection, application_role: str) -> Iterator[Clients]:
    """Opens sessions of the application; the tables `orders` and `users` are theirs."""
    connection.execute("CREATE TABLE orders (id int PRIMARY KEY, note text); CREATE TABLE users (id int)")
    for table in ("orders", "users"):
        connection.execute(
            sql.SQL("ALTER TABLE {} OWNER TO {}").format(sql.Identifier(table), sql.Identifier(application_role))
        )
    with ExitStack() as stack:

        def client(name: str = "shop", *, user: str = application_role, **parameters: str) -> Client:
            as_user = replace(access, user=user, parameters=tuple(parameters.items()))
            opened = connect(as_user, database, purpose="test")
            stack.callback(opened.close)
            # Walsenders know the simple protocol only: no parameters.
            opened.execute(sql.SQL("SET application_name = {}").format(sql.Literal(name)))
            return Client(opened)

        try:
            yield client
        finally:
            # Whoever still waits must not hold up the dropping of the role.
            stack.close()
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", (application_role,)
            )
            connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(application_role)))


@pytest.fixture
def until_waiting(connection: Connection) -> Callable[..., None]:
    """Waits until these clients wait for locks."""

    def wait(*who: Client) -> None:
        wanted = {one.pid for one in who}
        wait_until(lambda: wanted <= {one.pid for one in read_locks(connection).waits}, "the clients wait for locks")

    return wait
