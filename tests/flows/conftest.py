"""The only place with a Prefect server: one temporary API for all flow tests."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, FlowRunFilter
from prefect.client.schemas.objects import Artifact
from prefect.client.schemas.responses import SetStateStatus
from prefect.settings import PREFECT_API_SSL_CERT_FILE, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from pydantic import SecretStr

from blocks import BackupBucket, BackupFolder, PostgresDatabase
from sandbox.one_root import VARIABLE, one_root
from squizzle.backups.s3.settings import S3Settings
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.embedded import ServerAddress, drill_settings, find_runtime, throwaway_cluster
from squizzle.recovery.evidence import Step, StepState
from tasks.watched import Sign
from tests.support.buckets import place_in
from tests.support.keys import random_key
from tests.support.processes import wait_until

# Prefect warns about its own internals; what our code warns about stays an error.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning:prefect")


@pytest.fixture(scope="session", autouse=True)
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A temporary API with an empty database, which puts down what it hears in batches, as the sandbox's does."""
    from prefect.testing.utilities import prefect_test_harness  # noqa: PLC0415 - imports the whole server: 2 s

    root = one_root(tmp_path_factory.mktemp("root"))
    # Nobody looks for crashed runs here, and at its end each waits up to a second for the thread that says it lives.
    settings = {PREFECT_API_SSL_CERT_FILE: root, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with pytest.MonkeyPatch.context() as patch, temporary_settings(settings):
        # For the processes that tests start.
        patch.setenv(VARIABLE, root)
        for service in ("TASK_RUN_RECORDER", "EVENT_PERSISTER"):
            patch.setenv(f"PREFECT_SERVER_SERVICES_{service}_READ_BATCH_SIZE", "100")
            patch.setenv(f"PREFECT_SERVER_SERVICES_{service}_BATCH_SIZE", "100")
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        # Prefect's own block types: 1 s, and the tests have only ours.
        patch.setenv("PREFECT_API_BLOCKS_REGISTER_ON_START", "false")
        with prefect_test_harness(server_startup_timeout=120):
            yield


@pytest.fixture(scope="session")
def address() -> Iterator[ServerAddress]:
    """An embedded server that drills can be sent to."""
    runtime = find_runtime()
    with throwaway_cluster("flows", settings=drill_settings(runtime.major, throwaway=True), runtime=runtime) as running:
        yield running


@pytest.fixture(scope="session")
def access(address: ServerAddress) -> ServerAccess:
    """How to reach it."""
    return ServerAccess(host=str(address.socket_folder), port=address.port, user=address.user)


@pytest.fixture(scope="session")
def saved_server_block(address: ServerAddress) -> PostgresDatabase:
    """A saved block for it, reached by password over TCP as a real one would be."""
    block = PostgresDatabase(
        host=address.host,
        port=address.port,
        database="postgres",
        user=address.user,
        password=SecretStr(address.read_password()),
        environment="testing",
    )
    name = f"server-{secrets.token_hex(3)}"
    block.save(name)
    return PostgresDatabase.load(name)


@pytest.fixture
def server_block(saved_server_block: PostgresDatabase) -> PostgresDatabase:
    """The same, and the test may change it here."""
    return saved_server_block.model_copy()


@pytest.fixture
def store_block(tmp_path: Path) -> BackupFolder:
    """A saved block for a backup folder."""
    block = BackupFolder(path=tmp_path / "backups")
    block.save(f"store-{secrets.token_hex(3)}")
    return block


@pytest.fixture
def encrypted_bucket(bucket: S3Settings) -> BackupBucket:
    """A saved block for an empty place in a bucket, with a key of its own."""
    place, name = place_in(bucket), f"store-{secrets.token_hex(3)}"
    BackupBucket(
        bucket=place.bucket,
        prefix=f"/{place.prefix}/",
        region=place.region or "",
        endpoint=place.endpoint or "",
        access_key=place.access_key or "",
        secret_key=SecretStr(place.secret_key or ""),
        encryption_keys=SecretStr(random_key()),
    ).save(name)
    return BackupBucket.load(name)


@pytest.fixture(autouse=True)
def reports_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Reports go where the test can read them."""
    monkeypatch.setenv("SQUIZZLE_REPORTS", str(tmp_path / "reports"))
    return tmp_path / "reports"


@pytest.fixture(scope="module")
def new_database(access: ServerAccess) -> Iterator[str]:
    """An empty database for the tests of one file."""
    name = f"flow_{secrets.token_hex(3)}"
    with connect(access, "postgres", purpose="test") as control:
        control.execute(f"CREATE DATABASE {name}")
        yield name
        control.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(server_block: PostgresDatabase, new_database: str) -> PostgresDatabase:
    """A saved block for it."""
    return block_of(server_block, new_database)


def block_of(server_block: PostgresDatabase, database: str) -> PostgresDatabase:
    """A saved block for a database of the same server."""
    name = f"database-{secrets.token_hex(3)}"
    server_block.model_copy(update={"database": database}).save(name)
    return PostgresDatabase.load(name)


@pytest.fixture
def quick_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are noticed at once."""
    monkeypatch.setattr("tasks.approval._POLL_S", 0.2)


def artifacts_of(run_id: object) -> dict[str, Artifact]:
    """What a run published, by key."""
    query = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
    with get_client(sync_client=True) as client:
        return {one.key or "": one for one in client.read_artifacts(artifact_filter=query)}


def wait_for_sign(sign: Sign, name: str) -> None:
    """Until Prefect has heard of it; events travel behind a run's back."""
    asked = {"filter": {"event": {"name": [sign.value]}, "resource": {"id": [sign.resource(name)]}}}
    with get_client(sync_client=True) as client:
        wait_until(
            lambda: bool(client.request("POST", "/events/filter", json=asked).json()["events"]),
            f"{sign.value} of {name}",
        )


def texts_of(run_id: object) -> list[str]:
    """What a run published, in order."""
    query = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=query)
    return [str(one.data) for one in sorted(found, key=lambda one: str(one.created))]


def paused(client: SyncPrefectClient, title: str) -> list[object]:
    query = FlowRunFilter.model_validate({"state": {"type": {"any_": ["PAUSED"]}}, "name": {"like_": title}})
    return [run.id for run in client.read_flow_runs(flow_run_filter=query, limit=10)]


@contextmanager
def somebody_answers(
    name: str, *answers: dict[str, str], again: dict[str, str] | tuple[dict[str, str], ...] = ()
) -> Iterator[list[str]]:
    """Resumes the run of that name with each answer until one is taken; yields what the server said to the others.

    Args:
        name: Of the run.
        answers: What is answered, one after the other.
        again: What is answered when it asks a second time; each when it asks once more.
    """
    refusals: list[str] = []
    rounds = (again,) if isinstance(again, dict) else again

    def answer(client: SyncPrefectClient, round_: tuple[dict[str, str], ...]) -> None:
        # Each question is one more thing that the API has to do, which keeps the run from coming to its pause.
        wait_until(lambda: bool(paused(client, name)), f"{name} pauses", every_s=0.1)
        (run_id,) = paused(client, name)
        for one in round_:
            wait_until(lambda: _taken(client, run_id, one, refusals), "the answer is heard")  # noqa: B023 - at once

    def answer_all() -> None:
        with get_client(sync_client=True) as client:
            for round_ in (answers, *((one,) for one in rounds)):
                answer(client, round_)

    thread = threading.Thread(target=answer_all)
    thread.start()
    try:
        yield refusals
    finally:
        thread.join()


def _taken(client: SyncPrefectClient, run_id: object, answer: dict[str, str], refusals: list[str]) -> bool:
    result = client.resume_flow_run(run_id, run_input=answer)  # type: ignore[arg-type]
    if result.status is SetStateStatus.ACCEPT:
        return True
    reason = getattr(result.details, "reason", "") or ""
    if "schema not found" in reason:
        return False
    refusals.append(reason)
    return True


def behind(title: str, do: Callable[[], None]) -> Callable[[tuple[Step, ...]], None]:
    """Does something once, when a step of this title is done."""
    done: list[str] = []

    def watch(steps: tuple[Step, ...]) -> None:
        if not done and any(step.title == title and step.state is StepState.DONE for step in steps):
            done.append(title)
            do()

    return watch
