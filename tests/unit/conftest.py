"""What the tests without a server share: Hypothesis' settings, and one whole backup and its comparison."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings

from squizzle.backups.records import Backup, BackupFile, BackupKind
from squizzle.proof.digests import compare_digests
from squizzle.proof.records import Comparison, DatabaseDigest, SchemaDigest, SchemaObject, TableDigest

# No deadline: a machine that is busy must not fail a test. 50 examples of each keep the folder under five seconds.
settings.register_profile("unit", deadline=None, max_examples=50, database=None)
settings.load_profile("unit")


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
def equal_comparison(shop_digest: DatabaseDigest) -> Comparison:
    return compare_digests(shop_digest, shop_digest)
