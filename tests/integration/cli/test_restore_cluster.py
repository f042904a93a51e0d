"""`squizzle restore --into-folder`: a cluster as a data folder that starts, and nothing half."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg import sql

from squizzle.backups.folder_store import FolderStore
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.embedded import Runtime, ServerAddress, find_runtime
from squizzle.proof.comparison import compare_digests
from squizzle.proof.digests import digest_database
from squizzle.recovery.cluster_folder import SAVED
from tests.integration.cli.conftest import Squizzle, url_of
from tests.integration.cli.test_restore import PROMISED
from tests.integration.conftest import access_to
from tests.support.names import lets_in
from tests.support.processes import wait_until
from tests.support.scratch import new_database

FILL = "CREATE TABLE people AS SELECT n AS id, 'person ' || n AS name FROM generate_series(1, 300) n"


@pytest.fixture(scope="module")
def access(servers: Callable[[str], ServerAddress]) -> ServerAccess:
    """The embedded server alone: what Debian's makes is put together by the very same code."""
    return access_to(servers("embedded"))


@pytest.fixture(scope="module")
def people(access: ServerAccess) -> Iterator[str]:
    """A database with some rows."""
    with (
        connect(access, "postgres", purpose="test") as control,
        new_database(control, sql.SQL("TEMPLATE template0"), prefix="people") as name,
    ):
        with connect(access, name, purpose="test") as session:
            session.execute(FILL.encode())
        yield name


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture
def squizzle(offline: Squizzle, access: ServerAccess, people: str, store: FolderStore) -> Squizzle:
    """The command with the database and the store."""
    offline.configure(f'[backups]\nstore = "{store.address}"\n')
    return replace(offline, environment={"DATABASE_URL": url_of(access, people)})


def take(squizzle: Squizzle, kind: str) -> str:
    done = squizzle("backup", kind, "--json")
    assert done.code == 0, done.err
    return str(done.document["id"])


@pytest.fixture
def runtime() -> Runtime:
    return find_runtime()


@pytest.fixture
def place(runtime: Runtime) -> Iterator[Path]:
    """An empty folder of the account that servers run under."""
    folder = Path(tempfile.mkdtemp(prefix="sqz-"))
    runtime.hand_over(folder)
    yield folder
    if (folder / "postmaster.pid").exists():
        runtime.run([runtime.bin_folder / "pg_ctl", f"--pgdata={folder}", "--mode=immediate", "stop"])
    shutil.rmtree(folder)


def test_a_cluster_comes_back_as_a_folder_that_starts_with_every_row(
    squizzle: Squizzle, store: FolderStore, access: ServerAccess, people: str, place: Path
) -> None:
    whole = take(squizzle, "physical")
    with connect(access, people, purpose="test") as session:
        session.execute("UPDATE people SET name = 'changed' WHERE id < 50")
    increment = store.read(take(squizzle, "incremental"))
    before = {path: path.stat().st_mtime_ns for path in store.folder.rglob("*")}

    done = squizzle("restore", increment.id, "--into-folder", str(place), "--json")

    assert done.code == 0, done.err
    document = done.document
    assert list(document)[: len(PROMISED)] == PROMISED
    assert (document["verified"], document["folder"]) == (None, str(place))
    assert increment.chain == (whole,)
    assert place.stat().st_mode & 0o777 == 0o700
    owner = place.stat().st_uid
    assert {path.stat().st_uid for path in place.rglob("*")} == {owner}
    assert (place / f"postgresql.conf{SAVED}").read_text() != (place / "postgresql.conf").read_text()
    assert not (place / ".squizzle-restore").exists()
    assert {path: path.stat().st_mtime_ns for path in store.folder.rglob("*")} == before

    subprocess.run(document["start"], shell=True, check=True, stdout=subprocess.DEVNULL, timeout=60)  # noqa: S602 - as printed
    restored = ServerAccess(host=str(place), port=5432, user=access.user)
    wait_until(lambda: lets_in(restored), "it has recovered")
    with connect(restored, people, purpose="look") as session:
        assert compare_digests(increment.fingerprint, digest_database(session, bookkeeping=True)).sentences() == ()
        assert session.execute("SHOW archive_mode").fetchone() == ("off",)
        assert session.execute("SHOW listen_addresses").fetchone() == ("",)

    again = squizzle("restore", whole, "--into-folder", str(place), "--json")
    assert again.code == 9
    assert "is not empty" in again.error["message"]
    with connect(restored, people, purpose="look") as session:
        assert session.execute("SELECT count(*) FROM people WHERE name = 'changed'").fetchone() == (49,)


def test_a_damaged_or_an_incomplete_chain_leaves_the_folder_empty(
    squizzle: Squizzle, store: FolderStore, place: Path
) -> None:
    whole, increment = take(squizzle, "physical"), take(squizzle, "incremental")
    command = ("restore", increment, "--into-folder", str(place), "--json")
    # What a run left that was killed while it worked.
    (place / ".squizzle-restore" / "data").mkdir(parents=True)
    (place / "base").mkdir()
    early = squizzle(*command, "--to-time", "2020-01-01T00:00:00+00:00")
    assert "behind the time that was asked for" in early.error["message"]
    nowhere = squizzle(*command, "--to-latest")
    assert "has no log of the cluster" in nowhere.error["message"]

    victim = store.folder / whole / "base.tar.zst"
    victim.write_bytes(victim.read_bytes()[:-1])
    damaged = squizzle(*command)
    shutil.rmtree(store.folder / whole)
    missing = squizzle(*command)

    assert (damaged.code, missing.code) == (7, 7)
    assert f"backup {whole} in" in damaged.error["message"]
    assert "base.tar.zst has" in damaged.error["message"]
    assert f"builds on {whole}, which is missing" in missing.error["message"]
    assert list(place.iterdir()) == []
    if os.geteuid() == 0:
        nobodys = squizzle("restore", increment, "--into-folder", str(place / "new"), "--json")
        assert nobodys.code == 9
        assert "install -d -m 700 -o postgres" in nobodys.error["hint"]
