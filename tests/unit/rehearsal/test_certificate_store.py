"""Certificates in a store: in a chain that shows what was taken away, and never an alarm about what may go."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from squizzle.backups.catalogue import check_chain, read_catalogue, remove_backup
from squizzle.backups.encryption.store import EncryptedStore
from squizzle.backups.files import MANIFEST_NAME
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.manifest import manifest_hash, to_json
from squizzle.backups.notes import read_notes
from squizzle.backups.records import Backup
from squizzle.backups.retention import Choice
from squizzle.backups.sealed import open_sealed, seal
from squizzle.backups.store import BackupStore, notes_of, previous_backup
from squizzle.errors import InvalidInputError, KeyNotUsableError
from squizzle.postgres.secret import Secret
from squizzle.rehearsal.certificate import certificate_hash, document_of
from squizzle.rehearsal.certificate_store import check_certificates, read_certificates, write_certificate
from squizzle.rehearsal.records import Certificate, CertificateVerdict
from squizzle.rehearsal.signature import is_signed_by
from tests.support.certificates import ISSUED, certificate_of
from tests.support.keys import random_key, ring_of

NOW = datetime(2025, 6, 1, tzinfo=UTC)
Certify = Callable[..., Certificate]


def add(store: BackupStore, backup: Backup, day: int) -> Backup:
    name = f"202503{day:02}T120000Z-shop-aaaaaa"
    with store.receive(name) as incoming:
        (incoming.folder / "toc.dat").write_text(f"rows of day {day}")
        made = replace(
            backup,
            id=name,
            location=name,
            files=incoming.describe(),
            previous=previous_backup(store, backup.database, backup.system_identifier),
        )
        return incoming.publish(made)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture
def backups(store: FolderStore, backup: Backup) -> tuple[Backup, Backup]:
    return add(store, backup, 1), add(store, backup, 2)


@pytest.fixture
def certify(store: FolderStore) -> Certify:
    def certify(backup: Backup, day: int, **more: object) -> Certificate:
        draft = replace(certificate_of(backup), issued_at=ISSUED + timedelta(days=day), **more)  # type: ignore[arg-type]
        return write_certificate(store, draft)

    return certify


@pytest.fixture
def three(certify: Certify, backups: tuple[Backup, Backup]) -> tuple[Certificate, ...]:
    return certify(backups[0], 1), certify(backups[1], 2), certify(backups[0], 3)


def place_of(store: FolderStore, certificate: Certificate) -> Path:
    return store.folder / notes_of(certificate.backup_id) / f"certificate-{certificate.id}.json"


def test_certificates_read_back_newest_first_each_naming_the_one_before(
    store: FolderStore, three: tuple[Certificate, ...], certify: Certify, backups: tuple[Backup, Backup]
) -> None:
    other = certify(backups[0], 4, database="stock", version="0003")

    found = read_certificates(store)

    assert found.found == (other, *reversed(three))
    assert (found.damaged, found.locked) == ((), ())
    names = [(one.previous_id, one.previous_sha256, one.beside) for one in (*three, other)]
    hashes = [certificate_hash(one) for one in three]
    assert names == [("", "", ()), (three[0].id, hashes[0], ()), (three[1].id, hashes[1], ()), ("", "", ())]
    assert read_certificates(store, database="stock").found == (other,)
    assert read_certificates(store, version="0002").found == tuple(reversed(three))
    checked = check_certificates(store)
    assert (checked.count, checked.problems, checked.notes) == (4, (), ())
    assert read_notes(store, backups[0].id).damaged == ()


def test_a_damaged_certificate_is_named_and_hides_no_other(store: FolderStore, three: tuple[Certificate, ...]) -> None:
    place = place_of(store, three[1])
    place.write_text(place.read_text(encoding="utf-8").replace('"proven"', '"failed"'), encoding="utf-8")

    found = read_certificates(store)

    assert found.found == (three[2], three[0])
    (damaged,) = found.damaged
    assert place.name in damaged
    assert "was changed" in damaged
    problems = check_certificates(store).problems
    assert problems[0] == damaged
    assert f"{three[2].id} was written after it" in problems[1]


@pytest.mark.parametrize("change", ["verdict", "backup_sha256", "what is told", "everything", "place"])
def test_a_certificate_that_was_sealed_anew_is_noticed(
    store: FolderStore, three: tuple[Certificate, ...], change: str
) -> None:
    """By whoever knows how a note is sealed, and did not write the whole chain anew."""
    place = place_of(store, three[1])
    document = open_sealed(place.read_text(encoding="utf-8"), "")
    del document["format_version"]
    if change == "place":
        place.rename(place.with_name("certificate-other.json"))
    elif change == "what is told":
        document["verdict"] = "failed"
    elif change == "everything":
        forged = replace(three[1], verdict=CertificateVerdict.FAILED)
        document |= {"verdict": "failed", "certificate": document_of(forged)}
        document["chain"]["sha256"] = certificate_hash(forged)
    else:
        document[change] = document["certificate"][change] = "failed" if change == "verdict" else "0" * 64
    if change != "place":
        place.write_text(seal(document), encoding="utf-8")

    problems = check_certificates(store).problems

    assert three[1].id in problems[0]
    gone = f"certificate {three[1].id} is gone or damaged, and no backup was removed with it"
    another = f"certificate {three[1].id} is not the one that was there when {three[2].id} was written"
    assert [problem.startswith((another, gone)) for problem in problems].count(True) == 1
    assert (another in problems) == (change == "everything")


def test_a_certificate_that_was_taken_out_of_the_chain_is_missed(
    store: FolderStore, three: tuple[Certificate, ...]
) -> None:
    place_of(store, three[0]).unlink()

    (problem,) = check_certificates(store).problems

    assert problem == (
        f"certificate {three[0].id} is gone or damaged, and no backup was removed with it:"
        f" {three[1].id} was written after it"
    )


def test_certificates_that_go_with_their_backup_are_not_missed_and_keep_their_place_in_the_chain(
    store: FolderStore, three: tuple[Certificate, ...], certify: Certify, backups: tuple[Backup, Backup]
) -> None:
    remove_backup(store, Choice(backup=backups[1], reasons=()), by="test", reason="old", now=NOW)

    assert check_certificates(store).problems == ()
    assert check_chain(store, read_catalogue(store)) == ()
    # The first one is named by none that is there, but by the record of the one that went.
    place_of(store, three[0]).unlink()
    (problem,) = check_certificates(store).problems
    assert problem.startswith(f"certificate {three[0].id} is gone")

    newest = certify(backups[0], 4)
    assert newest.previous_id == three[2].id
    remove_backup(store, Choice(backup=backups[0], reasons=()), by="test", reason="old", now=NOW)
    assert read_certificates(store).found == ()


def test_a_backup_that_is_another_now_is_told(store: FolderStore, three: tuple[Certificate, ...]) -> None:
    backup = store.read(three[0].backup_id)
    (store.path_of(backup) / MANIFEST_NAME).write_text(to_json(replace(backup, lsn="0/1")), encoding="utf-8")

    problems = check_certificates(store).problems

    assert sorted(problems) == sorted(
        f"the manifest of backup {backup.id} is not the one that certificate {one.id} is about"
        for one in (three[0], three[2])
    )


def test_two_that_were_written_at_once_are_both_named_by_the_next(
    store: FolderStore, three: tuple[Certificate, ...], certify: Certify, backups: tuple[Backup, Backup], tmp_path: Path
) -> None:
    before = FolderStore(tmp_path / "as it was")
    shutil.copytree(store.folder, before.folder)
    mine = certify(backups[0], 4)
    theirs = write_certificate(before, replace(mine, id="", issued_at=mine.issued_at + timedelta(seconds=1)))
    shutil.copy(place_of(before, theirs), place_of(store, theirs))
    assert mine.previous_id == theirs.previous_id == three[2].id

    checked = check_certificates(store)
    assert checked.problems == ()
    assert "were written at the same time" in checked.notes[0]

    last = certify(backups[0], 5)
    assert last.previous_id == theirs.id
    assert [one.id for one in last.beside] == [mine.id]
    assert check_certificates(store).notes == ()
    place_of(store, mine).unlink()
    assert [mine.id in problem for problem in check_certificates(store).problems] == [True]


def test_a_signed_certificate_is_written_with_the_signature_of_what_it_says_in_the_end(
    store: FolderStore, three: tuple[Certificate, ...]
) -> None:
    key = Secret("k" * 32)

    signed = write_certificate(store, replace(three[2], id="", issued_at=NOW), key=key)

    assert signed.previous_id == three[2].id
    assert is_signed_by(read_certificates(store).found[0], key)


def test_a_certificate_that_is_written_again_is_the_one_that_is_there(
    store: FolderStore, three: tuple[Certificate, ...]
) -> None:
    again = replace(three[1], previous_id="", previous_sha256="")

    assert write_certificate(store, again) == three[1]
    assert len(read_certificates(store).found) == 3
    with pytest.raises(InvalidInputError, match="already, and it says something else"):
        write_certificate(store, replace(again, reasons=()))


def test_a_certificate_needs_a_backup_that_is_there_and_an_id_that_is_a_name(
    store: FolderStore, backups: tuple[Backup, Backup]
) -> None:
    draft = certificate_of(backups[0])
    with pytest.raises(InvalidInputError, match="there is no backup"):
        write_certificate(store, replace(draft, backup_id="other"))
    for name in ("../x", "ä", "x" * 121):
        with pytest.raises(InvalidInputError, match="cannot name a certificate"):
            write_certificate(store, replace(draft, id=name))


def test_beside_an_encrypted_backup_only_its_key_shows_what_was_proven(store: FolderStore, backup: Backup) -> None:
    encrypted = EncryptedStore(store, ring_of(random_key()))
    made = add(encrypted, backup, 1)
    draft = replace(certificate_of(made), backup_sha256=manifest_hash(made))
    first = write_certificate(encrypted, draft)
    second = write_certificate(encrypted, replace(draft, issued_at=NOW))

    assert read_certificates(encrypted).found == (second, first)
    text = place_of(store, first).read_text(encoding="utf-8")
    for secret in ("orders", "UPDATE", first.identity_id):
        assert secret not in text
    for keyless in (store, EncryptedStore(store, ring_of(random_key()))):
        found = read_certificates(keyless)
        assert (found.found, found.damaged, len(found.locked)) == ((), (), 2)
        assert check_certificates(keyless).problems == ()
        with pytest.raises(KeyNotUsableError):
            write_certificate(keyless, draft)

    # Another's content under this one's name, and one that was never encrypted: without the key neither is believed.
    place = place_of(store, first)
    document = open_sealed(text, "")
    other = open_sealed(place_of(store, second).read_text(encoding="utf-8"), "")
    plain = {name: one for name, one in document.items() if name != "encrypted"} | {"certificate": document_of(first)}
    for forged in (document | {"encrypted": other["encrypted"]}, document | {"encrypted": "ä"}, plain):
        place.write_text(seal({name: one for name, one in forged.items() if name != "format_version"}))
        assert len(read_certificates(encrypted).damaged) == 1
