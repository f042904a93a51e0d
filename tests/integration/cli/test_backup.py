"""`squizzle backup` as a script sees it: the manifest on standard output, and never a password."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.cli.conftest import Squizzle
from tests.support.keys import random_key

pytestmark = pytest.mark.one_server

PROMISED = ["id", "kind", "store", "location", "started_at", "duration_ms", "size_bytes", "sha256", "migration_version"]
PROMISED += ["lsn", "server_version", "chain"]


def test_a_backup_is_taken_listed_and_verified(squizzle: Squizzle, tmp_path: Path) -> None:
    store = (tmp_path / "store").as_uri()

    done = squizzle("backup", "full", "--store", store, "--json")

    assert done.code == 0, done.err
    manifest = done.document
    assert list(manifest)[1 : len(PROMISED) + 1] == PROMISED
    assert manifest["store"] == store
    listed = squizzle("backups", "--store", store, "--verify", "--json")
    assert listed.code == 0, listed.err
    assert [one["id"] for one in listed.document["backups"]] == [manifest["id"]]
    assert listed.document["backups"][0]["verified"]["verdict"] == "pass"
    proven = squizzle("verify-backup", manifest["id"], "--restore", "--store", store, "--json")
    assert proven.code == 0, proven.err
    assert proven.document["verdict"] == "pass"
    assert proven.document["restored"]["verdict"] == "pass"
    assert "DATABASE_URL is not used for this" in proven.err
    human = squizzle("backup", "schema", "--store", store)
    assert human.code == 0
    assert "schema of" in human.out
    assert "rows and positions of sequences" in human.out


def test_an_encrypted_backup_is_verified_without_its_key_and_restored_with_it(
    squizzle: Squizzle, tmp_path: Path
) -> None:
    store, key, empty = tmp_path / "store", squizzle.place / "backup.key", tmp_path / "empty.toml"
    (squizzle.place / "squizzle.toml").write_text(f'[backups]\nstore = "{store}"\nkey_file = "backup.key"\n')
    empty.write_text(f'[backups]\nstore = "{store}"\n')
    refused = squizzle("backup", "schema", "--json")
    assert refused.code == 2
    assert "backup.key cannot be read" in refused.error["message"]
    text = random_key()
    key.write_text(text)
    key.chmod(0o600)

    done = squizzle("backup", "schema", "--json")

    assert done.code == 0, done.err
    manifest = done.document
    assert manifest["encryption"]["cipher"] == "AES-256-GCM"
    assert manifest["tables"] is None
    without = squizzle("backups", "--verify", "--json", "--config", str(empty))
    assert without.code == 0, without.err
    assert without.document["backups"][0]["verified"]["verdict"] == "pass"
    sealed = squizzle("verify-backup", manifest["id"], "--restore", "--json", "--config", str(empty))
    assert sealed.code == 10
    assert "is encrypted with the key" in sealed.document["restored"]["sentences"][0]
    proven = squizzle("verify-backup", manifest["id"], "--restore", "--json")
    assert (proven.code, proven.document["verdict"]) == (0, "pass"), proven.err
    for one in (done, without, sealed, proven):
        assert text not in one.out + one.err


def test_what_cannot_be_saved_says_why_and_what_to_do(squizzle: Squizzle, tmp_path: Path) -> None:
    assert squizzle("backup", "full", "--json").error["message"] == "no store named"
    assert squizzle("backup", "everything", "--store", "/x").code == 2
    (tmp_path / "file").write_text("")
    refused = squizzle("backup", "full", "--store", str(tmp_path / "file" / "store"), "--json")
    assert refused.code == 2
    assert "cannot be written" in refused.error["message"]
