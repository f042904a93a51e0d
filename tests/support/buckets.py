"""Empty buckets of a test's own."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

import boto3

from squizzle.backups.s3.settings import S3Settings
from squizzle.backups.s3.store import S3Store
from tests.support.seaweed import ACCESS_KEY, SECRET_KEY

REGION = "us-east-1"


def make_bucket(endpoint: str, *, locked: bool = False) -> S3Settings:
    """Make a bucket; gives the settings of a store in it that does not try long."""
    bucket = f"tests-{secrets.token_hex(4)}"
    keys = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}
    client = boto3.client("s3", endpoint_url=endpoint, region_name=REGION, **keys)
    client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=locked)
    client.close()
    return S3Settings(
        bucket=bucket,
        endpoint=endpoint,
        region=REGION,
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        attempts=3,
        connect_timeout_s=2,
        read_timeout_s=2,
    )


def place_in(settings: S3Settings, **changes: Any) -> S3Settings:
    """An empty place of its own in the bucket."""
    return replace(settings, prefix=f"of/{secrets.token_hex(4)}", **changes)


def paths_in(store: S3Store) -> set[str]:
    """Everything that lies below the store's prefix."""
    return {held.path for held in store.bucket.list("")}
