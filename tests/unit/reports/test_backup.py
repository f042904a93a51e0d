"""The report of a backup: what a person must not misread."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from squizzle.backups.proofs import Proof, ProofKind, Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.reports.backup import BackupReport, backup_markdown, trend_frame, trend_picture, trend_table


def proof(backup: Backup, verdict: Verdict, *sentences: str) -> Proof:
    return Proof(
        backup_id=backup.id,
        kind=ProofKind.FILES,
        verdict=verdict,
        at=backup.started_at,
        duration=timedelta(seconds=2),
        by="me",
        sentences=sentences,
    )


def test_a_verified_backup_says_so_and_that_no_restore_was_tried(backup: Backup) -> None:
    report = BackupReport(backup=backup, proof=proof(backup, Verdict.PASS), removed=("old-1",))

    text = backup_markdown(report, trend_frame([backup]))

    assert text.startswith(f"# Backup of shop: files pass\n\n`{backup.id}` in file:///backups\n")
    assert "every file has the SHA-256 of the manifest" in text
    assert f"| Restore tested | not yet: `squizzle verify-backup {backup.id} --restore` |" in text
    assert "| `public.users` | 1,500 |" in text
    assert text.endswith("## Removed, since they are out of date\n\n- `old-1`\n")


@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.COULD_NOT_VERIFY])
def test_a_backup_that_was_not_verified_never_looks_like_one_that_was(backup: Backup, verdict: Verdict) -> None:
    found = proof(backup, verdict, "dump/toc.dat is missing")
    report = BackupReport(backup=backup, proof=found, kept_because="The new backup could not be verified.")

    text = backup_markdown(report, trend_frame([backup]))

    assert verdict.value.upper().replace("_", " ") in text.splitlines()[0]
    assert "every file has the SHA-256" not in text
    assert "do not rely on this backup" in text
    assert "- dump/toc.dat is missing" in text
    assert "## Nothing was removed" in text


def test_the_trend_has_the_newest_first_and_the_change_of_size(backup: Backup) -> None:
    later = replace(
        backup,
        id="later",
        started_at=backup.started_at + timedelta(days=1),
        files=(replace(backup.files[0], size_bytes=backup.size_bytes * 2),),
    )

    lines = trend_table(trend_frame([later, backup])).splitlines()

    assert lines[2:] == [
        "| 2025-03-02 12:00 | 3.0 MB | +100.0 % | 1.2 s | 1,500 |",
        "| 2025-03-01 12:00 | 1.5 MB |  | 1.2 s | 1,500 |",
    ]


def test_the_trend_is_a_picture_even_of_one_backup(backup: Backup) -> None:
    assert trend_picture(trend_frame([backup]), "full backups of shop").startswith(b"\x89PNG")


def test_a_mark_names_its_restore_point_and_no_test_that_it_cannot_have(backup: Backup) -> None:
    mark = replace(backup, kind=BackupKind.MARK, files=(), digest=None, details={"restore_point": "mark-shop-1"})
    trend = trend_frame([mark, replace(mark, id="later")])

    text = backup_markdown(BackupReport(backup=mark, proof=proof(mark, Verdict.PASS)), trend)

    assert "| Restore point | `mark-shop-1` |" in text
    assert "Restore tested" not in text
    assert trend_picture(trend, "marks").startswith(b"\x89PNG")
