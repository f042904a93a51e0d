"""What a store says in numbers."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from squizzle.backups.folder_store import FolderStore
from squizzle.backups.notes import write_proof
from squizzle.backups.proofs import Proof, ProofKind, Verdict
from squizzle.backups.records import Backup
from squizzle.cli.main import run

pytestmark = pytest.mark.one_server


def test_only_a_restore_that_passed_counts_as_proven(
    taken: tuple[FolderStore, Backup], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, backup = taken
    (tmp_path / "squizzle.toml").write_text(f'[backups]\nstore = "{store.address}"\n', encoding="utf-8")
    verb = ["metrics", "--config", str(tmp_path / "squizzle.toml")]

    def numbers() -> dict[str, float]:
        assert run(verb) == 0
        families = text_string_to_metric_families(capsys.readouterr().out)
        found = [one for family in families for one in family.samples]
        assert {one.labels["database"] for one in found if one.labels} == {backup.database}
        return {one.name: one.value for one in found}

    for kind, verdict, day in (
        (ProofKind.FILES, Verdict.PASS, 4),
        (ProofKind.RESTORE, Verdict.FAIL, 3),
        (ProofKind.RESTORE, Verdict.PASS, 2),
        (ProofKind.RESTORE, Verdict.PASS, 1),
    ):
        if day == 2:
            assert "squizzle_restore_proven_timestamp_seconds" not in numbers()
        at = backup.started_at + timedelta(days=day)
        took = timedelta(seconds=day)
        write_proof(store, Proof(backup_id=backup.id, kind=kind, verdict=verdict, at=at, duration=took, by="test"))
    found = numbers()
    assert found["squizzle_backup_timestamp_seconds"] == backup.started_at.timestamp()
    assert found["squizzle_restore_proven_timestamp_seconds"] == (backup.started_at + timedelta(days=2)).timestamp()
    assert found["squizzle_restore_duration_seconds"] == 2
    assert found["squizzle_store_up"] == 1
    assert found["squizzle_rpo_seconds"] >= 0
