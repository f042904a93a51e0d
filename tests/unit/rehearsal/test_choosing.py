"""Which backup a rehearsal restores."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from squizzle.backups.proofs import Proof, ProofKind, Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.recovery.ways import BackupMeans
from squizzle.rehearsal.choosing import choose_backup

NOW = datetime(2025, 3, 1, 13, 0, tzinfo=UTC)


@pytest.fixture
def means(backup: Backup) -> BackupMeans:
    return BackupMeans(id=backup.id, backup=backup)


def choose(*means: BackupMeans, **changed: Any) -> tuple[Backup | None, str]:
    given = {"schema_digest": "l" * 64, "max_age": timedelta(hours=2), "now": NOW} | changed
    choice = choose_backup(means, **given)
    return choice.backup, choice.why


def failed(kind: ProofKind, backup: Backup) -> Proof:
    return Proof(
        backup_id=backup.id, kind=kind, verdict=Verdict.FAIL, at=NOW, duration=timedelta(), by="t", sentences=("bad",)
    )


def test_the_newest_fresh_one_is_taken_and_marks_and_parts_are_passed_over(means: BackupMeans, backup: Backup) -> None:
    part = replace(means, id="part", backup=replace(backup, kind=BackupKind.DATA))
    older = replace(means, id="older", backup=replace(backup, id="older"))

    assert choose(part, means, older) == (backup, f"{backup.id} is 1 h old")
    assert choose() == (None, "the store holds no backup of this database")


def test_one_that_is_not_fit_is_passed_over_and_the_first_reason_is_told(means: BackupMeans, backup: Backup) -> None:
    unfit = {
        "it is 1 h old, more than 1 min": (means, {"max_age": timedelta(minutes=1)}),
        "the schema has changed since it was taken": (means, {"schema_digest": "other"}),
        "a file is missing": (replace(means, problems=("a file is missing",)), {}),
        "its manifest is damaged": (replace(means, backup=None), {}),
        "it has no fingerprints to compare with": (replace(means, backup=replace(backup, digest=None)), {}),
        "a look at it failed: bad": (replace(means, restored=failed(ProofKind.RESTORE, backup)), {}),
    }
    for reason, (one, changed) in unfit.items():
        assert choose(one, **changed) == (None, f"{backup.id}: {reason}")
    newer = replace(backup, id="newer")
    broken = replace(means, id="newer", backup=newer, verified=failed(ProofKind.FILES, newer))
    assert choose(broken, means)[0] == backup
