"""What a sweep says about backups of what it looks at."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from squizzle.backups.folder_store import FolderStore
from squizzle.backups.notes import write_proof
from squizzle.backups.proofs import Proof, ProofKind, Verdict
from squizzle.backups.records import Backup
from squizzle.postgres.access import Connection
from squizzle.sweep.sweeping import system_identifier
from tests.integration.cli.conftest import Squizzle


@pytest.mark.one_server
def test_backups_are_none_not_known_old_or_fresh(
    squizzle: Squizzle, connection: Connection, database: str, backup: Backup, tmp_path: Path
) -> None:
    def look() -> tuple[dict[str, tuple[str, str]], dict[str, Any]]:
        (found,) = squizzle("health", "--json").document["targets"]
        alerts = {one["name"]: (one["state"], one["detail"]) for one in found["alerts"]}
        return {name: alerts[name] for name in alerts if name.startswith("no ")}, found["metrics"]

    assert look()[0] == {}, "without a store nothing is said of backups"
    store = FolderStore(tmp_path / "store")
    squizzle.configure(f'[backups]\nstore = "file://{store.folder}"\n')
    alerts, metrics = look()
    assert set(alerts) == {"no fresh backup", "no proven restore"}
    assert all(state == "unknown" and "cannot be read" in detail for state, detail in alerts.values())
    assert metrics["backup_age_s"] is None

    store.folder.mkdir()
    alerts, _ = look()
    assert alerts == dict.fromkeys(("no fresh backup", "no proven restore"), ("firing", "there is none"))

    cluster = system_identifier(connection)
    at = datetime.now(UTC) - timedelta(hours=27)
    old = replace(backup, database=database, system_identifier=cluster, started_at=at, files=(), store=store.address)
    old = replace(old, id=f"{at:%Y%m%dT%H%M%SZ}-{database.replace('_', '-')}-1", digest=None)
    with store.receive(old.id) as incoming:
        incoming.publish(replace(old, location=old.id))
    proof = Proof(
        backup_id=old.id, kind=ProofKind.RESTORE, verdict=Verdict.PASS, at=at, duration=timedelta(), by="test"
    )
    write_proof(store, proof)
    alerts, metrics = look()
    assert alerts == {"no fresh backup": ("firing", "the newest is 1 d 3 h old")}
    assert 27 * 3600 <= metrics["restore_proof_age_s"] < 28 * 3600
