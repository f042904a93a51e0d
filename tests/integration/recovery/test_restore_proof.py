"""A backup is proven by restoring it: pass only when the copy is what was saved, and nothing stays behind."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg import sql

from squizzle.backups.dump import take_dump
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.notes import read_notes
from squizzle.backups.proofs import ProofKind, Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.errors import InvalidInputError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.programs import ClientPrograms
from squizzle.recovery.restore_proof import prove_by_restore
from squizzle.recovery.scratch import PREFIX
from squizzle.recovery.scratch_copy import ScratchPlace
from tests.integration.conftest import SERVERS
from tests.support.processes import wait_until
from tests.support.scratch import new_database, new_role
from tests.support.tally import Kind, note_strike

OURS = ScratchPlace()


@pytest.fixture(scope="module")
def saved(
    access: ServerAccess, programs: ClientPrograms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[FolderStore, Backup, str]]:
    """A backup of a database with an owner of its own: (store, backup, owner)."""
    store = FolderStore(tmp_path_factory.mktemp("store"))
    with (
        connect(access, "postgres", purpose="test") as control,
        new_role(control, sql.SQL("")) as owner,
        new_database(control, sql.SQL("TEMPLATE template0 ENCODING 'UTF8'"), prefix="proven") as name,
    ):
        with connect(access, name, purpose="test") as session:
            session.execute("CREATE TABLE users AS SELECT n AS id, md5(n::text) AS name FROM generate_series(1, 900) n")
            session.execute(sql.SQL("ALTER TABLE users OWNER TO {}").format(sql.Identifier(owner)))
        yield store, take_dump(access, name, store, programs, backup_id="b1"), owner


def ours_on(control: Connection) -> list[str]:
    rows = control.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", (PREFIX,))
    return [row[0] for row in rows]


def test_on_a_server_of_our_own_the_roles_are_made_and_every_row_is_compared(
    saved: tuple[FolderStore, Backup, str],
) -> None:
    store, backup, _owner = saved

    proof = prove_by_restore(store, backup, OURS, by="ann")

    assert (proof.verdict, proof.sentences) == (Verdict.PASS, ())
    assert proof.details["rows"] == "900"
    assert proof.details["server"].startswith(f"an embedded PostgreSQL {backup.server_version // 10000}")
    assert read_notes(store, "b1").last(ProofKind.RESTORE) is not None


def test_on_a_named_server_nothing_stays(
    saved: tuple[FolderStore, Backup, str], access: ServerAccess, control: Connection
) -> None:
    store, backup, _owner = saved
    control.execute(f"CREATE DATABASE {PREFIX}0badc0de__restored")  # what a killed test left

    proof = prove_by_restore(store, backup, ScratchPlace(server=access), by="ann")

    assert proof.verdict is Verdict.PASS
    assert ours_on(control) == []


def test_a_copy_that_is_not_what_was_saved_fails_with_the_difference(
    saved: tuple[FolderStore, Backup, str], access: ServerAccess, tmp_path: Path
) -> None:
    """The files are as the manifest says, but the rows are not: only a restore finds that."""
    store, backup, _owner = saved
    users = backup.fingerprint.tables[0]
    wrong = replace(backup.fingerprint, tables=(replace(users, rows=901),))
    other = FolderStore(tmp_path)
    (tmp_path / "b1").symlink_to(store.path_of(backup))
    lying = replace(backup, digest=wrong)

    proof = prove_by_restore(other, lying, ScratchPlace(server=access), by="ann")

    assert proof.verdict is Verdict.FAIL
    assert proof.sentences == ("public.users: 900 rows, expected 901 rows",)


def test_a_damaged_file_fails_before_anything_is_restored(
    saved: tuple[FolderStore, Backup, str], access: ServerAccess, control: Connection, tmp_path: Path
) -> None:
    store, backup, _owner = saved
    other = FolderStore(tmp_path)
    with other.receive("b1") as incoming:
        for file in backup.files:
            (incoming.folder / file.path).parent.mkdir(exist_ok=True)
            (incoming.folder / file.path).write_bytes((store.path_of(backup) / file.path).read_bytes()[:-1])
        incoming.publish(backup)

    proof = prove_by_restore(other, backup, ScratchPlace(server=access), by="ann")

    assert proof.verdict is Verdict.FAIL
    assert "is damaged, nothing was restored" in proof.sentences[0]
    assert ours_on(control) == []


def test_what_the_scratch_server_lacks_is_not_the_backups_fault(
    saved: tuple[FolderStore, Backup, str], tmp_path: Path
) -> None:
    store, backup, _owner = saved
    nobody = ServerAccess(host=str(tmp_path), port=1)
    of_the_future = replace(backup, server_version=990000)

    assert prove_by_restore(store, backup, ScratchPlace(server=nobody), by="x").verdict is Verdict.COULD_NOT_VERIFY
    proof = prove_by_restore(store, of_the_future, OURS, by="x")
    assert proof.verdict is Verdict.COULD_NOT_VERIFY
    assert "there is no PostgreSQL 99 on this machine" in proof.sentences[0]


def test_missing_roles_on_a_named_server_are_could_not_verify(
    access: ServerAccess, programs: ClientPrograms, connection: Connection, tmp_path: Path
) -> None:
    store = FolderStore(tmp_path)
    role = f"gone_{secrets.token_hex(3)}"
    connection.execute(f"CREATE ROLE {role}; CREATE TABLE t (n int); ALTER TABLE t OWNER TO {role}".encode())
    backup = take_dump(access, connection.info.dbname, store, programs, backup_id="b1", kind=BackupKind.SCHEMA)
    connection.execute(f"DROP TABLE t; DROP ROLE {role}".encode())

    named = prove_by_restore(store, backup, ScratchPlace(server=access), by="ann")
    own = prove_by_restore(store, backup, OURS, by="ann")

    assert named.verdict is Verdict.COULD_NOT_VERIFY
    assert role in named.sentences[0]
    assert own.verdict is Verdict.PASS


def test_kinds_that_are_not_restored_alone_say_which_are(saved: tuple[FolderStore, Backup, str]) -> None:
    store, backup, _owner = saved
    with pytest.raises(InvalidInputError, match=r"\(globals\) cannot be restored for a test"):
        prove_by_restore(store, replace(backup, kind=BackupKind.GLOBALS), OURS, by="ann")


@pytest.mark.kills
@pytest.mark.parametrize("address", SERVERS[:1], indirect=True)
def test_a_killed_test_leaves_a_database_that_the_next_one_removes(
    saved: tuple[FolderStore, Backup, str], access: ServerAccess, control: Connection
) -> None:
    store, backup, _owner = saved
    url = f"postgresql:///postgres?host={access.host}&port={access.port}&user={access.user}"
    command = [Path(sys.executable).with_name("squizzle"), "verify-backup", "b1", "--restore", "--url", url]
    victim = subprocess.Popen(
        [*command, "--store", store.address], env={"PATH": os.environ["PATH"]}, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: bool(ours_on(control)), "the copy is being made")
    os.kill(victim.pid, signal.SIGKILL)
    note_strike(Kind.KILL, "verify-backup", "the run itself", cell="the copy is being made")
    victim.wait()
    assert len(ours_on(control)) == 1
    wait_until(lambda: no_run_lives(control), "the server has noticed")

    assert prove_by_restore(store, backup, ScratchPlace(server=access), by="ann").verdict is Verdict.PASS
    assert ours_on(control) == []


def no_run_lives(control: Connection) -> bool:
    """Whether every session of a killed restore test is gone."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'squizzle scratch copy'"
    return control.execute(query).fetchone() == (0,)
