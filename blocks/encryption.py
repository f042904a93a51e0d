"""What the blocks of all stores say about encryption."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field, SecretStr

from squizzle.backups.encryption.open_keys import open_keys
from squizzle.backups.open_store import with_keys
from squizzle.backups.settings import KeySettings
from squizzle.backups.store import BackupStore
from squizzle.postgres.secret import Secret


class Encrypting(BaseModel):
    """Fields that name keys; with none of them backups are not encrypted by us."""

    encryption_keys: SecretStr = Field(
        default=SecretStr(""),
        title="Encryption keys",
        description="32 random bytes as base64. Several with spaces between: the first encrypts, all decrypt.",
    )
    encryption_key_file: str = Field(
        default="", title="Encryption key file", description="Instead: a file on the worker, readable for it alone."
    )
    encryption_kms_key: str = Field(
        default="",
        title="Encryption key in AWS KMS",
        description="Instead: its ARN or alias. The worker's account needs kms:GenerateDataKey and kms:Decrypt.",
    )

    def encrypting(self, store: BackupStore) -> BackupStore:
        """The store with these keys, or the store itself without any. No key is looked at before it is needed."""
        keys = self.encryption_keys.get_secret_value()
        settings = KeySettings(
            kms_key=self.encryption_kms_key or None,
            key_file=Path(self.encryption_key_file) if self.encryption_key_file else None,
            keys=Secret(keys) if keys else None,
        )
        return with_keys(store, open_keys(settings))
