"""The flow that rehearses: certificates beside the backup, a report that can be read, and a failed run unless proven."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from blocks import BackupFolder, PostgresDatabase
from flows.rehearse import rehearse
from squizzle.backups.notes import read_notes
from squizzle.backups.order import Order
from squizzle.backups.records import BackupKind
from squizzle.backups.taking import take_backup
from squizzle.postgres.access import ServerAccess, connect
from squizzle.rehearsal.certificate_store import check_certificates, read_certificates
from squizzle.rehearsal.records import CertificateVerdict
from squizzle.rehearsal.report import RehearsalReport
from tasks.backups import programs_for
from tests.flows.conftest import artifacts_of
from tests.support.keys import random_key
from tests.support.names import databases

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.fixture
def shop(server_block: PostgresDatabase, access: ServerAccess) -> Iterator[PostgresDatabase]:
    """A saved block of a database with nine rows."""
    name = f"rehearse_{secrets.token_hex(3)}"
    with connect(access, "postgres", purpose="test") as control:
        control.execute(f"CREATE DATABASE {name}")
        with connect(access, name, purpose="test") as session:
            session.execute("CREATE TABLE goods AS SELECT n AS id, 'good ' || n AS name FROM generate_series(1, 9) n")
        server_block.model_copy(update={"database": name}).save(name.replace("_", "-"))
        yield PostgresDatabase.load(name.replace("_", "-"))
        for one in databases(control, name):
            control.execute(f"DROP DATABASE {one} WITH (FORCE)")


def version(folder: Path, name: str, up: str, down: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "up.sql").write_text(up, encoding="utf-8")
    (folder / name / "down.sql").write_text(down, encoding="utf-8")


def test_versions_are_proven_one_after_the_other_and_the_first_that_is_not_ends_it(
    shop: PostgresDatabase,
    server_block: PostgresDatabase,
    store_block: BackupFolder,
    access: ServerAccess,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "migrations"
    version(folder, "0001_price", "ALTER TABLE goods ADD COLUMN price int", "ALTER TABLE goods DROP COLUMN price")
    version(folder, "0002_index", "CREATE INDEX goods_price ON goods (price)", "DROP INDEX goods_price")

    def run(**options: Any) -> Any:
        return rehearse(shop, store_block, folder, scratch_server=server_block, return_state=True, **options)

    done = run()
    assert done.is_completed(), done.message
    report: RehearsalReport = done.result()
    assert [(one.version, one.verdict) for one in report.certificates] == [
        ("0001", CertificateVerdict.PROVEN), ("0002", CertificateVerdict.PROVEN)
    ]  # fmt: skip
    first, second = report.certificates
    assert second.schema_before == first.schema_after
    assert second.previous_id == first.id
    kept = read_certificates(store_block.open(), database=shop.database)
    assert {one.id for one in kept.found} == {first.id, second.id}
    assert check_certificates(store_block.open()).problems == ()
    (hold,) = read_notes(store_block.open(), report.backup.id).holds
    assert f"the proven way back of 0002 (certificate {second.id})" in hold.reason
    assert report.forecast is not None
    assert report.forecast.database == shop.database

    version(folder, "0003_forgets", "DROP INDEX goods_price", "SELECT 1")
    version(folder, "0004_never_reached", "SELECT 1", "SELECT 1")
    # The backup of a moment ago is used again.
    failed = run(backup_id=report.backup.id)
    assert failed.is_failed()
    assert "0003 failed" in failed.message
    assert "missing: index public.goods_price" in failed.message
    shown = artifacts_of(failed.state_details.flow_run_id)
    text = str(shown[f"rehearsal-{shop.database.replace('_', '-')}"].data)
    assert "## 0003 forgets: FAILED" in text
    with connect(access, "postgres", purpose="look") as control:
        assert databases(control, "squizzle_drill") == set()
        with connect(access, shop.database, purpose="look") as session:
            assert session.execute("SELECT count(*) FROM goods").fetchone() == (9,)
            assert session.execute("SELECT to_regclass('public.squizzle_history')").fetchone() == (None,)


def test_one_version_is_rehearsed_after_those_before_it_on_a_fresh_encrypted_backup(
    shop: PostgresDatabase, server_block: PostgresDatabase, tmp_path: Path
) -> None:
    store = f"sealed-{secrets.token_hex(3)}"
    BackupFolder(path=tmp_path / "sealed", encryption_keys=SecretStr(random_key())).save(store)
    sealed, access = BackupFolder.load(store), shop.access()
    programs = programs_for(access, shop.database)
    order = Order(access=access, target=shop.target(), store=sealed.open(), kind=BackupKind.FULL, programs=programs)
    backup = take_backup(order, suffix="aaaaaa")
    folder = tmp_path / "migrations"
    version(folder, "0001_price", "ALTER TABLE goods ADD COLUMN price int", "ALTER TABLE goods DROP COLUMN price")
    version(folder, "0002_set", "UPDATE goods SET price = id", "UPDATE goods SET price = NULL")

    done = rehearse(shop, sealed, folder, version="0002", scratch_server=server_block, return_state=True)

    assert done.is_completed(), done.message
    (certificate,) = done.result().certificates
    assert certificate.backup_id == backup.id
    assert certificate.version == "0002"
    assert certificate.up is not None
    assert certificate.up.statements[0].rows_changed == 9
