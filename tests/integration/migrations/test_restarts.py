"""The server restarts, becomes a standby, and is promoted: what is kept, what is said, and how it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import pytest

from squizzle.errors import ConnectionFailedError, DatabaseError, DatabaseState
from squizzle.migrations.adoption import adopt_history
from squizzle.migrations.bookkeeping import open_books
from squizzle.migrations.operations import apply_versions, roll_back_versions, verify_versions
from squizzle.migrations.status import read_status
from squizzle.postgres.access import Connection, connect
from squizzle.postgres.embedded import drill_settings, find_runtime
from squizzle.postgres.embedded.cluster import Cluster
from squizzle.postgres.identity import Target
from squizzle.proof.digests import digest_database
from tests.integration.conftest import access_to
from tests.integration.migrations.conftest import Folder
from tests.support.processes import wait_until

TARGET = Target(database="postgres")


class OwnServer:
    """A server that tests may stop and start as they like."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def connect(self, purpose: str = "test") -> Connection:
        return connect(access_to(self.cluster.start(guarded=True)), TARGET.database, purpose=purpose)

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        self.cluster.stop(mode)
        self.cluster.start(guarded=True)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    runtime = find_runtime()
    cluster = Cluster(runtime, "restarts")
    # What was committed must survive a crash of the server here.
    cluster.create({**drill_settings(runtime.major, throwaway=True), "synchronous_commit": "on"})
    yield cluster
    cluster.destroy()


@pytest.fixture
def server(cluster: Cluster) -> Iterator[OwnServer]:
    server = OwnServer(cluster)
    yield server
    with server.connect() as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public; DROP SCHEMA IF EXISTS squizzle CASCADE")


def run_into_a_restart(server: OwnServer, folder: Folder, mode: Literal["fast", "immediate"]) -> ConnectionFailedError:
    """Restart the server while the run sleeps; what the run says."""
    with server.connect("migration") as session, server.connect() as looker, ThreadPoolExecutor(1) as pool:
        run = pool.submit(apply_versions, session, TARGET, folder.read())
        asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        wait_until(lambda: looker.execute(asleep).fetchone() == (1,), "the run sleeps")
        looker.close()
        server.restart(mode)
        with pytest.raises(ConnectionFailedError) as caught:
            run.result(timeout=20)
        session.close()
    assert caught.value.code == 3
    assert caught.value.hint
    return caught.value


RESTARTS = pytest.mark.parametrize("mode", ["fast", "immediate"])


@RESTARTS
def test_a_restart_in_the_middle_of_a_transactional_script_leaves_nothing_of_it(
    server: OwnServer, folder: Folder, mode: Literal["fast", "immediate"]
) -> None:
    folder.write("1", "CREATE TABLE t (a int)")
    folder.write("2", "INSERT INTO t VALUES (1); SELECT pg_sleep(60)")

    error = run_into_a_restart(server, folder, mode)

    assert error.database_state is DatabaseState.UNTOUCHED
    folder.write("2", "INSERT INTO t VALUES (1)")
    with server.connect() as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
        running = [row.version for row in read_status(connection, TARGET, folder.read()).running]
        # That a run has begun is not waited for on disk, so a crash may take it along; nothing else was done by then.
        assert running == ["2"] or (mode == "immediate" and running == [])
        apply_versions(connection, TARGET, folder.read())
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (1,)


@RESTARTS
def test_a_script_in_pieces_goes_on_behind_the_piece_at_which_the_server_restarted(
    server: OwnServer, folder: Folder, mode: Literal["fast", "immediate"]
) -> None:
    folder.write("1", "CREATE TABLE t (a int)")
    folder.write("2", "INSERT INTO t VALUES (1);\nVACUUM t;\nSELECT pg_sleep(60);")

    error = run_into_a_restart(server, folder, mode)

    assert error.database_state is DatabaseState.CHANGED
    with server.connect() as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (1,)
        # The file may not change, so the second run finds a sleep that is short.
        connection.execute("CREATE FUNCTION public.pg_sleep(int) RETURNS int LANGUAGE sql AS 'SELECT 1'")
        connection.execute("ALTER ROLE CURRENT_USER SET search_path = public, pg_catalog")
    with server.connect("migration") as connection:
        apply_versions(connection, TARGET, folder.read())
        connection.execute("ALTER ROLE CURRENT_USER RESET search_path")
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (1,)
        assert read_status(connection, TARGET, folder.read()).current == "2"


def test_a_standby_is_refused_early_and_read_and_works_when_it_is_promoted(server: OwnServer, folder: Folder) -> None:
    folder.write("1", "CREATE TABLE t (a int)", down="DROP TABLE t", verify="SELECT count(*) >= 0 FROM t")
    with server.connect() as connection:
        apply_versions(connection, TARGET, folder.read())
        before = digest_database(connection)
    folder.write("2", "ALTER TABLE t ADD COLUMN b int")
    server.cluster.stop()
    (server.cluster.layout.data / "standby.signal").touch()

    with server.connect() as standby:
        acts: list[Callable[[], object]] = [
            lambda: apply_versions(standby, TARGET, folder.read()),
            lambda: roll_back_versions(standby, TARGET, folder.read(), only="1"),
            lambda: adopt_history(standby, TARGET, open_books(folder.path, "golang-migrate", folder.read())),
        ]
        for act in acts:
            with pytest.raises(DatabaseError, match="cannot be changed: the server is in recovery") as caught:
                act()
            assert caught.value.database_state is DatabaseState.UNTOUCHED
            assert "connect to the primary" in caught.value.hint
        assert read_status(standby, TARGET, folder.read()).current == "1"
        assert all(check.ok for check in verify_versions(standby, TARGET, folder.read()))
        assert digest_database(standby) == before

        assert standby.execute("SELECT pg_promote()").fetchone() == (True,)
        apply_versions(standby, TARGET, folder.read())
        assert read_status(standby, TARGET, folder.read()).current == "2"
