"""A lock that is never given back: the run ends within its budget, and nobody is held up by it in the meantime."""

from __future__ import annotations

import threading
from datetime import timedelta

import psycopg
import pytest

from squizzle.errors import DatabaseState, LockTimeoutError
from squizzle.migrations.operations import apply_versions
from squizzle.migrations.records import Policy, Timeouts
from squizzle.migrations.status import read_status
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target
from tests.integration.migrations.conftest import Folder

# Far more than one try of ours may cost a client, far less than the whole run takes.
CLIENTS_PATIENCE = "800ms"


class Client(threading.Thread):
    """Reads the table again and again; counts, and keeps what it could not wait for."""

    def __init__(self, access: ServerAccess, database: str) -> None:
        super().__init__(daemon=True)
        self._session = connect(access, database, purpose="client")
        self._session.execute(f"SET lock_timeout = '{CLIENTS_PATIENCE}'")
        self._stop_asked = threading.Event()
        self.reads = 0
        self.refusals: list[str] = []

    def run(self) -> None:
        while not self._stop_asked.is_set():
            try:
                self._session.execute("SELECT count(*) FROM t")
                self.reads += 1
            except psycopg.Error as exc:
                self.refusals.append(str(exc))

    def stop(self) -> None:
        self._stop_asked.set()
        self.join()
        self._session.close()


def test_a_lock_that_is_never_given_back_ends_the_run_within_its_budget_and_holds_up_nobody(
    access: ServerAccess, connection: Connection, other: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", "CREATE TABLE t (a int)")
    apply_versions(connection, target, folder.read())
    folder.write("2", "ALTER TABLE t ADD COLUMN b int")
    policy = Policy(timeouts=Timeouts(budget=timedelta(seconds=2)))
    client = Client(access, target.database)

    with other.transaction(force_rollback=True):
        other.execute("SELECT FROM t")
        client.start()
        with pytest.raises(LockTimeoutError, match=f"Blocked by session {other.info.backend_pid} ") as caught:
            apply_versions(connection, target, folder.read(), policy=policy)
        client.stop()

    assert caught.value.code == 8
    assert caught.value.database_state is DatabaseState.UNTOUCHED
    assert client.refusals == []
    assert client.reads > 0
    assert read_status(connection, target, folder.read()).current == "1"
