"""The block for a bucket of backups."""

from __future__ import annotations

from typing import Literal

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from blocks.encryption import Encrypting
from squizzle.backups.s3.settings import S3Settings
from squizzle.backups.store import BackupStore


class BackupBucket(Encrypting, Block):
    """A place in a bucket of S3, or of a server that speaks its protocol, that holds backups."""

    _block_type_name = "Backup Bucket"
    _block_type_slug = "backup-bucket"
    _description = "Backups in S3 or on a server like it, each with a manifest that proves it."

    bucket: str = Field(title="Bucket", description="Its name.")
    prefix: str = Field(default="", title="Prefix", description="A place in the bucket, such as backups/shop.")
    region: str = Field(default="", title="Region", description="Empty: the worker's default.")
    endpoint: str = Field(default="", title="Endpoint", description="https://host:port of a server that is not Amazon.")
    addressing: Literal["auto", "path", "virtual"] = Field(
        default="auto", title="Addressing", description="path where the bucket cannot be part of the host's name."
    )
    storage_class: str = Field(default="", title="Storage class", description="Empty: the bucket's default.")
    encryption: Literal["", "AES256", "aws:kms"] = Field(
        default="", title="Encryption by the service", description="Empty: the bucket's default."
    )
    kms_key_id: str = Field(default="", title="KMS key", description="For aws:kms. Empty: the account's default key.")
    lock_mode: Literal["", "GOVERNANCE", "COMPLIANCE"] = Field(
        default="",
        title="Object Lock",
        description="COMPLIANCE: nobody can remove a backup before its time.",
    )
    lock_days: int = Field(default=0, ge=0, title="Locked for days", description="Goes with the lock.")
    access_key: str = Field(default="", title="Access key", description="Empty: boto3's own search on the worker.")
    secret_key: SecretStr = Field(default=SecretStr(""), title="Secret key", description="Goes with the access key.")

    def settings(self) -> S3Settings:
        """The same without Prefect.

        Raises:
            InvalidInputError: A value cannot be used.
        """
        return S3Settings(
            bucket=self.bucket,
            prefix=self.prefix.strip("/"),
            region=self.region or None,
            endpoint=self.endpoint or None,
            addressing=self.addressing,
            storage_class=self.storage_class or None,
            sse=self.encryption or None,
            kms_key_id=self.kms_key_id or None,
            lock_mode=self.lock_mode or None,
            lock_days=self.lock_days or None,
            access_key=self.access_key or None,
            secret_key=self.secret_key.get_secret_value() or None,
        )

    def open(self) -> BackupStore:
        """The store."""
        from squizzle.backups.s3.store import S3Store  # noqa: PLC0415 - boto3 costs 200 ms

        return self.encrypting(S3Store(self.settings()))
