"""The only place with a Prefect server: one temporary API for all flow tests."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.testing.utilities import prefect_test_harness
from pydantic import SecretStr

from blocks import BackupBucket, BackupFolder, PostgresDatabase
from squizzle.backups.s3.settings import S3Settings
from squizzle.postgres.access import ServerAccess
from squizzle.postgres.embedded import ServerAddress, drill_settings, find_runtime, throwaway_cluster
from tests.support.buckets import place_in
from tests.support.keys import random_key

# Prefect warns about its own internals; what our code warns about stays an error.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning:prefect")


@pytest.fixture(scope="session", autouse=True)
def prefect_api() -> Iterator[None]:
    """A temporary API with an empty database."""
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


@pytest.fixture
def server_block(address: ServerAddress) -> PostgresDatabase:
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
def store_block(tmp_path: Path) -> BackupFolder:
    """A saved block for a backup folder."""
    name = f"store-{secrets.token_hex(3)}"
    BackupFolder(path=tmp_path / "backups").save(name)
    return BackupFolder.load(name)


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
