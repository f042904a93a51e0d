"""Proofs and holds beside a backup: read back as written, and never believed when they were changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squizzle.backups.folder_store import FolderStore
from squizzle.backups.notes import Notes, read_notes, remove_hold, write_hold, write_proof
from squizzle.backups.open_store import open_store
from squizzle.backups.proofs import Hold, Proof, ProofKind, Verdict
from squizzle.backups.store import notes_of
from squizzle.errors import InvalidInputError

AT = datetime(2025, 3, 1, 12, tzinfo=UTC)
PROOF = Proof(
    backup_id="b1",
    kind=ProofKind.RESTORE,
    verdict=Verdict.FAIL,
    at=AT,
    duration=timedelta(milliseconds=1500),
    by="dba@host",
    sentences=("public.users: 3 rows, expected 4",),
    details={"rows": "3"},
)
HOLD = Hold(backup_id="b1", name="rollout-1.4.0", reason="rollout 1.4.0 may need it", by="ci", at=AT)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def test_proofs_and_holds_read_back_newest_first(store: FolderStore) -> None:
    later = replace(PROOF, at=AT + timedelta(microseconds=1), verdict=Verdict.PASS)
    files = replace(PROOF, kind=ProofKind.FILES, at=AT - timedelta(days=1))
    for proof in (PROOF, later, files):
        write_proof(store, proof)
    write_hold(store, HOLD)
    write_hold(store, replace(HOLD, until=AT + timedelta(days=1)))

    found = read_notes(store, "b1")

    assert found.proofs == (later, PROOF, files)
    assert found.last(ProofKind.RESTORE) == later
    assert found.last(ProofKind.FILES) == files
    assert found.holds == (replace(HOLD, until=AT + timedelta(days=1)),)
    assert found.damaged == ()


def test_a_lifted_hold_is_gone_and_lifting_it_twice_is_no_error(store: FolderStore) -> None:
    write_hold(store, HOLD)
    remove_hold(store, "b1", HOLD.name)
    remove_hold(store, "b1", HOLD.name)

    assert read_notes(store, "b1") == Notes()


def test_a_hold_ends_at_its_time() -> None:
    hold = replace(HOLD, until=AT)

    assert hold.holds_at(AT - timedelta(seconds=1))
    assert not hold.holds_at(AT)
    assert HOLD.holds_at(AT + timedelta(days=10_000))


@pytest.mark.parametrize("name", ["", "../x", "a/b", "x" * 101, "ä", "a b"])
def test_a_hold_cannot_leave_its_folder(store: FolderStore, name: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot name a hold"):
        write_hold(store, replace(HOLD, name=name))
    with pytest.raises(InvalidInputError, match="cannot name a hold"):
        remove_hold(store, "b1", name)


@given(data=st.data())
def test_a_flipped_character_is_noticed_or_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    store = FolderStore(tmp_path_factory.mktemp("store"))
    write_proof(store, PROOF)
    ((name, text),) = store.texts(notes_of("b1")).items()
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda character: character != text[place]))
    store.put_text(f"{notes_of('b1')}/{name}", text[:place] + other + text[place + 1 :])

    found = read_notes(store, "b1")

    assert found.proofs == (PROOF,) or (found.proofs == () and len(found.damaged) == 1)


def test_a_note_of_another_backup_is_not_believed(store: FolderStore) -> None:
    write_proof(store, replace(PROOF, backup_id="b2", verdict=Verdict.PASS))
    ((name, text),) = store.texts(notes_of("b2")).items()
    store.put_text(f"{notes_of('b1')}/{name}", text)

    assert read_notes(store, "b1").proofs == ()
    assert "lies beside backup 'b1'" in read_notes(store, "b1").damaged[0]


@pytest.mark.parametrize("address", ["file:///var/backups/my%20shop", "/var/backups/my shop"])
def test_a_folder_is_opened_by_its_address_or_its_path(address: str) -> None:
    assert open_store(address).address == "file:///var/backups/my%20shop"


@pytest.mark.parametrize("address", ["", "ftp://user:secret@host/x", "file://host/x", "gs://bucket"])
def test_what_is_no_address_of_a_store_is_refused_without_repeating_it(address: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        open_store(address)
    assert "secret" not in caught.value.message
    assert "file:///" in caught.value.hint
