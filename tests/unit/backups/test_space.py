"""Whether a backup fits is told from the last one, and a disk is never filled."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from squizzle.backups.folder_store import FolderStore
from squizzle.backups.rds.records import RdsSpace
from squizzle.backups.records import SIZE_DETAIL, Backup, BackupKind
from squizzle.backups.space import (
    MARGIN,
    RESERVE_BYTES,
    SpaceNeed,
    estimate_need,
    refuse_without_rds_room,
    refuse_without_room,
    restore_need,
    size_words,
    space_watch,
)
from squizzle.errors import InvalidInputError, ToolError


class Store(FolderStore):
    """A folder on a disk with so much room."""

    free: int | None = 0
    work: Path | None = None
    copies = 1

    @property
    def work_folder(self) -> Path | None:
        return self.work

    @property
    def work_copies(self) -> int:
        return self.copies

    def free_bytes(self) -> int:
        return self.free  # type: ignore[return-value]  # a store without a limit says None


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def need(size: int) -> SpaceNeed:
    return SpaceNeed(source_bytes=size, need_bytes=size, basis="a guess")


def test_the_first_backup_may_be_as_big_as_its_source() -> None:
    assert estimate_need(BackupKind.FULL, 1000, None).need_bytes == 1000


def test_the_next_one_is_told_from_the_last_one_in_proportion(backup: Backup) -> None:
    earlier = replace(backup, details={SIZE_DETAIL: str(backup.size_bytes * 10)})

    found = estimate_need(BackupKind.FULL, 5_000_000, earlier)

    assert found.need_bytes == 500_000
    assert found.basis == f"backup {backup.id} took 10%"


@pytest.mark.parametrize("size", [None, "0"])
def test_a_last_one_that_does_not_say_how_big_its_source_was_tells_nothing(backup: Backup, size: str | None) -> None:
    earlier = replace(backup, details={} if size is None else {SIZE_DETAIL: size})

    assert estimate_need(BackupKind.FULL, 700, earlier).need_bytes == 700


@pytest.mark.parametrize("kind", [BackupKind.SCHEMA, BackupKind.GLOBALS])
def test_definitions_need_little_whatever_the_rows_are(kind: BackupKind) -> None:
    assert estimate_need(kind, 10**15, None).need_bytes < 10**8


def test_a_fifth_more_than_the_need_must_be_free_and_something_for_others(store: Store) -> None:
    store.free = round(1_000_000_000 * MARGIN) + RESERVE_BYTES
    refuse_without_room(store, need(1_000_000_000))
    store.free -= 1

    with pytest.raises(InvalidInputError, match=re.escape("needs about 1.0 GB (a guess)")) as caught:
        refuse_without_room(store, need(1_000_000_000))
    assert "1.3 GB are free" in caught.value.message
    assert "--ignore-space" in caught.value.hint


def test_a_store_without_a_limit_has_room(store: Store) -> None:
    store.free = None

    refuse_without_room(store, need(10**18))
    watch = space_watch(store, every=1)
    watch()


def test_what_is_sent_away_needs_room_here_first(store: Store, tmp_path: Path) -> None:
    store.free, store.work = None, tmp_path
    stream = replace(need(10**18), local_bytes=0)
    refuse_without_room(store, stream)

    with pytest.raises(
        InvalidInputError, match=rf"B are free in {tmp_path}, where it lies before it is sent"
    ) as caught:
        refuse_without_room(store, replace(stream, local_bytes=10**15))
    assert "1,200.0 TB" in caught.value.message
    assert "TMPDIR" in caught.value.hint
    store.copies = 2
    with pytest.raises(InvalidInputError, match=r"lies, and encrypted once more, before it is sent") as caught:
        refuse_without_room(store, replace(stream, local_bytes=10**15))
    assert "2,400.0 TB" in caught.value.message


def test_a_backup_is_stopped_before_the_disk_is_full(store: Store) -> None:
    store.free = RESERVE_BYTES
    watch = space_watch(store, every=2)
    watch()
    watch()
    store.free -= 1
    watch()

    with pytest.raises(ToolError, match=r"only 67\.1 MB are left .* nothing was published"):
        watch()


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (2069, "2.1 kB"),
        (99_949, "99.9 kB"),
        (100_000, "0.1 MB"),
        (999_949_999, "999.9 MB"),
        (999_950_001, "1.0 GB"),
        (21_474_836_480, "21.5 GB"),
        (1_234_567_890_123, "1.2 TB"),
    ],
)
def test_a_size_is_told_in_the_unit_that_makes_it_readable(size: int, words: str) -> None:
    assert size_words(size) == words


def rds_space(free: int | None, *, growth: int = 0, missing: str = "") -> RdsSpace:
    at = None if free is None else datetime(2026, 3, 1, tzinfo=UTC)
    return RdsSpace(free_bytes=free, measured_at=at, allocated_bytes=1, growth_bytes=growth, missing=missing)


def test_a_restore_to_rds_needs_a_fifth_more_than_tables_and_indexes(backup: Backup) -> None:
    wanted = restore_need(replace(backup, kind=BackupKind.FULL, details={SIZE_DETAIL: "10000000"}))
    assert wanted is not None
    assert wanted.need_bytes == 15_000_000

    assert "18.0 MB are needed" in refuse_without_rds_room(rds_space(18_000_000), wanted, "shop")
    with pytest.raises(
        InvalidInputError, match=r"about 15\.0 MB .* more 18\.0 MB, but 18\.0 MB are free .* steps hours apart"
    ):
        refuse_without_rds_room(rds_space(17_999_999, growth=10**12), wanted, "shop")


def test_room_on_rds_that_nobody_could_tell_is_said_and_not_refused(backup: Backup) -> None:
    unknown = rds_space(None, missing="the account may not do that")
    said = refuse_without_rds_room(unknown, need(10**15), "shop")
    assert said == "could not tell whether there is room on shop: the account may not do that"
    assert restore_need(replace(backup, kind=BackupKind.FULL, details={})) is None
    assert "does not say how big" in refuse_without_rds_room(rds_space(1), None, "shop")
