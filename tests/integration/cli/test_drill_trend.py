"""What drills cost, by the command: `squizzle drill --trend`, and the numbers for Prometheus."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from squizzle.backups.folder_store import FolderStore
from squizzle.drills.figures import DrillFigures
from squizzle.frames.drills import keep_drill
from tests.integration.cli.conftest import Squizzle

AT = datetime(2026, 11, 26, 9, tzinfo=UTC)
FIRST = DrillFigures(
    at=AT,
    run="00000001",
    scenario="data_loss",
    way="restore_beside",
    source="the example company",
    size_bytes=10**9,
    rows=200_000,
    rto=timedelta(seconds=40),
    rpo=timedelta(seconds=30),
    detected_in=timedelta(seconds=1.5),
    recovered=True,
    verdict="pass",
    version="0.1",
    server_version="18.6",
)


def test_what_drills_cost_is_shown_and_written_for_prometheus(offline: Squizzle, tmp_path: Path) -> None:
    place = str(tmp_path / "store")
    nothing = offline("drill", "--trend", "--store", place)
    assert (nothing.code, nothing.out) == (0, "")
    assert "no drill is kept in" in nothing.err
    store = FolderStore(Path(place))
    later = replace(FIRST, at=AT + timedelta(days=30), rto=timedelta(seconds=100), verdict="fail")
    for one in (FIRST, later, replace(FIRST, scenario="locked_database", way="end", rpo=None, rto=None)):
        keep_drill(store, one, one.at)

    shown = offline("drill", "--trend", "--store", place, "--json")
    written = offline("metrics", "--store", place)

    assert shown.code == 0
    first, locked = shown.document["drills"]
    assert first == {
        "scenario": "data_loss",
        "way": "restore_beside",
        "rows_from": 100_000,
        "drills": 2,
        "passed": 1,
        "usual_rto_ms": 70_000,
        "last_rto_ms": 100_000,
        "usual_rpo_ms": 30_000,
        "usual_detected_ms": 1_500,
        "last_at": later.at.isoformat(),
    }
    assert (locked["scenario"], locked["usual_rto_ms"]) == ("locked_database", None)
    numbers = {
        (family.name, *one.labels.values()): one.value
        for family in text_string_to_metric_families(written.out)
        for one in family.samples
        if "drill" in family.name
    }
    assert numbers == {
        ("squizzle_drill_timestamp_seconds", "data_loss"): later.at.timestamp(),
        ("squizzle_drill_timestamp_seconds", "locked_database"): AT.timestamp(),
        ("squizzle_drill_passed", "data_loss"): 0.0,
        ("squizzle_drill_passed", "locked_database"): 1.0,
        ("squizzle_drill_rto_seconds", "data_loss", "restore_beside"): 100.0,
        ("squizzle_drill_rpo_seconds", "data_loss", "restore_beside"): 30.0,
        ("squizzle_drill_detection_seconds", "data_loss", "restore_beside"): 1.5,
        ("squizzle_drill_detection_seconds", "locked_database", "end"): 1.5,
    }


def test_a_store_is_for_a_source_and_a_source_needs_one(offline: Squizzle, tmp_path: Path) -> None:
    for arguments, why in (
        (("--store", str(tmp_path)), "--store is for --source and --trend"),
        (("--source", "nowhere", "--store", str(tmp_path)), "there is no environment 'nowhere'"),
        (("--source", "postgresql://127.0.0.1/shop"), "no store named"),
    ):
        refused = offline("drill", *arguments)
        assert (refused.code, why in refused.err) == (2, True), refused.err
