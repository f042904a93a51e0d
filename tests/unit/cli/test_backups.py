"""The verb `backups`: what a tired operator and a script read, and that nothing goes without a yes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from squizzle.backups.files import MANIFEST_NAME
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.notes import write_hold
from squizzle.backups.proofs import Hold
from squizzle.backups.records import Backup
from squizzle.backups.store import previous_backup
from squizzle.cli.backups import words_for
from squizzle.cli.main import run

PROMISED = ["id", "kind", "store", "location", "started_at", "duration_ms", "size_bytes", "sha256", "migration_version"]
PROMISED += ["lsn", "server_version", "chain"]

Squizzle = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def squizzle(
    store: FolderStore, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Squizzle:
    """Runs the verb on the store; gives the exit code, the JSON document, and standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, Any, str]:
        code = run(["backups", *arguments, "--store", store.address, "--json"])
        printed = capsys.readouterr()
        return code, json.loads(printed.out), printed.err

    return call


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture
def four(store: FolderStore, backup: Backup) -> list[Backup]:
    """Four backups of one database, a day apart, the newest first."""
    now = datetime.now(UTC)
    made = []
    for days in (3, 2, 1, 0):
        at = now - timedelta(days=days, minutes=1)
        name = f"{at:%Y%m%dT%H%M%SZ}-shop-aaaaaa"
        with store.receive(name) as incoming:
            (incoming.folder / "toc.dat").write_text("rows")
            one = replace(
                backup,
                id=name,
                location=name,
                started_at=at,
                files=incoming.describe(),
                previous=previous_backup(store, "shop", backup.system_identifier),
            )
            incoming.publish(one)
        made.append(one)
    return made[::-1]


def test_each_backup_has_the_keys_of_the_contract_and_what_is_known_of_it(
    squizzle: Squizzle, four: list[Backup]
) -> None:
    code, document, _ = squizzle()

    assert code == 0
    assert [one["id"] for one in document["backups"]] == [one.id for one in four]
    assert document["gaps"] == []
    first = document["backups"][0]
    assert list(first)[1 : len(PROMISED) + 1] == PROMISED
    assert 60 <= first["age_s"] < 180
    assert (first["verified"], first["restored"], first["holds"], first["problems"]) == (None, None, [], [])


def test_the_table_says_what_was_never_looked_at(
    four: list[Backup], store: FolderStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["backups", "--store", store.address, "--verify"]) == 0
    lines = capsys.readouterr().out.splitlines()

    assert lines[0].split("  ")[0] == "backup"
    assert re.search(rf"^{four[1].id} +full +shop +24 h +0\.0 kB +0012 +pass, 0 s ago +never$", lines[2])


def test_verify_names_what_is_damaged_and_what_is_gone(
    squizzle: Squizzle, four: list[Backup], store: FolderStore
) -> None:
    assert squizzle("--verify")[0] == 0
    (store.path_of(four[1]) / "toc.dat").write_text("rowz")
    store.remove(four[2].id)

    code, document, err = squizzle("--verify")

    assert code == 7
    assert [one["verified"]["verdict"] for one in document["backups"]] == ["pass", "fail", "pass"]
    assert f"backup {four[2].id} is gone" in document["gaps"][0]
    assert "toc.dat has SHA-256" in err


def test_a_file_that_cannot_be_read_is_could_not_verify(
    squizzle: Squizzle, four: list[Backup], store: FolderStore
) -> None:
    (store.path_of(four[0]) / "toc.dat").unlink()
    (store.path_of(four[0]) / "toc.dat").symlink_to("/proc/self/mem")

    code, document, _ = squizzle("--verify")

    assert code == 10
    assert document["backups"][0]["verified"]["verdict"] == "could_not_verify"


def test_an_empty_store_is_no_error(squizzle: Squizzle) -> None:
    assert squizzle()[:2] == (0, {"backups": [], "gaps": []})


# --- prune ---------------------------------------------------------------------------------------------------------


KEEP_ONE = ("--keep-daily", "1", "--keep-weekly", "0", "--keep-monthly", "0")


def test_prune_changes_nothing_without_a_yes(squizzle: Squizzle, four: list[Backup], store: FolderStore) -> None:
    code, document, _ = squizzle("prune", *KEEP_ONE)

    assert code == 0
    assert document["would_remove"] == [one.id for one in four[1:]]
    assert document["removed"] == []
    assert [one["id"] for one in document["kept"]] == [four[0].id]
    assert document["kept"][0]["reasons"] == ["the newest", "the newest of a day"]
    assert len(store.list_ids()) == 4


def test_prune_removes_with_a_yes_and_cleans_what_killed_runs_left(
    squizzle: Squizzle, four: list[Backup], store: FolderStore
) -> None:
    (store.folder / ".unfinished-x").mkdir()
    squizzle("pin", four[2].id, "--reason", "the audit", "--days", "3")

    code, document, _ = squizzle("prune", *KEEP_ONE, "--yes")

    assert code == 0
    assert document["removed"] == [four[1].id, four[3].id]
    assert document["leftovers"] == [".unfinished-x"]
    assert store.list_ids() == (four[0].id, four[2].id)
    assert squizzle("--verify")[1]["gaps"] == []


def test_an_unpinned_backup_may_go(squizzle: Squizzle, four: list[Backup], store: FolderStore) -> None:
    squizzle("pin", four[2].id, "--reason", "the audit")
    write_hold(store, Hold(backup_id=four[2].id, name="drill", reason="runs", by="x", at=datetime.now(UTC)))
    assert squizzle("unpin", four[2].id)[1] == {"id": four[2].id, "pinned": False, "holds": ["drill"]}

    assert four[2].id not in squizzle("prune", *KEEP_ONE)[1]["would_remove"]


@pytest.mark.parametrize("harm", ["damage", "take away"])
def test_prune_removes_nothing_while_the_store_has_a_problem(
    squizzle: Squizzle, four: list[Backup], store: FolderStore, harm: str
) -> None:
    if harm == "damage":
        (store.path_of(four[1]) / MANIFEST_NAME).write_text("{}")
    else:
        store.remove(four[1].id)
    before = store.list_ids()

    code, document, _ = squizzle("prune", *KEEP_ONE, "--yes")

    assert code == 9
    assert "while the store has a problem" in document["error"]["message"]
    assert store.list_ids() == before
    assert squizzle("prune", *KEEP_ONE)[1]["problems"]


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["backups"], "no store named"),
        (["backups", "--store", "ftp://x"], "a store's address cannot begin with 'ftp'"),
        (["backups", "--verify", "prune"], "an option stands before 'prune'"),
        (["backups", "pin", "nothing", "--reason", "x", "--store", "/nowhere"], "there is no backup 'nothing'"),
        (["backups", "prune", "--keep-daily", "-1", "--store", "/nowhere"], "-1 is not in the range"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)

    assert run(arguments) == 2
    assert message in capsys.readouterr().err


def test_the_store_of_the_project_is_meant_without_an_option(
    four: list[Backup], store: FolderStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "squizzle.toml"
    config.write_text(f'[backups]\nstore = "{store.address}"\nkeep_daily = 2\nkeep_weekly = 0\nkeep_monthly = 0\n')

    assert run(["backups", "prune", "--config", str(config), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["would_remove"] == [one.id for one in four[2:]]


@pytest.mark.parametrize(
    ("age", "words"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (172800, "2 d"), (-7200, "in 2 h")],
)
def test_an_age_has_one_unit(age: int, words: str) -> None:
    assert words_for(timedelta(seconds=age)) == words
