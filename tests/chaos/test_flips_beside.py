"""One bit changed in what lies beside backups: frames, what is remembered of a store, notes of what was begun."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from squizzle.backups.folder_store import FolderStore
from squizzle.backups.freshness import find_freshness
from squizzle.backups.memory import Memory
from squizzle.backups.proofs import Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.remembered import remembered_catalogue
from squizzle.backups.snapshot.tries import SEEN_DETAIL, Tries, Try
from squizzle.drills.figures import DRILLS, DrillFigures
from squizzle.frames.drills import drill_frame, keep_drill, read_drills
from squizzle.frames.folder import FrameFolder
from squizzle.frames.sweeps import SWEEPS, keep_sweep, read_sweeps
from squizzle.reports.metrics import newest_backups
from tests.support.flips import Artefact, Noticed, flip_everywhere
from tests.support.tally import dice
from tests.unit.backups.test_freshness import DAY, MINUTE, NOW, SHOP, Shelf
from tests.unit.frames.test_moves import BEGIN, sweep_of

pytestmark = pytest.mark.chaos


def told(*artefacts: Artefact) -> list[str]:
    return [one for artefact in artefacts for one in flip_everywhere(artefact, dice(artefact.name))]


def files_below(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(path for path in folder.rglob("*") if path.is_file()))


# --- frames ------------------------------------------------------------------------------------------------------------


def frames_of(store: FolderStore, folder: str, read: Callable[[], object]) -> Callable[[], object]:
    """What is drawn over time, and what merging them would make of it: neither may have other numbers in it."""

    def found() -> object:
        problems, rows = read()  # type: ignore[misc]
        merged = FrameFolder(FolderStore(store.folder), folder)
        # As it is when the day is over: what is damaged is put aside, and put back by whoever changes the bit back.
        pieces = merged.pieces()
        contents = {one.path: (store.folder / folder / one.path).read_bytes() for one in pieces}
        later = merged.tidy(pieces, BEGIN + 3 * DAY)
        after = merged.read(BEGIN - DAY)
        for path in files_below(store.folder / folder):
            path.unlink()
        for name, content in contents.items():
            place = store.folder / folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        if problems or later or after.problems:
            raise Noticed([*problems, *later, *after.problems])
        return rows, after.frame.to_json(date_format="iso")

    return found


def test_a_changed_bit_in_what_sweeps_found_is_noticed_and_never_drawn(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    for number in range(14):
        at = BEGIN + timedelta(minutes=10 * number)
        found = {"a": {"size_bytes": 10.0**9 + number, "full": None}, "b\N{SNOWMAN}": {"lag_s": 0.5}, "gone": None}
        keep_sweep(store, sweep_of(at, **found), at + MINUTE, keep=timedelta(days=9))

    def read() -> object:
        kept = read_sweeps(store, "shops", BEGIN)
        return kept.problems, kept.frame.to_json(date_format="iso")

    files = files_below(tmp_path / SWEEPS)
    assert any(one.name.startswith("09-") for one in files), "an hour that is merged, and single ones"
    assert told(Artefact("frames of sweeps", files, frames_of(store, f"{SWEEPS}/shops", read), 150)) == []


def test_a_changed_bit_in_what_drills_cost_is_noticed_and_makes_no_forecast(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    for number in range(12):
        at = BEGIN + timedelta(minutes=10 * number)
        figures = DrillFigures(
            at=at, run=f"r{number}", scenario="data_loss", verdict="pass", recovered=True, way="undo", rows=1000 + number,
            source="shops", size_bytes=8192, version="0002", server_version="18.6", rto=timedelta(seconds=number), rpo=timedelta(), detected_in=timedelta(seconds=1),
        )  # fmt: skip
        keep_drill(store, figures, at + MINUTE)

    def read() -> object:
        kept = read_drills(store)
        return kept.problems, drill_frame(kept.figures).to_json(date_format="iso")

    assert told(Artefact("frames of drills", files_below(tmp_path / DRILLS), frames_of(store, DRILLS, read), 150)) == []


# --- what is remembered ------------------------------------------------------------------------------------------------


def test_a_changed_bit_in_what_is_remembered_of_a_store_changes_nothing_that_is_told(
    tmp_path: Path, backup: Backup
) -> None:
    shelf = Shelf(tmp_path / "store", backup)
    # Ids that one bit makes another one's, so that a manifest could lie under a stranger's name.
    for number in range(1, 9):
        shelf.put(
            number * timedelta(seconds=1), *([Verdict.PASS] if number == 4 else []), *([Verdict.FAIL] * (number == 1))
        )
        shelf.put(number * timedelta(seconds=1), database="till", kind=BackupKind.INCREMENTAL)
    shops = [SHOP, replace(SHOP, database="till")]
    file = tmp_path / "memory.json"

    def read() -> object:
        content = file.read_bytes() if file.exists() else b""
        found = find_freshness(
            shelf.store, shops, now=NOW, oldest=NOW - DAY, patience=MINUTE, memory=Memory(file, shelf.store.address)
        )
        told = remembered_catalogue(
            shelf.store, Memory(file, shelf.store.address), now=NOW, counts=newest_backups
        ).entries
        if content:
            file.write_bytes(content)
        return found, [(one.id, one.notes, one.problems, one.backup and one.backup.started_at) for one in told]

    read()
    assert json.loads(file.read_text(encoding="utf-8"))["note"]["backups"]
    assert told(Artefact("what is remembered of a store", (file,), read, 400)) == []


# --- what was begun ----------------------------------------------------------------------------------------------------


def test_a_changed_bit_in_the_note_of_a_snapshot_that_was_begun_makes_no_backup_of_it(
    tmp_path: Path, backup: Backup
) -> None:
    store = FolderStore(tmp_path)
    tries = Tries(store, backup.database, "db-ABC")
    for number in range(3):
        details = {"resource_id": "db-ABC", SEEN_DETAIL: "700:700:"}
        draft = replace(backup, id=f"{backup.id[:-6]}{number:06}", kind=BackupKind.RDS, details=details)
        tries.note(Try(draft=draft, resource_id="db-ABC", seen="700:700:"))

    def read() -> object:
        found = tries.unfinished()
        if len(found) < 3:
            raise Noticed("such a snapshot is adopted by nobody")
        return found

    (folder,) = {one.parent for one in files_below(tmp_path)}
    assert told(Artefact("notes of snapshots that were begun", files_below(folder), read, 150)) == []
