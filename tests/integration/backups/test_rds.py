"""A snapshot of RDS says what is in it, no less and no more, and a killed run's is taken over by the next one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from squizzle.backups.dump import DumpOptions
from squizzle.backups.encryption.store import EncryptedStore
from squizzle.backups.files import check_files
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.manifest import to_json
from squizzle.backups.order import Order
from squizzle.backups.rds.access import RdsAccess
from squizzle.backups.rds.instance import InstanceSnapshots
from squizzle.backups.rds.service import Waiting
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.snapshot.take import AFTER_FILE, INSTANCE_FILE
from squizzle.backups.snapshot.tries import TRIES_FOLDER
from squizzle.backups.taking import take_backup
from squizzle.errors import CloudError, CloudUnavailableError, InvalidInputError, LockTimeoutError, RefusedError
from squizzle.migrations.history import ensure_history
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.embedded import ServerAddress
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import ClientPrograms
from squizzle.postgres.secret import Secret
from squizzle.proof.digests import digest_database
from tests.support.keys import random_keys
from tests.support.processes import wait_until
from tests.support.rds_service import START, Fault, Instance, RdsFake, rds_service
from tests.support.tally import Kind, note_strike

ROOT = Path(__file__).resolve().parents[3]
ADDRESS = "shop.c0ffee.eu-central-1.rds.amazonaws.com"
pytestmark = pytest.mark.parametrize("address", ["embedded"], indirect=True)


@pytest.fixture(scope="module")
def service() -> Iterator[RdsFake]:
    with rds_service() as fake:
        yield fake


@pytest.fixture
def fake(service: RdsFake, connection: Connection) -> RdsFake:
    vars(service).update(vars(RdsFake(address=service.address)))
    version = connection.info.server_version
    service.instances["shop"] = Instance(
        identifier="shop",
        resource_id="db-SHOP",
        version=f"{version // 10000}.{version % 10000}",
        address=ADDRESS,
    )
    return service


@dataclass(kw_only=True)
class Shop:
    """A database with two tables, and how a snapshot of its instance is ordered."""

    order: Order
    connection: Connection
    store: FolderStore

    def take(self, *, suffix: str = "aaaaaa", **changes: Any) -> Backup:
        wait_until(self.is_free, "the server has seen the last run go")
        return take_backup(replace(self.order, **changes), suffix=suffix)

    def is_free(self) -> bool:
        locks = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database AND datname = current_database()"
        return self.connection.execute(f"{locks} WHERE locktype = 'advisory'").fetchone() == (0,)

    def notes(self) -> list[str]:
        return list(self.store.texts(TRIES_FOLDER))


def source(fake: RdsFake, **waiting: Any) -> InstanceSnapshots:
    clock = fake.clock
    return InstanceSnapshots(
        RdsAccess(region="eu-central-1", endpoint=fake.address, access_key="k", secret_key="s"),
        "shop",
        waiting=Waiting(monotonic=clock.monotonic, now=clock.now, sleep=clock.sleep, jitter=lambda: 0.5, **waiting),
    )


@pytest.fixture
def shop(
    fake: RdsFake, access: ServerAccess, connection: Connection, programs: ClientPrograms, store: FolderStore
) -> Shop:
    connection.execute("""
        CREATE TABLE users AS SELECT n AS id FROM generate_series(1, 1234) n;
        CREATE TABLE visits (at timestamptz);
        CREATE UNLOGGED TABLE sessions AS SELECT 1 AS id
    """)
    order = Order(
        access=access,
        target=Target(database=connection.info.dbname, schema="public"),
        store=store,
        kind=BackupKind.RDS,
        programs=programs,
        snapshots=source(fake),
    )
    return Shop(order=order, connection=connection, store=store)


@pytest.fixture
def calm(control: Connection) -> Iterator[None]:
    """No autovacuum of the server, which would write in between."""
    workers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'autovacuum%'"
    control.execute("ALTER SYSTEM SET autovacuum = off")
    control.execute("SELECT pg_reload_conf()")
    wait_until(lambda: control.execute(workers).fetchone() == (0,), "autovacuum has ended")
    yield
    control.execute("ALTER SYSTEM RESET autovacuum")
    control.execute("SELECT pg_reload_conf()")


@pytest.mark.usefixtures("calm")
def test_a_quiet_database_is_in_the_snapshot_exactly_as_it_was_fingerprinted(shop: Shop, fake: RdsFake) -> None:
    fake.metric = [(START, 5e9)]

    made = shop.take()

    assert shop.store.read(made.id) == made
    check_files(made, shop.store.path_of(made))
    assert [file.path for file in made.files] == [INSTANCE_FILE]
    (name,) = fake.snapshots
    assert (
        made.details
        | {
            "snapshot": name,
            "arn": f"arn:aws:rds:eu-central-1:1:snapshot:{name}",
            "resource_id": "db-SHOP",
            "fingerprints": "nothing",
            "changed_tables": "[]",
            "free_bytes": "5000000000",
        }
        == made.details
    )
    assert (made.started_at, made.duration) == (START, timedelta(seconds=105))
    assert made.size_bytes == 20 * 1024**3
    there = {table.table: table for table in digest_database(shop.connection, bookkeeping=True).tables}
    assert made.fingerprint.tables == tuple(
        replace(there[one.table], rows=0, digest="0") if one.table == "public.sessions" else there[one.table]
        for one in made.fingerprint.tables
    )
    encrypted = EncryptedStore(shop.store, random_keys())
    sealed = shop.take(store=encrypted, suffix="eeeeee")
    assert sealed == encrypted.read(sealed.id), "it knows what lies in the store, and can be verified"
    assert [file.path for file in sealed.stored_files] != [file.path for file in sealed.files]
    said = "; ".join(made.not_covered)
    assert "unlogged tables, which no copy of a cluster has: public.sessions" in said
    assert "it was not tried" in said
    assert f"the connection goes to {shop.order.access.host}, the instance's address is {ADDRESS}" in said
    assert shop.notes() == []


@pytest.mark.parametrize(
    ("statement", "told", "clause"),
    [
        ("INSERT INTO visits VALUES (now())", ["public.visits"], "rows of public.visits: they were written to"),
        ("CREATE TABLE later (a int)", ["public.later"], "definitions: they changed"),
        ("COMMENT ON TABLE users IS 'x'", [], "definitions: they changed"),
        ("UPDATE users SET id = id WHERE id = 7", [], "written and taken back"),
    ],
)
def test_what_was_written_while_it_was_made_is_said_and_not_claimed(
    shop: Shop, fake: RdsFake, statement: str, told: list[str], clause: str
) -> None:
    fake.clock.at[50] = lambda: shop.connection.execute(statement.encode())

    made = shop.take()

    assert json.loads(made.details["changed_tables"]) == told
    assert made.details["fingerprints"] == ("changed" if "taken back" not in clause else "equal")
    assert clause in made.not_covered[0] + made.not_covered[1]
    after = shop.store.path_of(made) / AFTER_FILE
    assert after.exists() is bool(told)
    if told:
        assert list(json.loads(after.read_text())["tables"]) == told
    assert "public.later" not in {one.table for one in made.fingerprint.tables}


def test_a_transaction_that_nobody_sees_yet_is_not_called_nothing(shop: Shop, access: ServerAccess) -> None:
    """Its commit may be in the snapshot already while it waits for a standby, and is not seen before that."""
    with connect(access, shop.order.target.database, purpose="test") as writer, writer.transaction(force_rollback=True):
        writer.execute("INSERT INTO visits VALUES (now())")
        made = shop.take()
    assert made.details["fingerprints"] == "equal"


def test_a_snapshot_that_another_run_published_meanwhile_gets_no_second_manifest(shop: Shop, fake: RdsFake) -> None:
    """The session with the lock was cut off while RDS worked."""

    def other_run() -> None:
        shop.connection.execute("""
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()
        """)
        shop.take(suffix="bbbbbb")

    fake.clock.at[50] = other_run

    with pytest.raises(LockTimeoutError, match=r"took the snapshot of .* over while this one waited"):
        shop.take()

    assert len(shop.store.list_ids()) == len(fake.snapshots) == 1


@pytest.mark.kills
def test_what_a_killed_run_began_is_taken_over_with_its_fingerprints(
    shop: Shop, fake: RdsFake, access: ServerAccess
) -> None:
    fake.snapshot_takes_s = 1e6
    command = [Path(sys.executable).with_name("squizzle"), "backup", "rds", "--instance", "shop"]
    url = f"postgresql:///{shop.order.target.database}?host={access.host}&port={access.port}&user={access.user}"
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": url,
        "AWS_ENDPOINT_URL": fake.address,
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
    }
    with subprocess.Popen([*command, "--store", shop.store.address], env=environment, cwd=ROOT / "tests") as victim:
        wait_until(lambda: bool(fake.snapshots), "the snapshot has begun")
        os.kill(victim.pid, signal.SIGKILL)
    note_strike(Kind.KILL, "take rds", "the run itself", cell="the snapshot has begun")
    assert shop.store.list_ids() == ()
    assert len(shop.notes()) == 1
    shop.connection.execute("DELETE FROM users WHERE id > 1000")
    (begun,) = fake.snapshots.values()
    begun.takes_s = 60.0

    made = shop.take()

    assert (fake.count("CreateDBSnapshot"), made.details["snapshot"]) == (1, begun.identifier)
    assert {one.table: one.rows for one in made.fingerprint.tables}["public.users"] == 1234
    assert json.loads(made.details["changed_tables"]) == ["public.users"]
    assert shop.notes() == []
    assert [path.name for path in shop.store.folder.iterdir() if path.name != TRIES_FOLDER] == [made.id]


def later(_shop: Shop, fake: RdsFake) -> None:
    fake.clock.sleep(4000)


def migrated(shop: Shop, _fake: RdsFake) -> None:
    ensure_history(shop.connection, "public")
    shop.connection.execute("""
        INSERT INTO squizzle_history (version, name, applied_at, success, applied_by, direction, checksum)
        VALUES ('0042', 'x', now(), true, 'ann', 'apply', '')
    """)


def in_a_rollout(shop: Shop, _fake: RdsFake) -> None:
    shop.order = replace(shop.order, options=DumpOptions(details={"rollout": "r7"}))


@pytest.mark.parametrize("change", [later, migrated, in_a_rollout])
def test_what_is_no_longer_wanted_is_made_anew_and_deleted_only_after_that(
    shop: Shop, fake: RdsFake, change: Callable[[Shop, RdsFake], None]
) -> None:
    old = begin_and_give_up(shop, fake)
    change(shop, fake)
    fake.next_fails = True

    with pytest.raises(CloudError, match="is failed"):
        shop.take(suffix="bbbbbb")
    assert old in fake.snapshots
    assert len(shop.notes()) == 2

    made = shop.take(suffix="cccccc")

    assert list(fake.snapshots) == [made.details["snapshot"]]
    assert made.details["snapshot"] != old
    assert shop.notes() == []


def test_a_leftover_that_cannot_be_deleted_yet_is_left_to_the_next_run(shop: Shop, fake: RdsFake) -> None:
    old = begin_and_give_up(shop, fake)
    fake.clock.sleep(4000)
    fake.faults["DeleteDBSnapshot"] = [Fault("InvalidDBSnapshotState")]

    shop.take(suffix="bbbbbb")

    assert old in fake.snapshots
    assert len(shop.notes()) == 1
    shop.take(suffix="cccccc")
    assert old not in fake.snapshots
    assert shop.notes() == []


def test_what_is_done_since_a_moment_is_taken_over_and_a_damaged_note_is_not(shop: Shop, fake: RdsFake) -> None:
    old = begin_and_give_up(shop, fake)
    (note,) = shop.notes()
    path = shop.store.folder / TRIES_FOLDER / note
    whole = path.read_text()
    path.write_text(whole.replace("1234", "1235"))

    assert shop.take(suffix="bbbbbb").details["snapshot"] != old
    path.write_text(whole)
    assert shop.take(suffix="cccccc").details["snapshot"] == old


def begin_and_give_up(shop: Shop, fake: RdsFake) -> str:
    """A run that ends before RDS does; returns its snapshot, which is done by now."""
    with pytest.raises(CloudUnavailableError):
        shop.take(snapshots=source(fake, deadline=timedelta(seconds=40)))
    (old,) = fake.snapshots
    fake.snapshots[old].takes_s = 0.0
    return old


def test_a_published_snapshot_is_never_taken_for_a_leftover(shop: Shop, fake: RdsFake) -> None:
    first = shop.take()
    note = f"{TRIES_FOLDER}/{first.details['run']}.json"
    # As if it had been killed between the manifest and the end.
    shop.store.put_text(note, to_json(first))

    second = shop.take(suffix="bbbbbb")

    assert list(fake.snapshots) == [first.details["snapshot"], second.details["snapshot"]]
    assert second.previous is not None
    assert second.previous.id == first.id
    assert shop.notes() == []


def test_another_server_than_the_instance_is_refused(shop: Shop, fake: RdsFake, address: ServerAddress) -> None:
    there = replace(
        shop.order.access,
        host=ADDRESS,
        port=address.port,
        password=Secret(address.read_password()),
        parameters=(("hostaddr", address.host),),
    )

    made = shop.take(access=there)

    assert not any("the connection goes to" in clause for clause in made.not_covered)
    with pytest.raises(RefusedError, match="the snapshot would hold another database"):
        shop.take(access=replace(there, host="crm.c0ffee.eu-central-1.rds.amazonaws.com"), suffix="bbbbbb")
    fake.instances["shop"].version = "9.6"
    with pytest.raises(RefusedError, match=r"runs 9.6: it is another server"):
        shop.take(suffix="cccccc")
    fake.instances["shop"].cluster = "shops"
    with pytest.raises(InvalidInputError, match="a member of the cluster shops"):
        shop.take(suffix="dddddd")
    with pytest.raises(InvalidInputError, match="no instance of RDS is named"):
        shop.take(snapshots=None)
    assert fake.count("CreateDBSnapshot") == 1
    assert len(shop.store.list_ids()) == 1


@pytest.mark.parametrize("code", ["AccessDenied", "ExpiredToken"])
def test_free_space_that_may_not_be_seen_is_said_and_stops_nothing(shop: Shop, fake: RdsFake, code: str) -> None:
    fake.faults["GetMetricStatistics"] = [Fault(code, 403)]

    made = shop.take()

    assert made.details["room"].startswith("could not tell: could not read the free space of shop")
    assert "free_bytes" not in made.details
