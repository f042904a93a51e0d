"""Frames in a store: many small files become few, and no row is lost or told twice whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from squizzle.backups.folder_store import FolderStore
from squizzle.frames.folder import FrameFolder, folder_name

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
MONTH = timedelta(days=30)


class Killed(BaseException):
    """As if the process had ended."""


class HookedStore(FolderStore):
    """A folder where something happens before, or after, it is asked."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.changes = 0
        self.kill_at = 0
        self.after_listing: Callable[[], object] | None = None

    def _change(self) -> None:
        self.changes += 1
        if self.changes == self.kill_at:
            raise Killed

    def put_bytes(self, path: str, content: bytes) -> None:
        self._change()
        super().put_bytes(path, content)

    def remove_files(self, paths: Sequence[str]) -> None:
        for path in paths:  # a service may stop between any two
            self._change()
            super().remove_files([path])

    def list_paths(self, folder: str) -> tuple[str, ...]:
        found = super().list_paths(folder)
        hook, self.after_listing = self.after_listing, None
        if hook is not None:
            hook()
        return found


@pytest.fixture
def store(tmp_path: Path) -> HookedStore:
    return HookedStore(tmp_path)


@pytest.fixture
def folder(store: HookedStore) -> FrameFolder:
    return FrameFolder(store, "sweeps/shops")


def put(folder: FrameFolder, *moments: datetime) -> None:
    for at in moments:
        folder.put(pd.DataFrame({"at": [at, at], "target": ["a", "b"], "x": [float(at.minute), None]}), at)


def tidy(folder: FrameFolder, now: datetime) -> tuple[str, ...]:
    return folder.tidy(folder.pieces(), now, keep=MONTH)


def moments(folder: FrameFolder) -> list[datetime]:
    """Of every row of the first target, as they are read."""
    found = folder.read(NOON - MONTH)
    assert found.problems == ()
    return [one.to_pydatetime() for one in found.frame[found.frame["target"] == "a"]["at"]]


def minutes(hour: int, *which: int) -> list[datetime]:
    return [NOON.replace(hour=hour, minute=minute) for minute in which]


def test_an_ended_hour_becomes_one_file_and_an_ended_day_too(folder: FrameFolder, store: HookedStore) -> None:
    early, late, now = minutes(9, 0, 5, 55), minutes(11, 30, 59), minutes(12, 1)
    put(folder, *late, *early, *now)
    with_more = [*early, *late, *now]

    tidy(folder, NOON + timedelta(minutes=2))
    assert [one.path[:13] for one in folder.pieces()] == [
        "2026-11-26/09", "2026-11-26/11", "2026-11-26/11", "2026-11-26/12",
    ], "the eleventh hour may still get a late one"  # fmt: skip
    assert moments(folder) == with_more
    tidy(folder, NOON + timedelta(days=1))
    (whole,) = store.list_paths("sweeps/shops")
    assert whole.startswith("2026-11-26/day-")
    assert moments(folder) == with_more
    assert list(folder.read(NOON).frame["x"].dropna()) == [1.0]
    hourly = folder.read(NOON - MONTH, every=timedelta(hours=1)).frame
    assert list(hourly["at"].unique()) == [early[-1], late[-1], *now], "the newest of each hour"
    assert len(hourly) == 6

    # One that comes when the day is long over belongs to it all the same.
    put(folder, NOON.replace(hour=23))
    tidy(folder, NOON + timedelta(days=2))
    (whole,) = store.list_paths("sweeps/shops")
    assert moments(folder) == [*with_more, NOON.replace(hour=23)]
    tidy(folder, NOON + MONTH)
    assert store.list_paths("sweeps/shops") == (whole,)
    tidy(folder, NOON + MONTH + timedelta(days=2))
    assert store.list_paths("sweeps/shops") == ()


def test_whoever_is_killed_at_any_change_loses_no_row_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    every = [*minutes(9, 0, 5), *minutes(10, 0, 5, 10)]
    later, kill_at = NOON + timedelta(days=1), 0
    while True:
        kill_at += 1
        store = HookedStore(tmp_path / str(kill_at))
        folder = FrameFolder(store, "sweeps/shops")
        put(folder, *every[:3])
        tidy(folder, NOON)
        put(folder, *every[3:])
        store.changes, store.kill_at = 0, kill_at
        try:
            tidy(folder, NOON)
            tidy(folder, later)
        except Killed:
            assert moments(folder) == every, kill_at
            tidy(folder, later)
            assert moments(folder) == every, kill_at
            assert len(folder.pieces()) == 1, kill_at
        else:
            break
    assert kill_at > 5


def test_two_that_merge_at_the_same_time_lose_nothing(folder: FrameFolder, store: HookedStore) -> None:
    every = minutes(9, 0, 5, 10)
    put(folder, *every[:2])

    def meanwhile() -> None:
        put(folder, every[2])
        tidy(folder, NOON)

    store.after_listing = meanwhile
    tidy(folder, NOON)
    assert moments(folder) == every
    tidy(folder, NOON)
    assert moments(folder) == every

    # Whoever listed before somebody else merged finds everything all the same.
    put(folder, NOON)
    store.after_listing = lambda: tidy(folder, NOON + timedelta(days=1))
    assert moments(folder) == [*every, NOON]


def test_what_is_damaged_is_told_and_put_aside_and_the_rest_goes_on(folder: FrameFolder, store: HookedStore) -> None:
    every = minutes(9, 0, 5, 10)
    put(folder, *every)
    broken = next(one.path for one in folder.pieces() if one.begin == every[1])
    path = store.folder / "sweeps" / "shops" / broken
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])

    found = folder.read(NOON - MONTH)
    assert sorted(set(found.frame["at"])) == [every[0], every[2]]
    (problem,) = found.problems
    assert broken in problem
    (problem,) = tidy(folder, NOON)
    assert f"{broken}.damaged" in problem
    assert tidy(folder, NOON) == ()
    assert moments(folder) == [every[0], every[2]]
    assert sum(not one.is_damaged for one in folder.pieces()) == 1
    tidy(folder, NOON + MONTH + timedelta(days=2))
    assert store.list_paths("sweeps/shops") == ()


def test_what_is_not_ours_stays_and_no_name_leads_elsewhere(folder: FrameFolder, store: HookedStore) -> None:
    for name in ("readme.txt", "2026-11-26/990000-00000000.parquet", "1999-01-01/x.parquet"):
        store.put_bytes(f"sweeps/shops/{name}", b"not yours")

    assert folder.pieces() == ()
    tidy(folder, NOON)
    assert len(store.list_paths("sweeps/shops")) == 3
    assert {folder_name(one) for one in ("..", "a/b", "a.b", "ä b")} == {"%2E%2E", "a%2Fb", "a%2Eb", "%C3%A4%20b"}
