"""`squizzle rebuild`: a server that is gone comes back on another one, from nothing but its store."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg import sql

from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.embedded import Cluster, ServerAddress, drill_settings, find_runtime
from squizzle.recovery.fence import control_session
from tests.integration.cli.conftest import Squizzle, url_of
from tests.integration.conftest import access_to
from tests.support.names import databases
from tests.support.scratch import drop_databases

NAME = f"lost_{secrets.token_hex(3)}"
SHOP, LEDGER, LATE, OWNER = f"{NAME}_shop", f"{NAME}_ledger", f"{NAME}_late", f"{NAME}_owner"


@pytest.fixture(scope="module")
def access(servers: Callable[[str], ServerAddress]) -> ServerAccess:
    """The embedded server alone: what is rebuilt is of its version."""
    return access_to(servers("embedded"))


@pytest.fixture
def left(squizzle: Squizzle, tmp_path: Path, access: ServerAccess) -> Iterator[str]:
    """The store of a server that had two saved databases, and one that nobody saved; it is gone."""
    runtime = find_runtime()
    cluster = Cluster(runtime, f"tests-{NAME}")
    store = (tmp_path / "store").as_uri()
    try:
        # Clusters of one template could not be told from each other.
        cluster.create(drill_settings(runtime.major, throwaway=True), from_template=False)
        lost = access_to(cluster.start(guarded=True))
        with connect(lost, "postgres", purpose="test") as session:
            session.execute(f"CREATE ROLE {OWNER} LOGIN PASSWORD 'planted-5c1e' CONNECTION LIMIT 7".encode())
            for name in (SHOP, LEDGER, LATE):
                session.execute(f"CREATE DATABASE {name} OWNER {OWNER}".encode())
        for name in (SHOP, LEDGER):
            with connect(lost, name, purpose="test") as session:
                session.execute("CREATE TABLE t AS SELECT n FROM generate_series(1, 300) n")
                session.execute(sql.SQL("ALTER TABLE t OWNER TO {}").format(sql.Identifier(OWNER)))
            done = squizzle("backup", "full", "--url", url_of(lost, name), "--store", store)
            assert done.code == 0, done.err
        assert squizzle("backup", "globals", "--url", url_of(lost, SHOP), "--store", store).code == 0
        refused = squizzle("rebuild", "--url", url_of(lost, "postgres"), "--store", store, "--json")
        assert (refused.code, "is not lost" in refused.error["message"]) == (9, True)
    finally:
        cluster.destroy()
    yield store
    with control_session(access, purpose="test") as control:
        drop_databases(control, NAME)
        control.execute(f"DROP ROLE IF EXISTS {OWNER}".encode())


def test_a_lost_server_comes_back_from_its_store_and_the_same_again_finishes_what_is_missing(
    squizzle: Squizzle, left: str, access: ServerAccess, control: Connection
) -> None:
    options = ["rebuild", "--url", url_of(access, "postgres"), "--store", left, "--json"]

    said = squizzle(*options, "--dry-run")

    assert said.code == 0, said.err
    assert [one["database"] for one in said.document["databases"]] == [LEDGER, SHOP]
    assert said.document["not_saved"] == [LATE]
    assert databases(control, NAME) == set()

    done = squizzle(*options)

    assert done.code == 0, done.err
    assert done.document["roles"]["made"] == [OWNER]
    assert [(one["verified"], one["was_there"]) for one in done.document["databases"]] == [(True, False)] * 2
    assert databases(control, NAME) == {SHOP, LEDGER}
    owner = (
        "SELECT rolname, rolconnlimit, rolpassword LIKE 'SCRAM%%' FROM pg_database JOIN pg_authid a ON datdba = a.oid"
    )
    assert control.execute(f"{owner} WHERE datname = %s".encode(), (SHOP,)).fetchone() == (OWNER, 7, True)

    drop_databases(control, LEDGER)
    with connect(access, SHOP, purpose="test") as session:
        session.execute("UPDATE t SET n = 0 WHERE n = 7")
    again = squizzle(*options)

    # One that is not as it was keeps nobody else from coming back, and nothing is done to it.
    assert again.code == 7
    ledger, shop = again.document["databases"]
    assert (ledger["verified"], ledger["was_there"]) == (True, False)
    assert (shop["verified"], shop["was_there"]) == (False, True)
    assert "was there already" in shop["problem"]
    assert any("t" in sentence for sentence in shop["differences"])
    assert OWNER in again.document["roles"]["kept"]
    with connect(access, SHOP, purpose="test") as session:
        assert session.execute("SELECT count(*) FROM t WHERE n = 0").fetchone() == (1,)
