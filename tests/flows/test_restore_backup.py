"""The flow that restores: a backup or a point in time, beside or in a place, and in production after a yes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from blocks import BackupFolder, PostgresDatabase
from flows.restore_backup import restore_backup
from squizzle.backups.catalogue import verify_files
from squizzle.backups.order import Order
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.taking import take_backup
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.embedded import ServerAddress
from squizzle.recovery.fence import is_fenced
from squizzle.recovery.restore_run import RestoreReport
from tasks.backups import programs_for
from tests.flows.conftest import artifacts_of, somebody_answers
from tests.support.names import databases
from tests.support.processes import wait_until
from tests.support.wal import take_over

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.usefixtures("quick_gate")]


@pytest.fixture
def shop(server_block: PostgresDatabase, access: ServerAccess) -> Iterator[PostgresDatabase]:
    """A saved block of a database with nine rows, in production."""
    name = f"restore_{secrets.token_hex(3)}"
    with connect(access, "postgres", purpose="test") as control:
        control.execute(f"CREATE DATABASE {name}")
        with connect(access, name, purpose="test") as session:
            session.execute("CREATE TABLE goods AS SELECT n AS id FROM generate_series(1, 9) n")
        server_block.model_copy(update={"database": name, "environment": "production"}).save(name.replace("_", "-"))
        yield PostgresDatabase.load(name.replace("_", "-"))
        for one in databases(control, name):
            control.execute(f"DROP DATABASE {one} WITH (FORCE)")


def take(database: PostgresDatabase, store: BackupFolder, kind: BackupKind, suffix: str = "aaaaaa") -> Backup:
    access = database.access()
    programs = programs_for(access, database.database)
    order = Order(access=access, target=database.target(), store=store.open(), kind=kind, programs=programs)
    return take_backup(order, suffix=suffix)


def run(database: PostgresDatabase, store: BackupFolder, into: str, **options: Any) -> Any:
    return restore_backup(database, store, into, return_state=True, **options)


def goods(access: ServerAccess, database: str) -> Any:
    with connect(access, database, purpose="look") as session:
        return session.execute("SELECT count(*) FROM goods").fetchone()


@pytest.fixture
def control(access: ServerAccess) -> Iterator[Connection]:
    with connect(access, "postgres", purpose="test") as session:
        yield session


def test_a_database_comes_back_as_it_was_at_a_mark_and_takes_the_place_of_productions_after_a_yes(
    shop: PostgresDatabase, store_block: BackupFolder, access: ServerAccess, address: ServerAddress, control: Connection
) -> None:
    name, store = shop.database, store_block.open()
    with connect(access, name, purpose="test") as session:
        begun = session.execute("SELECT pg_walfile_name(pg_current_wal_lsn())").fetchone()
        copy = take(shop, store_block, BackupKind.PHYSICAL)
        session.execute("INSERT INTO goods VALUES (10)")
        mark = take(shop, store_block, BackupKind.MARK, "bbbbbb")
        session.execute("DELETE FROM goods")
        last = session.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
    assert begun is not None
    assert last is not None
    wait_until((address.archive_folder / last[0]).exists, "the log is archived")
    take_over(address.archive_folder, store_block.path, copy.system_identifier, first=begun[0])
    into, command = f"{name}_r", {"backup_id": mark.id, "switch_over": True}

    planned = run(shop, store_block, into, **command)
    assert planned.is_completed(), planned.message
    assert (planned.result().plan.backup.id, planned.result().restored) == (copy.id, None)
    with somebody_answers(f"→ {into}", {"decision": "approve", "approver": "anna"}):
        done = run(shop, store_block, into, dry_run=False, **command)

    assert done.is_completed(), done.message
    report: RestoreReport = done.result()
    assert goods(access, name) == (10,)
    assert is_fenced(control, report.kept_as)
    text = str(artifacts_of(done.state_details.flow_run_id)[f"restore-{name.replace('_', '-')}"].data)
    assert "recovery stopping at restore point" in text
    assert f"kept, closed, as `{report.kept_as}`" in text
    assert store.list_ids() == (mark.id, copy.id)


def test_the_newest_verified_backup_is_taken_and_what_was_rejected_stays_closed(
    shop: PostgresDatabase, store_block: BackupFolder, access: ServerAccess, control: Connection
) -> None:
    backup = take(shop, store_block, BackupKind.FULL)
    name, into = shop.database, f"{shop.database}_r"

    unseen = run(shop, store_block, into)
    nothing = run(shop, store_block, into, tables=["goods"], backup_id=backup.id)
    vague = run(shop, store_block, into, point_kind="name")
    assert [one.is_failed() for one in (unseen, nothing, vague)] == [True, True, True]
    assert f"{backup.id} was never looked at" in unseen.message
    assert "single tables come back with a point in time" in nothing.message
    assert "the kind of the point is name, and the point is ''" in vague.message
    verify_files(store_block.open(), backup, by="test")
    with somebody_answers(f"→ {into}", {"decision": "reject", "approver": "anna"}):
        rejected = run(shop, store_block, into, switch_over=True, dry_run=False)
    assert rejected.is_failed()
    assert "rejected by anna" in rejected.message
    assert is_fenced(control, into)
    assert not is_fenced(control, name)
    done = run(shop, store_block, into, dry_run=False)

    assert done.is_completed(), done.message
    assert goods(access, into) == (9,)
