"""What a store holds: nothing damaged is hidden, nothing that was taken away goes unnoticed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from squizzle.backups.catalogue import (
    check_chain,
    known_backups,
    read_catalogue,
    remove_backup,
    verify_files,
)
from squizzle.backups.files import MANIFEST_NAME
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.manifest import to_json
from squizzle.backups.notes import read_notes, write_hold
from squizzle.backups.proofs import Hold, ProofKind, Verdict
from squizzle.backups.records import Backup
from squizzle.backups.retention import Choice
from squizzle.backups.store import notes_of, previous_backup
from squizzle.errors import RefusedError

NOW = datetime(2025, 6, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def add(store: FolderStore, backup: Backup, day: int, *, chain: tuple[str, ...] = ()) -> Backup:
    name = f"202503{day:02}T120000Z-shop-aaaaaa"
    with store.receive(name) as incoming:
        (incoming.folder / "toc.dat").write_text(f"rows of day {day}")
        made = replace(
            backup,
            id=name,
            location=name,
            started_at=backup.started_at.replace(day=day),
            chain=chain,
            files=incoming.describe(),
            previous=previous_backup(store, backup.database, backup.system_identifier),
        )
        incoming.publish(made)
    return made


@pytest.fixture
def three(store: FolderStore, backup: Backup) -> tuple[Backup, Backup, Backup]:
    return add(store, backup, 1), add(store, backup, 2), add(store, backup, 3)


def gaps(store: FolderStore) -> tuple[str, ...]:
    return check_chain(store, read_catalogue(store))


def test_the_newest_comes_first_and_an_untouched_store_has_no_gap(
    store: FolderStore, three: tuple[Backup, ...]
) -> None:
    entries = read_catalogue(store)

    assert [entry.backup for entry in entries] == list(reversed(three))
    assert all(entry.problems == () for entry in entries)
    assert gaps(store) == ()


def test_a_damaged_manifest_is_listed_with_its_problem(store: FolderStore, three: tuple[Backup, ...]) -> None:
    (store.path_of(three[1]) / MANIFEST_NAME).write_text("{}")

    entries = read_catalogue(store)

    assert [entry.id for entry in entries] == [one.id for one in reversed(three)]
    assert entries[1].backup is None
    assert "is not a manifest" in entries[1].problems[0]
    assert len(known_backups(entries)) == 2


def test_a_backup_whose_chain_has_a_hole_says_so(store: FolderStore, backup: Backup) -> None:
    full = add(store, backup, 1)
    add(store, backup, 2, chain=(full.id,))
    assert all(entry.problems == () for entry in read_catalogue(store))

    store.remove(full.id)

    assert f"backup {full.id}, which it builds on, is missing" in read_catalogue(store)[0].problems[0]


def test_a_backup_that_was_taken_away_leaves_a_gap(store: FolderStore, three: tuple[Backup, ...]) -> None:
    store.remove(three[1].id)

    (gap,) = gaps(store)

    assert gap.startswith(f"backup {three[1].id} is gone")
    assert three[2].id in gap


def test_a_manifest_that_was_exchanged_for_a_sealed_one_shows(store: FolderStore, three: tuple[Backup, ...]) -> None:
    forged = replace(three[0], migration_version="9999")
    (store.path_of(three[0]) / MANIFEST_NAME).write_text(to_json(forged), encoding="utf-8")

    (gap,) = gaps(store)

    assert gap.startswith(f"the manifest of backup {three[0].id} is not the one")


def test_a_backup_that_was_removed_on_purpose_leaves_no_gap(store: FolderStore, three: tuple[Backup, ...]) -> None:
    for one in three[:2]:
        remove_backup(store, Choice(backup=one, reasons=()), by="ann", reason="out of date", now=NOW)

    assert [entry.id for entry in read_catalogue(store)] == [three[2].id]
    assert gaps(store) == ()


def test_the_record_of_a_removal_counts_only_for_the_manifest_that_was_removed(
    store: FolderStore, three: tuple[Backup, ...]
) -> None:
    forged = replace(three[1], migration_version="9999")
    remove_backup(store, Choice(backup=forged, reasons=()), by="ann", reason="out of date", now=NOW)

    assert "is not the one that was there" in gaps(store)[0]


def test_a_forged_record_of_a_removal_explains_nothing(store: FolderStore, three: tuple[Backup, ...]) -> None:
    remove_backup(store, Choice(backup=three[1], reasons=()), by="ann", reason="out of date", now=NOW)
    (path,) = (store.folder / "removed").iterdir()
    path.write_text(path.read_text().replace("ann", "eve"))

    found = gaps(store)

    assert any("was changed after it was written" in one for one in found)
    assert any("is gone, and there is no record" in one for one in found)


def test_two_backups_made_at_the_same_time_name_the_same_one(store: FolderStore, backup: Backup) -> None:
    first = add(store, backup, 1)
    second = add(store, backup, 2)
    third = replace(second, id="20250302T120000Z-shop-bbbbbb", location="20250302T120000Z-shop-bbbbbb")
    with store.receive(third.id) as incoming:
        incoming.publish(replace(third, files=()))

    assert third.previous is not None
    assert third.previous.id == first.id
    assert gaps(store) == ()


def test_what_retention_keeps_is_never_removed(store: FolderStore, three: tuple[Backup, ...]) -> None:
    with pytest.raises(RefusedError, match="is kept: the newest"):
        remove_backup(store, Choice(backup=three[2], reasons=("the newest",)), by="ann", reason="x", now=NOW)
    write_hold(store, Hold(backup_id=three[0].id, name="drill", reason="a drill runs", by="bob", at=NOW))
    with pytest.raises(RefusedError, match="is held by bob: a drill runs"):
        remove_backup(store, Choice(backup=three[0], reasons=()), by="ann", reason="x", now=NOW)

    assert len(store.list_ids()) == 3
    assert store.texts("removed") == {}


# --- reading the files again ---------------------------------------------------------------------------------------


def test_a_backup_that_is_whole_passes_and_the_proof_lies_beside_it(
    store: FolderStore, three: tuple[Backup, ...]
) -> None:
    proof = verify_files(store, three[0], by="ann", clock=lambda: NOW)

    assert (proof.verdict, proof.sentences) == (Verdict.PASS, ())
    assert proof.details == {"files": "1", "bytes": "13"}
    found = read_notes(store, three[0].id).last(ProofKind.FILES)
    assert found is not None
    assert replace(found, duration=timedelta()) == replace(proof, duration=timedelta())
    assert verify_files(store, three[0], by="ann").verdict is Verdict.PASS  # its own notes do not disturb it


def test_a_damaged_file_fails_by_name(store: FolderStore, three: tuple[Backup, ...]) -> None:
    (store.path_of(three[0]) / "toc.dat").write_text("rows of day 2")

    proof = verify_files(store, three[0], by="ann")

    assert proof.verdict is Verdict.FAIL
    assert "toc.dat has SHA-256" in proof.sentences[0]


def test_a_file_that_cannot_be_read_is_neither_good_nor_bad(store: FolderStore, three: tuple[Backup, ...]) -> None:
    path = store.path_of(three[0]) / "toc.dat"
    path.unlink()
    path.symlink_to("/proc/self/mem")  # reading its beginning fails with EIO, as on a disk that dies

    proof = verify_files(store, three[0], by="ann")

    assert proof.verdict is Verdict.COULD_NOT_VERIFY
    assert "cannot be read" in proof.sentences[0]
    assert store.texts(notes_of(three[0].id))
