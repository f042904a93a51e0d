"""A master key that never leaves AWS KMS: it makes data keys and unwraps them for whoever the account lets."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from squizzle.backups.encryption.keys import DataKey
from squizzle.backups.encryption.stream import KEY_BYTES
from squizzle.errors import BackupDamagedError, KeyNotUsableError

PREFIX = "aws-kms:"
_OWNER = "squizzle-backup"
_ATTEMPTS = 5
_OTHER_KEY = frozenset({"IncorrectKeyException"})
_DAMAGED = frozenset({"InvalidCiphertextException"})
# Codes of the KMS API (AWS KMS API Reference) in words, and what to do about each.
_CODES = {
    "AccessDeniedException": ("the account may not use it", "allow kms:GenerateDataKey and kms:Decrypt on the key"),
    "NotFoundException": ("there is no such key", "check its ARN or alias, and the region (AWS_REGION)"),
    "DisabledException": ("it is switched off", "switch it on, then run the same again"),
    "KMSInvalidStateException": ("it cannot be used now", "look at its state: it may be pending deletion; cancel that"),
    "ExpiredTokenException": ("the credentials expired", "get fresh ones, then run the same again"),
    "ThrottlingException": ("the service was asked too often", "run the same again later"),
}


class KmsKey:
    """A symmetric key of AWS KMS.

    Args:
        key: Its ARN, id or alias (`alias/backups`).

    Raises:
        KeyNotUsableError: boto3 finds no region, or cannot use its profile.
    """

    def __init__(self, key: str) -> None:
        self.id = f"{PREFIX}{key}"
        self._key = key
        with self._clear_failures():
            # Its address, region and credentials are found as for any other service of AWS.
            session: Any = boto3.session.Session()
            self._client = session.client(
                "kms",
                config=Config(
                    connect_timeout=10,
                    read_timeout=20,
                    retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
                    user_agent_extra="squizzle",
                ),
            )

    def new_data_key(self, owner: str) -> DataKey:
        """A random data key made by KMS; see `MasterKey.new_data_key`."""
        with self._clear_failures():
            answer = self._client.generate_data_key(
                KeyId=self._key, KeySpec="AES_256", EncryptionContext={_OWNER: owner}
            )
        if len(answer["Plaintext"]) != KEY_BYTES:
            raise KeyNotUsableError(f"{self.id} gave a key of another length", hint="name a symmetric key")
        wrapped = base64.b64encode(answer["CiphertextBlob"]).decode("ascii")
        return DataKey(plain=answer["Plaintext"], wrapped=wrapped, master=f"{PREFIX}{answer['KeyId']}")

    def unwrap(self, wrapped: str, master: str, owner: str) -> bytes | None:
        """A data key; see `MasterKey.unwrap`."""
        if not master.startswith(PREFIX):
            return None
        try:
            sealed = base64.b64decode(wrapped, validate=True)
            with self._clear_failures():
                # KMS refuses what another key wrapped, so a manifest cannot lead us to somebody else's key.
                answer = self._client.decrypt(CiphertextBlob=sealed, KeyId=self._key, EncryptionContext={_OWNER: owner})
        except KeyNotUsableError as exc:
            code = _code_of(exc.__cause__)
            if code in _OTHER_KEY:
                return None
            if code in _DAMAGED:
                raise _changed(owner) from exc
            raise
        except binascii.Error as exc:
            raise _changed(owner) from exc
        return bytes(answer["Plaintext"])

    @contextmanager
    def _clear_failures(self) -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError) as exc:
            code = _code_of(exc)
            reason = f"the service answered {code}" if code else f"boto3 failed ({type(exc).__name__})"
            again = "check network, region and credentials, then run the same again"
            reason, hint = _CODES.get(code, (reason, again))
            raise KeyNotUsableError(f"the key {self.id} cannot be used: {reason}", hint=hint) from exc


def _code_of(error: BaseException | None) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def _changed(owner: str) -> BackupDamagedError:
    return BackupDamagedError(
        f"the key that {owner} brings along was changed, or belongs to something else",
        hint="use another backup; keep this one for finding out what happened to it",
    )
