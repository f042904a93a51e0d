"""What all tests share: where things are, where temporary things go, and one whole backup as a record."""

from __future__ import annotations

import atexit
import gc
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from squizzle.backups.records import Backup, BackupFile, BackupKind
from squizzle.backups.s3.settings import S3Settings
from squizzle.proof.records import DatabaseDigest, SchemaDigest, SchemaObject, TableDigest
from tests.support.memory import move_temp_folder_to_memory
from tests.support.seaweed import seaweed

ROOT = Path(__file__).resolve().parents[1]
# Each of these starts one Prefect, which takes 10 s, for all that is in it.
TOGETHER = ("tests/browser/", "tests/flows/")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "one_server: on one server, and on all only in `make exhaustive`: what it shows is ours"
    )
    # The workers of pytest-xdist inherit it.
    if not hasattr(config, "workerinput") and (folder := move_temp_folder_to_memory()):
        # Registered first, so it runs last: whoever has a folder of its own in there has removed it by then.
        atexit.register(shutil.rmtree, folder)
    # Seven thousand tests and what they import stay until the end; no need to look at them again and again: not while
    # they are collected, which takes a quarter of that time, and not afterwards. At what tests make themselves, not
    # after every 700 objects: a twentieth of their time.
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(50_000)
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return FilesButPrefectTogether(config, log)


class FilesButPrefectTogether(LoadScopeScheduling):
    """A file at a time for each process, but a whole folder where its tests share a Prefect."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((folder for folder in TOGETHER if file.startswith(folder)), file)


@pytest.fixture(scope="session")
def project_root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def shop() -> Path:
    return ROOT / "examples" / "shop"


@pytest.fixture(scope="session")
def shop_digest() -> DatabaseDigest:
    """Two tables, one of them with rows, an index and a sequence."""
    objects = (
        SchemaObject(kind="column", name="public.users.id", parent="public.users", strict="c1", logical="c1"),
        SchemaObject(kind="index", name="public.users_pkey", parent="public.users", strict="i1", logical="i1"),
        SchemaObject(kind="table", name="public.orders", parent="", strict="t1", logical="t1"),
        SchemaObject(kind="table", name="public.users", parent="", strict="t2", logical="t2"),
    )
    return DatabaseDigest(
        schema=SchemaDigest(strict="s" * 64, logical="l" * 64, objects=objects),
        tables=(
            TableDigest(table="public.orders", rows=0, digest="0"),
            TableDigest(table="public.users", rows=1500, digest="-81985529216486896"),
        ),
        sequences={"public.users_id_seq": 1500, "public.orders_id_seq": None},
    )


@pytest.fixture(scope="session")
def backup(shop_digest: DatabaseDigest) -> Backup:
    return Backup(
        id="20250301T120000Z-shop-abcdef",
        kind=BackupKind.FULL,
        store="file:///backups",
        location="20250301T120000Z-shop-abcdef",
        started_at=datetime(2025, 3, 1, 12, 0, tzinfo=UTC),
        duration=timedelta(milliseconds=1234),
        database="shop",
        identity_id="8f14e45f-ceea-467f-a8d1-3d1f3c5b2f10",
        system_identifier="7300000000000000001",
        migration_version="0012",
        lsn="0/1A2B3C4",
        server_version=180006,
        client_version="18.6",
        files=(
            BackupFile(path="dump/3312.dat.gz", size_bytes=1_500_000, sha256="a" * 64),
            BackupFile(path="dump/toc.dat", size_bytes=2048, sha256="b" * 64),
        ),
        digest=shop_digest,
    )


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real S3 server."""
    with seaweed(tmp_path_factory.mktemp("seaweed")) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def bucket(s3_endpoint: str) -> S3Settings:
    """A bucket there; every test takes a place of its own in it."""
    from tests.support.buckets import make_bucket  # noqa: PLC0415 - boto3, for the few tests with a bucket

    return make_bucket(s3_endpoint)
