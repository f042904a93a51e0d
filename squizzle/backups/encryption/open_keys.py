"""From what a project says about its keys to the keys."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from squizzle.backups.settings import KeySettings
from squizzle.errors import KeyNotUsableError

if TYPE_CHECKING:
    from squizzle.backups.encryption.keys import KeyRing, MasterKey


def open_keys(settings: KeySettings, environ: Mapping[str, str] = os.environ) -> KeyRing | None:
    """The key ring that is meant, None when backups shall not be encrypted. No key is looked at before it is needed.

    Args:
        settings: Where the keys are. A key of KMS goes before those of a file, and that before those of a variable.
        environ: The environment.
    """
    if settings == KeySettings():
        return None
    from squizzle.backups.encryption.keys import KeyRing  # noqa: PLC0415 - cryptography costs 30 ms

    return KeyRing(lambda: tuple(_find(settings, environ)))


def _find(settings: KeySettings, environ: Mapping[str, str]) -> list[MasterKey]:
    from squizzle.backups.encryption.keys import parse_keys, read_key_file  # noqa: PLC0415 - as above

    found: list[MasterKey] = []
    if settings.kms_key is not None:
        from squizzle.backups.encryption.kms import KmsKey  # noqa: PLC0415 - boto3 costs 200 ms

        found += [KmsKey(key) for key in settings.kms_key.split()]
    if settings.key_file is not None:
        found += read_key_file(settings.key_file)
    if settings.key_env is not None:
        text = environ.get(settings.key_env)
        if not text:
            raise KeyNotUsableError(
                f"the keys of the backups shall be in the variable {settings.key_env}, which is not set",
                hint=f"export {settings.key_env}=…",
            )
        found += parse_keys(text, where=f"the variable {settings.key_env}")
    if settings.keys is not None:
        found += parse_keys(settings.keys.reveal(), where="the block")
    return found
