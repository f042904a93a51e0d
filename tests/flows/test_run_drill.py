"""The drill as a Prefect flow: what it returns, what state it ends in, what it publishes, what it refuses."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.states import State
from pydantic import SecretStr

from blocks import BackupBucket, BackupFolder, PostgresDatabase
from flows.run_drill import run_drill
from squizzle.backups.catalogue import verify_files
from squizzle.drills.figures import DrillFigures
from squizzle.drills.records import Detector, DrillReport, DrillRun, DrillScenario, DrillVerdict
from squizzle.errors import IdentityMismatchError, RefusedError
from squizzle.frames.drills import keep_drill, read_drills
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.embedded import ServerAddress
from squizzle.postgres.identity import ExpectedIdentity, Target
from squizzle.proof.digests import digest_database
from squizzle.recovery.evidence import StepState
from squizzle.recovery.scratch import PREFIX
from tasks.backups import damage_backup, take_backup
from tasks.drill_case import DrillCase
from tasks.outcome import report_of
from tasks.reporting import path_of
from tasks.sources import NamedDatabase
from tasks.watched import Sign
from tests.flows.conftest import wait_for_sign
from tests.support.machine import new_machine
from tests.support.ready_drill import ready_drill

SMALL = 0.02


def play(scenario: DrillScenario = DrillScenario.DATA_LOSS, **parameters: Any) -> tuple[State[Any], Any]:
    """The state of the run, and the report of its one disaster, or why there is none."""
    state = run_drill(scenario=scenario, scale=SMALL, return_state=True, **parameters)
    result = report_of(state)
    return state, result.reports[0] if isinstance(result, DrillRun) else result


def artifacts(key: str) -> list[str]:
    with get_client(sync_client=True) as client:
        found = client.request(
            "POST",
            "/artifacts/filter",
            json={"artifacts": ArtifactFilter(key=ArtifactFilterKey(any_=[key])).model_dump(mode="json")},
        )
        return [json.dumps(one["data"]) for one in found.json()]


def leftovers(access: ServerAccess) -> list[str]:
    query = (
        "SELECT datname FROM pg_database WHERE starts_with(datname, %(p)s)"
        " UNION ALL SELECT rolname FROM pg_roles WHERE starts_with(rolname, %(p)s)"
    )
    with connect(access, "postgres", purpose="test") as connection:
        return [row[0] for row in connection.execute(query, {"p": PREFIX})]


def test_drill_on_an_embedded_server_passes_and_publishes_what_it_measured(reports_folder: Path) -> None:
    state, report = play()

    assert isinstance(report, DrillReport), report
    assert report.verdict is DrillVerdict.PASS, report.reasons
    assert state.is_completed()
    wait_for_sign(Sign.DRILLED, "data_loss")
    assert report.recovered_by == "restore_beside"
    assert report.findings.notice is not None
    assert report.findings.notice.by is Detector.FINGERPRINTS
    assert report.findings.detected_in is not None
    assert report.findings.rto is not None
    assert report.findings.rpo is not None
    assert report.evidence.rows_lost is not None
    assert report.evidence.rows_lost > 0  # the application went on writing after the backup
    assert report.evidence.rollback is not None
    assert not report.evidence.rollback.error  # the down script ran,
    assert report.evidence.rollback.remaining  # and the rows did not come back
    assert all(step.state is StepState.DONE for step in report.steps)
    (written,) = reports_folder.iterdir()
    text = written.read_text(encoding="utf-8")
    assert text.startswith("# Disaster drill: PASS")
    (published,) = artifacts("drill-data-loss")
    heading, _, rest = json.dumps(text).partition("\\n\\n")
    # What is published links to what else is; the file does not.
    assert published.startswith(f"{heading}\\n\\nMore: [every table](")
    assert published.endswith(rest)
    assert artifacts("drill-data-loss-tables")
    assert artifacts("drill-progress")


@pytest.mark.chaos
def test_nothing_runs_after_kill_9_at_any_step() -> None:
    """What runs differs from step to step; that Prefect's API ends, too, is shown with the command (tests/drills)."""
    with new_machine() as machine, ready_drill(SMALL) as drill:
        for step, scenario, servers in (
            ("Make the shop's database", "data_loss", 1),
            ("Disaster: the server is gone", "region_loss", 2),
            ("Fence applications and database", "data_loss", 1),
        ):
            drill.kill_after(step, folder=machine.folder, scenario=scenario)
            assert machine.wait_until_nothing_runs() == [], step
            # Each start removes what the one before left; the last one's is there for whoever wants to look.
            assert len(machine.clusters()) == servers, step


def test_drill_on_a_given_server_leaves_it_as_it_was_and_no_password_in_any_parameter_log_artifact_or_report(
    address: ServerAddress,
    access: ServerAccess,
    server_block: PostgresDatabase,
    encrypted_bucket: BackupBucket,
    reports_folder: Path,
) -> None:
    """Played with a store in a bucket, encrypted, which has secrets of its own; the sandbox's drill takes a folder."""
    secrets = (
        address.read_password(),
        encrypted_bucket.secret_key.get_secret_value(),
        encrypted_bucket.encryption_keys.get_secret_value(),
    )
    with connect(access, "postgres", purpose="test") as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS precious (id int)")
        before = digest_database(connection)

    before_it = earlier_drill()
    keep_drill(encrypted_bucket.open(), before_it, before_it.at)
    settings = reports_folder.parent / "budget.toml"
    settings.write_text('[drills]\nrto = "1ms"\n', encoding="utf-8")

    _state, report = play(server=server_block, store=encrypted_bucket, configuration=settings)

    assert report.verdict is DrillVerdict.FAIL
    assert report.reasons[0].endswith("the budget of [drills] is 0.0 s")
    assert "are the rows of the backup" in report.reasons[1], report.reasons
    costs_are_kept(encrypted_bucket, before_it, report)
    assert leftovers(access) == []
    with connect(access, "postgres", purpose="test") as connection:
        assert digest_database(connection) == before
    assert report.evidence.backup.encryption
    (backup_id,) = encrypted_bucket.open().list_ids()
    assert backup_id == report.evidence.backup.id
    damage_backup.__wrapped__(encrypted_bucket, report.evidence.backup)
    proof = verify_files(encrypted_bucket.open(), report.evidence.backup, by="ann")
    assert "has SHA-256" in proof.sentences[0]
    for secret in secrets:
        assert secret not in repr(report)
        assert all(secret.encode() not in path.read_bytes() for path in reports_folder.iterdir())
    newest = {
        "flow_runs": "START_TIME_DESC",
        "task_runs": "EXPECTED_START_TIME_DESC",
        "logs": "TIMESTAMP_DESC",
        "artifacts": "CREATED_DESC",
    }
    with get_client(sync_client=True) as client:
        for what, order in newest.items():
            found = client.request("POST", f"/{what}/filter", json={"limit": 200, "sort": order}).text
            assert report.run_id in found.replace("-", ""), what
            assert not [secret for secret in secrets if secret in found], what


def earlier_drill() -> DrillFigures:
    """One that the run's is compared with, of which there are too few to say what is usual."""
    return DrillFigures(
        at=datetime.now(UTC) - timedelta(days=30),
        run="00000001",
        scenario="data_loss",
        way="restore_beside",
        source="the example company",
        size_bytes=None,
        rows=4000,
        rto=timedelta(seconds=2),
        rpo=timedelta(seconds=1),
        detected_in=timedelta(seconds=0.5),
        recovered=True,
        verdict="pass",
        version="0.1",
        server_version="18.6",
    )


def costs_are_kept(store: BackupBucket, earlier: DrillFigures, report: DrillReport) -> None:
    """Beside those of drills before, with a table and a picture of all of them."""
    first, own = read_drills(store.open()).figures
    assert first == earlier
    assert (own.run, own.way, own.rto) == (report.run_id, "restore_beside", report.findings.rto)
    assert (own.recovered, own.verdict) == (True, "fail"), "what was found was right, and it took too long"
    assert "1 of 2" in artifacts("drill-data-loss-trend")[-1]
    assert "data:image/png" in artifacts("drill-data-loss-trend-picture")[-1]
    assert path_of(report).with_suffix(".png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.chaos
def test_drill_with_a_backup_of_production_touches_neither_the_database_nor_its_store(
    access: ServerAccess, server_block: PostgresDatabase, store_block: BackupFolder, new_database: str
) -> None:
    with connect(access, new_database, purpose="test") as connection:
        connection.execute(
            "CREATE TABLE sale (id int PRIMARY KEY, note text);"
            " INSERT INTO sale SELECT n, 'note ' || n FROM generate_series(1, 600) AS n; ANALYZE sale"
        )
        before = digest_database(connection)
    source = server_block.model_copy(update={"database": new_database, "environment": "production"})
    source.save("drill-source", overwrite=True)
    source = PostgresDatabase.load("drill-source")
    backup = take_backup.__wrapped__(source, store_block)  # type: ignore[attr-defined]

    _state, report = play(DrillScenario.CORRUPTED_MIGRATION, server=server_block, store=store_block, source=source)

    assert report.verdict is DrillVerdict.PASS, report.reasons
    assert report.source.startswith(f"backup {backup.id} of {new_database}")
    assert report.rows == 600
    with connect(access, new_database, purpose="test") as connection:
        assert digest_database(connection) == before
    assert store_block.open().list_ids() == (backup.id,)
    assert leftovers(access) == []


def test_data_of_a_source_needs_the_store_with_its_backups(server_block: PostgresDatabase) -> None:
    _state, error = play(source=server_block)

    assert isinstance(error, RefusedError)
    assert "choose the Store" in error.hint


@pytest.mark.parametrize("environment", ["production", "testing"])
def test_data_of_production_is_not_drilled_with_while_chaos_is_on(
    monkeypatch: pytest.MonkeyPatch, store_block: BackupFolder, environment: str
) -> None:
    """A command names it, so no form has refused its block."""
    meant = Target(database="shop", expected=ExpectedIdentity(environment=environment))
    case = partial(
        DrillCase,
        scenario=DrillScenario.DATA_LOSS,
        source=NamedDatabase(meant=meant, opens=ServerAccess),
        source_store=store_block,
    )
    case()
    monkeypatch.setenv("SQUIZZLE_CHAOS", "rate=0.1")
    if environment != "production":
        case()
        return
    with pytest.raises(RefusedError, match="chaos is on, and shop is production"):
        case()


def test_block_given_inline_is_refused_because_prefect_stores_parameters_in_clear() -> None:
    inline = PostgresDatabase(
        host="127.0.0.1", database="postgres", user="nobody", password=SecretStr("x"), environment="testing"
    )

    _state, error = play(server=inline)

    assert isinstance(error, RefusedError)
    assert "inline" in error.message


def test_production_server_is_refused(server_block: PostgresDatabase, store_block: BackupFolder) -> None:
    server_block.environment = "production"

    state, error = play(server=server_block, store=store_block)

    assert state.is_failed()
    assert isinstance(error, RefusedError)
    assert "production" in error.message


def test_server_that_is_another_one_than_its_block_says_is_refused(
    server_block: PostgresDatabase, store_block: BackupFolder, access: ServerAccess
) -> None:
    server_block.database_id = "00000000-0000-0000-0000-000000000001"

    _state, error = play(server=server_block, store=store_block)

    assert isinstance(error, IdentityMismatchError)
    assert leftovers(access) == []


def test_given_server_needs_a_place_for_the_backup(server_block: PostgresDatabase) -> None:
    _state, error = play(server=server_block)

    assert isinstance(error, RefusedError)
    assert "Backup Folder" in error.hint


@pytest.mark.parametrize("scale", [0, -1, 101])
def test_scale_out_of_range_is_refused_before_anything_starts(scale: float) -> None:
    state = run_drill(scale=scale, return_state=True)

    assert state.is_failed()
    assert "validation" in (state.message or "").lower()
