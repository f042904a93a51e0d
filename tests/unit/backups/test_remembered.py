"""Whoever tells of a store every minute reads what is new and what counts, and nothing twice."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from squizzle.backups.catalogue import Entry, read_catalogue
from squizzle.backups.memory import Memory
from squizzle.backups.proofs import Verdict
from squizzle.backups.records import Backup
from squizzle.backups.remembered import remembered_catalogue
from squizzle.reports.metrics import newest_backups
from tests.unit.backups.test_freshness import DAY, MINUTE, NOW, Shelf

DAYS = 29


def test_what_was_read_before_is_read_again_only_where_it_counts(
    tmp_path: Path, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf(tmp_path / "store", backup)
    made = [shelf.put(number * DAY, *([Verdict.PASS] if number == 2 else [])) for number in range(1, DAYS + 1)]
    asked: list[str] = []
    header, texts = shelf.store.read_header, shelf.store.texts
    monkeypatch.setattr(shelf.store, "read_header", lambda one: asked.append(one) or header(one))
    monkeypatch.setattr(shelf.store, "texts", lambda one: asked.append(one) or texts(one))
    # As a bucket lists them: also what is no backup any more.
    monkeypatch.setattr(shelf.store, "list_names", lambda: tuple(one.id for one in made))
    file = tmp_path / "memory.json"

    def look(at: datetime = NOW) -> tuple[tuple[Entry, ...], int]:
        asked.clear()
        memory = Memory(file, shelf.store.address)
        return remembered_catalogue(shelf.store, memory, now=at, counts=newest_backups).entries, len(asked)

    cold, requests = look()
    assert (cold, requests) == (read_catalogue(shelf.store), 2 * DAYS)
    warm, requests = look()
    assert requests == 2, "the newest manifest and its notes"
    assert [(one.id, one.notes, one.problems) for one in warm] == [(one.id, one.notes, one.problems) for one in cold]
    assert warm[0] == cold[0]
    assert look(NOW + 61 * MINUTE)[1] == 1 + DAYS

    # Somebody removed the newest behind our back, and damaged the one before it.
    (shelf.store.folder / made[0].id / "manifest.json").unlink()
    (shelf.store.folder / made[1].id / "manifest.json").write_text("{", encoding="utf-8")
    found, _ = look()
    assert found == read_catalogue(shelf.store)[:2] + found[2:]
    assert [found[0].id, found[0].backup] == [made[1].id, None]
    assert len(found) == DAYS - 1
    assert look()[0] == found, "what is damaged is read again each time, and is not remembered as whole"
