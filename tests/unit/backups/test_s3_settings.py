"""The address of a bucket: what it may say, and that it never says a secret."""

from __future__ import annotations

import subprocess
import sys

import pytest

from squizzle.backups.s3.settings import S3Settings, settings_of
from squizzle.errors import InvalidInputError


def test_an_address_says_where_and_how() -> None:
    read = settings_of(
        "s3://backups/of%28us%29/shop/?region=eu-central-1&endpoint=https://s3.example:9000&addressing=path"
        "&storage_class=STANDARD_IA&sse=aws:kms&kms_key_id=alias/b&lock_mode=COMPLIANCE&lock_days=30"
    )

    assert read == S3Settings(
        bucket="backups",
        prefix="of(us)/shop",
        region="eu-central-1",
        endpoint="https://s3.example:9000",
        addressing="path",
        storage_class="STANDARD_IA",
        sse="aws:kms",
        kms_key_id="alias/b",
        lock_mode="COMPLIANCE",
        lock_days=30,
    )
    assert read.address == "s3://backups/of(us)/shop"
    assert settings_of("s3://backups").address == "s3://backups"


@pytest.mark.parametrize(
    "address",
    [
        "s3://",
        "s3://Backups",
        "s3://hunter2key:hunter2@backups/shop",
        "s3://backups/a/../b",
        "s3://backups/a//b",
        "s3://backups?secret_key=hunter2",
        "s3://backups?endpoint=https://me:hunter2@host",
        "s3://backups?endpoint=host",
        "s3://backups?sse=none",
        "s3://backups?kms_key_id=alias/b",
        "s3://backups?lock_mode=COMPLIANCE",
        "s3://backups?lock_days=30",
        "s3://backups?lock_mode=COMPLIANCE&lock_days=-1",
        "s3://backups?addressing=none",
    ],
)
def test_what_cannot_be_used_is_refused_without_repeating_a_secret(address: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        settings_of(address)
    assert caught.value.hint
    assert "hunter2" not in caught.value.message


def test_secrets_are_not_shown() -> None:
    assert "hunter2" not in repr(S3Settings(bucket="backups", access_key="a", secret_key="hunter2"))
    with pytest.raises(InvalidInputError, match="half of the credentials"):
        S3Settings(bucket="backups", access_key="a")


def test_boto3_is_loaded_for_a_bucket_alone() -> None:
    code = (
        "import sys; from squizzle.backups.open_store import open_store; open_store('/tmp');"
        "assert 'boto3' not in sys.modules; open_store('s3://backups?region=eu-central-1'); assert 'boto3' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
