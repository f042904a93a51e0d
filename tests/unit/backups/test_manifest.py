"""The manifest: what is written is read back, and what was changed is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squizzle.backups.files import MANIFEST_NAME, check_files, describe_file, describe_files
from squizzle.backups.manifest import FORMAT_VERSION, from_json, manifest_hash, to_json
from squizzle.backups.records import Backup, BackupFile, BackupKind, PreviousBackup
from squizzle.errors import BackupDamagedError, DatabaseState, InvalidInputError
from squizzle.proof.records import DatabaseDigest, SchemaDigest, SchemaObject, TableDigest

PROMISED = [  # the keys of the command's contract, in its order
    "id",
    "kind",
    "store",
    "location",
    "started_at",
    "duration_ms",
    "size_bytes",
    "sha256",
    "migration_version",
    "lsn",
    "server_version",
    "chain",
]

names = st.text(st.characters(codec="utf-8"), max_size=12)
counts = st.integers(0, 2**63)
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)
times = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-7, minutes=-30))]))
objects = st.builds(SchemaObject, kind=names, name=names, parent=names, strict=hashes, logical=hashes)
digests = st.builds(
    DatabaseDigest,
    schema=st.builds(SchemaDigest, strict=hashes, logical=hashes, objects=st.lists(objects, max_size=3).map(tuple)),
    tables=st.lists(
        st.builds(TableDigest, table=names, rows=counts, digest=names), max_size=3, unique_by=lambda one: one.table
    ).map(tuple),
    sequences=st.dictionaries(names, st.none() | st.integers(-(2**63), 2**63), max_size=3),
)
backups = st.builds(
    Backup,
    id=names,
    kind=st.sampled_from(BackupKind),
    store=names,
    location=names,
    started_at=times,
    duration=st.integers(0, 10**10).map(lambda count: timedelta(milliseconds=count)),
    database=names,
    identity_id=st.none() | names,
    system_identifier=names,
    migration_version=st.none() | names,
    lsn=names,
    server_version=counts,
    client_version=names,
    files=st.lists(st.builds(BackupFile, path=names, size_bytes=counts, sha256=hashes), max_size=3).map(tuple),
    digest=st.none() | digests,
    digest_lsn=names,
    stop_lsn=names,
    timeline=st.none() | counts,
    chain=st.lists(names, max_size=3).map(tuple),
    previous=st.none() | st.builds(PreviousBackup, id=names, manifest_sha256=hashes),
    encryption=st.dictionaries(names, names, max_size=2),
    details=st.dictionaries(names, names, max_size=2),
    not_covered=st.lists(names, max_size=2).map(tuple),
)


@given(backup=backups)
def test_a_manifest_reads_back_as_the_record_it_was_written_from(backup: Backup) -> None:
    assert from_json(to_json(backup), source="manifest.json") == backup


def test_a_manifest_has_the_keys_of_the_contract_first(backup: Backup) -> None:
    document = json.loads(to_json(backup))["manifest"]

    assert list(document)[: len(PROMISED) + 1] == ["format_version", *PROMISED]
    assert document["size_bytes"] == 1_502_048
    assert document["duration_ms"] == 1234
    assert document["started_at"] == "2025-03-01T12:00:00+00:00"
    assert document["sha256"] == backup.sha256


def test_the_hash_of_a_backup_is_over_every_files_path_size_and_hash(backup: Backup) -> None:
    first, second = backup.files
    others = [
        replace(backup, files=(replace(first, path="dump/other"), second)),
        replace(backup, files=(replace(first, size_bytes=1), second)),
        replace(backup, files=(replace(first, sha256="c" * 64), second)),
        replace(backup, files=(first,)),
        replace(backup, files=()),
    ]

    assert len({backup.sha256, *(other.sha256 for other in others)}) == 1 + len(others)


# --- a manifest that was changed -----------------------------------------------------------------------------------


@given(data=st.data())
def test_any_flipped_character_is_refused_or_changes_nothing(backup: Backup, data: st.DataObject) -> None:
    text = to_json(backup)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda character: character != text[place]))

    refused_or_equal(text[:place] + other + text[place + 1 :], backup)


@given(data=st.data())
def test_a_manifest_that_was_cut_or_lost_a_part_is_refused_or_changes_nothing(
    backup: Backup, data: st.DataObject
) -> None:
    text = to_json(backup)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))

    refused_or_equal(text[:start] + text[end:], backup)
    refused_or_equal(text[:start], backup)


def refused_or_equal(text: str, backup: Backup) -> None:
    try:
        found = from_json(text, source="manifest.json")
    except BackupDamagedError:
        return
    assert found == backup


def sealed(document: object) -> str:
    """A manifest with a hash that fits, whatever is in it."""
    text = json.dumps(document, ensure_ascii=False, indent=1)
    return json.dumps({"manifest_sha256": hashlib.sha256(text.encode()).hexdigest(), "manifest": document})


def document_of(backup: Backup) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(to_json(backup))["manifest"]
    return document


def test_a_number_that_was_made_bigger_is_refused(backup: Backup) -> None:
    text = to_json(backup)
    changed = text.replace('"rows": 1500', '"rows": 1501')

    assert changed != text
    with pytest.raises(BackupDamagedError, match="was changed after it was written"):
        from_json(changed, source="manifest.json")


def test_another_layout_of_the_same_text_is_the_same_manifest(backup: Backup) -> None:
    compact = json.dumps(json.loads(to_json(backup)), ensure_ascii=True, separators=(",", ":"))

    assert from_json(compact, source="manifest.json") == backup


@pytest.mark.parametrize("number", [FORMAT_VERSION + 1, 0, "1", None])
def test_another_format_is_refused(backup: Backup, number: object) -> None:
    text = sealed(document_of(backup) | {"format_version": number})

    with pytest.raises(BackupDamagedError, match=f"format {number}, this program reads {FORMAT_VERSION}") as caught:
        from_json(text, source="manifest.json")
    assert "newer" in caught.value.hint


@pytest.mark.parametrize("key", [*PROMISED, "database", "identity_id", "files", "schema", "objects", "tables"])
def test_a_manifest_that_lacks_something_is_refused(backup: Backup, key: str) -> None:
    document = document_of(backup)
    del document[key]
    if key in {"size_bytes", "sha256"}:  # made from the rest
        assert from_json(sealed(document), source="m") == backup
        return

    with pytest.raises(BackupDamagedError, match="m is not a manifest"):
        from_json(sealed(document), source="m")


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "telepathic"},
        {"started_at": "yesterday"},
        {"duration_ms": "long"},
        {"files": [{"path": "x"}]},
        {"files": 7},
        {"tables": []},
        {"tables": {"t": {"rows": 1}}},
        {"objects": [["table", "t"]]},
        {"schema": {"strict": "x"}},
        {"schema": None},
    ],
    ids=str,
)
def test_a_manifest_with_something_strange_in_it_is_refused(backup: Backup, changes: dict[str, object]) -> None:
    with pytest.raises(BackupDamagedError, match="m is not a manifest"):
        from_json(sealed(document_of(backup) | changes), source="m")


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "7", "{}", '{"manifest": {}}', "<html>", '{"manifest_sha256": "x"}']
)
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(BackupDamagedError, match=r"manifest\.json is not a manifest"):
        from_json(text, source="manifest.json")


def test_a_manifest_of_the_first_format_is_still_read(backup: Backup, project_root: Path) -> None:
    text = (project_root / "tests" / "data" / "formats" / "manifest.1.json").read_text(encoding="utf-8")

    assert from_json(text, source="manifest.json") == backup


def test_the_hash_of_a_manifest_is_the_one_that_seals_it(backup: Backup) -> None:
    assert manifest_hash(backup) == json.loads(to_json(backup))["manifest_sha256"]
    assert manifest_hash(replace(backup, lsn="0/0")) != manifest_hash(backup)


def test_a_backup_without_fingerprints_says_so(backup: Backup) -> None:
    with pytest.raises(InvalidInputError, match=r"\(full\) holds no fingerprints") as caught:
        _ = replace(backup, digest=None).fingerprint
    assert "squizzle backups" in caught.value.hint


# --- the files -----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dump").mkdir()
    (tmp_path / "dump" / "toc.dat").write_bytes(b"the table of contents")
    (tmp_path / "dump" / "1.dat.gz").write_bytes(bytes(range(256)) * 10)
    (tmp_path / "dump" / "empty.dat").write_bytes(b"")
    (tmp_path / MANIFEST_NAME).write_text("does not describe itself")
    return tmp_path


def remove(folder: Path) -> str:
    (folder / "dump" / "toc.dat").unlink()
    return "dump/toc.dat is missing"


def add(folder: Path) -> str:
    (folder / "dump" / "evil.sql").write_text("DROP TABLE users")
    return "dump/evil.sql is not in the manifest"


def cut(folder: Path) -> str:
    with (folder / "dump" / "1.dat.gz").open("r+b") as file:
        file.truncate(2559)
    return "dump/1.dat.gz has 2559 bytes, the manifest says 2560"


def empty(folder: Path) -> str:
    (folder / "dump" / "1.dat.gz").write_bytes(b"")
    return "dump/1.dat.gz has 0 bytes, the manifest says 2560"


def flip(folder: Path) -> str:
    content = bytearray((folder / "dump" / "1.dat.gz").read_bytes())
    content[1000] ^= 1
    (folder / "dump" / "1.dat.gz").write_bytes(content)
    return "dump/1.dat.gz has SHA-256"


def swap(folder: Path) -> str:
    (folder / "dump" / "toc.dat").rename(folder / "dump" / "tmp")
    (folder / "dump" / "1.dat.gz").rename(folder / "dump" / "toc.dat")
    (folder / "dump" / "tmp").rename(folder / "dump" / "1.dat.gz")
    return "dump/toc.dat has 2560 bytes, the manifest says 21"


def move(folder: Path) -> str:
    (folder / "dump" / "empty.dat").rename(folder / "empty.dat")
    return "dump/empty.dat is missing; empty.dat is not in the manifest"


def fill(folder: Path) -> str:
    (folder / "dump" / "empty.dat").write_bytes(b"x")
    return "dump/empty.dat has 1 bytes, the manifest says 0"


def test_files_that_are_as_described_pass(backup: Backup, folder: Path) -> None:
    described = replace(backup, files=describe_files(folder))

    assert [file.path for file in described.files] == ["dump/1.dat.gz", "dump/empty.dat", "dump/toc.dat"]
    check_files(described, folder)


@pytest.mark.parametrize("damage", [remove, add, cut, empty, flip, swap, move, fill])
def test_a_file_that_is_not_as_described_is_named(backup: Backup, folder: Path, damage: Callable[[Path], str]) -> None:
    described = replace(backup, files=describe_files(folder))
    named = damage(folder)

    with pytest.raises(BackupDamagedError) as caught:
        check_files(described, folder)
    assert named in caught.value.message
    assert "nothing was restored from it" in caught.value.message
    assert caught.value.hint
    assert caught.value.database_state is DatabaseState.UNTOUCHED


def test_every_damaged_file_is_named(backup: Backup, folder: Path) -> None:
    described = replace(backup, files=describe_files(folder))
    named = [remove(folder), add(folder), flip(folder), fill(folder)]

    with pytest.raises(BackupDamagedError) as caught:
        check_files(described, folder)
    assert all(part in caught.value.message for part in named)


def test_a_folder_that_is_gone_misses_every_file(backup: Backup, folder: Path, tmp_path: Path) -> None:
    described = replace(backup, files=describe_files(folder))

    with pytest.raises(BackupDamagedError) as caught:
        check_files(described, tmp_path / "nowhere")
    assert caught.value.message.count("is missing") == 3


def test_a_big_file_is_hashed_whole(tmp_path: Path) -> None:
    content = b"\x07" * (1 << 20) + b"the end"
    (tmp_path / "big").write_bytes(content)

    assert describe_file(tmp_path / "big", tmp_path) == BackupFile(
        path="big", size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
    )


def test_times_keep_their_zone(backup: Backup) -> None:
    there = datetime(2025, 3, 1, 4, 30, 0, 123456, tzinfo=timezone(timedelta(hours=-7, minutes=-30)))

    found = from_json(to_json(replace(backup, started_at=there)), source="m").started_at

    assert found == there
    assert found.utcoffset() == there.utcoffset()
