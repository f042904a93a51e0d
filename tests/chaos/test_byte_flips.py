"""One bit changed in anything that a recovery may need: it is noticed, or what is read is what was written.

Never noticed too late: not by rows that are wrong, and not by hiding what is whole beside it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from squizzle.backups.catalogue import check_chain, read_catalogue, read_removals, remove_backup, verify_files
from squizzle.backups.encryption.store import EncryptedStore
from squizzle.backups.files import MANIFEST_NAME, check_files
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.notes import read_notes, write_hold
from squizzle.backups.order import Order
from squizzle.backups.proofs import Hold, Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.retention import Choice
from squizzle.backups.store import BackupStore
from squizzle.backups.taking import take_backup
from squizzle.backups.wal.archive import FolderArchive, WalArchive
from squizzle.backups.wal.check import check_cluster
from squizzle.backups.wal.encrypted import EncryptedArchive
from squizzle.backups.wal.names import lsn_text
from squizzle.backups.wal.transfer import archive_wal, fetch_wal
from squizzle.errors import SquizzleError
from squizzle.postgres.access import connect
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import find_programs
from squizzle.rehearsal.certificate_store import check_certificates, read_certificates, write_certificate
from tests.support.certificates import certificate_of
from tests.support.flips import Artefact, Noticed, flip_everywhere
from tests.support.keys import random_keys
from tests.support.own_server import Server, own_server
from tests.support.tally import dice
from tests.support.wal import SEGMENT_BYTES, SYSTEM, write_segment

pytestmark = pytest.mark.chaos

FILL = """
    CREATE TABLE users AS SELECT n AS id, md5(n::text) AS name FROM generate_series(1, 2000) n;
    CREATE TABLE orders AS SELECT n AS id, 1 + n % 2000 AS buyer FROM generate_series(1, 500) n
"""
CERTIFICATES = 3  # beside a backup
NOW = datetime(2026, 1, 1, tzinfo=UTC)
KINDS = (
    BackupKind.FULL,
    BackupKind.SCHEMA,
    BackupKind.DATA,
    BackupKind.GLOBALS,
    BackupKind.MARK,
    BackupKind.PHYSICAL,
    BackupKind.INCREMENTAL,
)


# --- backups of each kind ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Saved:
    """Stores with a backup of each kind."""

    plain: FolderStore
    encrypted: EncryptedStore
    backups: dict[BackupKind, Backup]
    sealed: Backup


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with own_server("flips") as running:
        with connect(running.access, "postgres", purpose="test") as session:
            session.execute(FILL)
        yield running


@pytest.fixture(scope="module")
def saved(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    plain = FolderStore(tmp_path_factory.mktemp("plain"))
    encrypted = EncryptedStore(FolderStore(tmp_path_factory.mktemp("encrypted")), random_keys())
    order = Order(
        access=server.access,
        target=Target(database="postgres", schema="public"),
        store=plain,
        kind=BackupKind.FULL,
        programs=find_programs(explicit=None, server_major=server.cluster.runtime.major),
    )
    backups = {kind: take_backup(replace(order, kind=kind), suffix=f"{number:06}") for number, kind in enumerate(KINDS)}
    sealed = take_backup(replace(order, store=encrypted), suffix="aaaaaa")
    for store, backup in ((plain, backups[BackupKind.FULL]), (encrypted, sealed)):
        assert verify_files(store, backup, by="ann").verdict is Verdict.PASS
        write_hold(store, Hold(backup_id=backup.id, name="pin", reason="a wish", by="ann", at=NOW))
        for _ in range(CERTIFICATES):
            write_certificate(store, certificate_of(backup))
    old = take_backup(replace(order, kind=BackupKind.SCHEMA), suffix="bbbbbb")
    remove_backup(plain, Choice(backup=old, reasons=()), by="ann", reason="a test", now=NOW)
    return Saved(plain, encrypted, backups, sealed)


def folder_of(store: BackupStore, backup: Backup) -> Path:
    inner = store.inner if isinstance(store, EncryptedStore) else store
    assert isinstance(inner, FolderStore)
    return inner.path_of(backup)


def files_of(store: BackupStore, backup: Backup) -> tuple[Path, ...]:
    folder = folder_of(store, backup)
    stored = [folder / one.path for one in backup.as_stored.files]
    return tuple(path for path in stored if path.stat().st_size)


def restored(store: BackupStore, backup: Backup) -> Callable[[], object]:
    """What a restore begins with: the manifest, the files, their hashes."""

    def read() -> object:
        found = store.read(backup.id)
        with store.fetch(found) as folder:
            check_files(found, folder)
        return found

    return read


def verified(store: BackupStore, backup: Backup) -> Callable[[], object]:
    """What a monthly check does, without any key."""

    def read() -> object:
        before = set(store.texts(f"{backup.id}/notes"))
        proof = verify_files(store, store.read_header(backup.id), by="ann")
        for name in set(store.texts(f"{backup.id}/notes")) - before:
            store.remove_text(f"{backup.id}/notes/{name}")
        if proof.verdict is not Verdict.PASS:
            raise Noticed(proof.sentences)
        return proof.verdict

    return read


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_bit_in_a_backup_is_noticed_before_anything_is_made_of_it(saved: Saved, kind: BackupKind) -> None:
    store, backup = saved.plain, saved.backups[kind]
    manifest = (folder_of(store, backup) / MANIFEST_NAME,)
    artefacts = [Artefact(f"manifest of a backup ({kind})", manifest, restored(store, backup), 60)]
    if files := files_of(store, backup):
        times = 60 if kind in {BackupKind.PHYSICAL, BackupKind.INCREMENTAL} else 120
        artefacts.append(Artefact(f"files of a backup ({kind})", files, restored(store, backup), times))
        artefacts.append(Artefact(f"files of a backup ({kind}), verified", files, verified(store, backup), 20))

    assert [told for one in artefacts for told in flip_everywhere(one, dice(one.name))] == []


def test_a_changed_bit_in_an_encrypted_backup_is_noticed_with_its_key_and_without(saved: Saved) -> None:
    store, backup = saved.encrypted, saved.sealed
    folder = folder_of(store, backup)
    manifests = tuple(path for path in folder.iterdir() if path.is_file())
    files = files_of(store, backup)
    artefacts = (
        Artefact("manifests of an encrypted backup", manifests, restored(store, backup), 200),
        Artefact("files of an encrypted backup", files, restored(store, backup), 200),
        Artefact("files of an encrypted backup, verified", files, verified(store, backup), 60),
    )

    assert [told for one in artefacts for told in flip_everywhere(one, dice(one.name))] == []


# --- what lies beside them ---------------------------------------------------------------------------------------------


def catalogue_of(store: BackupStore, ids: set[str]) -> object:
    """Everything that is known of a store; what is damaged is named, and hides nothing."""
    try:
        entries = read_catalogue(store)
        removals, _ = read_removals(store)
        problems = [*check_chain(store, entries), *(text for one in entries for text in one.notes.damaged)]
        certificates, check = read_certificates(store), check_certificates(store)
    except SquizzleError as exc:
        raise AssertionError(f"one note hides everything: {exc}") from exc
    if {one.id for one in entries} != ids or any(one.backup is None for one in entries):
        raise AssertionError("a backup is hidden by a note")
    if len(certificates.found) < CERTIFICATES - 1:
        raise AssertionError("certificates are hidden by another one")
    problems += [*certificates.damaged, *check.problems]
    if problems:
        raise Noticed(problems)
    return [read_notes(store, one.id) for one in entries], removals, certificates, check


@pytest.mark.parametrize("which", ["plain", "encrypted"])
def test_a_changed_bit_in_a_note_is_noticed_and_hides_nothing(saved: Saved, which: str) -> None:
    store: BackupStore = saved.plain if which == "plain" else saved.encrypted
    backup = saved.backups[BackupKind.FULL] if which == "plain" else saved.sealed
    folder = folder_of(store, backup)
    ids = set(store.list_ids())
    notes = tuple((folder / "notes").iterdir())
    words = "" if which == "plain" else " beside an encrypted backup"
    kinds = {
        "proofs": [path for path in notes if path.name.startswith("proof-")],
        "holds": [path for path in notes if path.name.startswith("hold-")],
        "certificates": [path for path in notes if path.name.startswith("certificate-")],
        "records of removed backups": list((folder.parent / "removed").glob("*.json")),
    }
    artefacts = [
        Artefact(f"{name}{words}", tuple(paths), lambda: catalogue_of(store, ids), 100)
        for name, paths in kinds.items()
        if paths
    ]

    assert len(artefacts) == (4 if which == "plain" else 3)
    assert [told for one in artefacts for told in flip_everywhere(one, dice(one.name))] == []


# --- the write-ahead log -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Log:
    """An archive of some segments and a fork, and where they came from."""

    archive: WalArchive
    place: Path
    names: tuple[str, ...]
    fetched: Path

    def read(self) -> object:
        """All that a recovery would get, and what a check says."""
        contents = []
        for name in self.names:
            target = self.fetched / name
            if not fetch_wal(self.archive, name, target, system_identifier=SYSTEM):
                raise AssertionError(f"{name} is there, and recovery would end before it")
            contents.append(target.read_bytes())
        return contents

    def check(self) -> object:
        found = check_cluster(self.archive, SYSTEM, read=True)
        if found.problems:
            raise Noticed(found.problems)
        return replace(found, timelines=tuple(replace(one, runs=()) for one in found.timelines)), self.read()


@pytest.mark.parametrize("how", ["plain", "compressed", "encrypted"])
def test_a_changed_bit_in_the_archived_log_stops_a_recovery_instead_of_ending_it(tmp_path: Path, how: str) -> None:
    folder = FolderArchive(tmp_path / "store")
    archive = EncryptedArchive(folder, random_keys()) if how == "encrypted" else folder
    paths = [write_segment(tmp_path, number) for number in (1, 2, 3)]
    history = tmp_path / "00000002.history"
    history.write_text(f"1\t{lsn_text(3 * SEGMENT_BYTES + 4711)}\tno recovery target specified\n")
    for path in (*paths, history):
        archive_wal(archive, path, path.name, system_identifier=SYSTEM, compress=how != "plain")
    (tmp_path / "fetched").mkdir()
    place = folder.folder / "wal" / SYSTEM
    log = Log(archive, place, tuple(path.name for path in (*paths, history)), tmp_path / "fetched")
    files = tuple(path for path in place.iterdir() if path.is_file() and path.stat().st_size)
    small = tuple(path for path in files if path.stat().st_size < 1 << 10)
    artefacts = [
        Artefact(f"write-ahead log ({how}), fetched", files, log.read, 100),
        Artefact(f"write-ahead log ({how}), checked", files, log.check, 60),
        *([Artefact(f"hashes of the write-ahead log ({how})", small, log.read, 80)] if small else []),
    ]

    assert [told for one in artefacts for told in flip_everywhere(one, dice(one.name))] == []
    shutil.rmtree(tmp_path / "store")
