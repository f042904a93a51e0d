"""`squizzle plan` says who would wait, with the times of a rehearsal where there is one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from squizzle.analysis.locks.records import RelationName
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.records import Backup
from squizzle.postgres.access import Connection
from squizzle.proof.records import TableDigest
from squizzle.rehearsal.certificate_store import write_certificate
from squizzle.rehearsal.situation import files_of
from tests.integration.cli.conftest import Squizzle
from tests.integration.migrations.conftest import Folder
from tests.support.certificates import certificate_of

pytestmark = pytest.mark.one_server

HELD = timedelta(milliseconds=300)


def saved(store: FolderStore, backup: Backup, database: str) -> Backup:
    """A backup with two rows of t."""
    assert backup.digest is not None
    digest = replace(backup.digest, tables=(TableDigest(table="app.t", rows=2, digest="1"),))
    with store.receive(backup.id) as incoming:
        (incoming.folder / "toc.dat").write_text("rows")
        made = replace(backup, location=backup.id, database=database, digest=digest, files=incoming.describe())
        return incoming.publish(made)


def certify(folder: Folder, store: FolderStore, backup: Backup, version: str) -> None:
    """As if it had been rehearsed: it held a lock while it read the table."""
    draft = certificate_of(backup)
    assert draft.up is not None
    (statement,) = draft.up.statements
    (lock,) = statement.locks
    traced = replace(
        statement,
        sql="ALTER TABLE t ADD COLUMN b int",
        duration=HELD,
        rewrites=(),
        rows_scanned=2,
        since=timedelta(),
        locks=(replace(lock, relation=RelationName(schema="app", name="t"), since=timedelta(), held=HELD),),
    )
    migration = next(one for one in folder.read() if one.version == version)
    up = replace(draft.up, version=version, statements=(traced,))
    write_certificate(store, replace(draft, version=version, up=up, files=files_of(migration)))


def test_a_plan_says_who_would_wait_as_long_as_the_rehearsal_of_these_very_scripts_took(
    squizzle: Squizzle, shop_folder: Folder, connection: Connection, database: str, backup: Backup, tmp_path: Path
) -> None:
    connection.execute("CREATE SCHEMA app; SET search_path TO app")
    shop = ("--schema", "app")
    assert squizzle("apply", "0001", *shop).code == 0
    connection.execute("INSERT INTO t SELECT FROM generate_series(1, 10); SELECT pg_stat_force_next_flush(); ANALYZE t")
    unrehearsed = squizzle("plan", "0002", "--json", *shop).document["forecast"]
    (lock,) = unrehearsed["locks"]
    assert (lock["relation"], lock["mode"], lock["held_ms"]) == ("t", "ACCESS EXCLUSIVE", None)
    assert lock["arriving_per_s"] > 0
    assert unrehearsed["verdict"] == "not known"
    assert "squizzle rehearse 0002" in unrehearsed["sentence"]
    assert "averages" in unrehearsed["basis"]

    store = FolderStore(tmp_path / "store")
    certify(shop_folder, store, saved(store, backup, database), "0002")
    squizzle.configure(f"[backups]\nstore = '{tmp_path / 'store'}'\n")
    rehearsed = squizzle("plan", "--json", *shop, "--watch", "1ms").document["forecast"]
    (lock,) = rehearsed["locks"]
    assert (lock["relation"], lock["held_ms"], lock["scaled"]) == ("app.t", 1500, 5.0)
    assert "version 0002 was rehearsed on 2025-03-02 12:00 UTC" in rehearsed["basis"]
    assert rehearsed["sessions"] == 0
    human = squizzle("plan", "--watch", "1ms", *shop).out
    assert "-- rates as seen in " in human

    shop_folder.write("0002", "ALTER TABLE t ADD COLUMN b bigint", down="ALTER TABLE t DROP COLUMN b")
    assert squizzle("plan", "0002", "--json", *shop).document["forecast"]["locks"][0]["held_ms"] is None
    assert squizzle("plan", "0002", "--json", *shop, "--no-forecast").document["forecast"] is None
    squizzle.configure(f"[backups]\nstore = '{tmp_path / 'nowhere'}'\n")
    assert squizzle("plan", "0002", "--json", *shop).document["forecast"]["verdict"] == "not known"
    assert squizzle("plan", "--watch", "soon").code == 2
