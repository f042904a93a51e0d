"""Notes that say what only the key of their backup may show."""

from __future__ import annotations

import base64
import io
from typing import IO, cast

from squizzle.backups.encryption.store import EncryptedStore
from squizzle.backups.encryption.stream import DecryptingStream, EncryptingStream
from squizzle.backups.records import Backup
from squizzle.backups.store import BackupStore, refuse_sealed
from squizzle.errors import BackupDamagedError


def encrypt_note(store: BackupStore, backup: Backup, path: str, text: str) -> str:
    """Encrypt a text with the data key of an encrypted backup; only at this path of the store it can be read again.

    Raises:
        KeyNotUsableError: Its key is not here.
    """
    source = io.BytesIO(text.encode())
    stream = io.BufferedReader(EncryptingStream(source, _data_key(store, backup), place=path))
    return base64.b64encode(stream.read()).decode()


def decrypt_note(store: BackupStore, backup: Backup, path: str, encrypted: str) -> str:
    """The text that `encrypt_note` encrypted.

    Raises:
        KeyNotUsableError: Its key is not here.
        BackupDamagedError: It was changed, or belongs elsewhere.
    """
    try:
        source = cast("IO[bytes]", io.BytesIO(base64.b64decode(encrypted, validate=True)))
        stream = DecryptingStream(source, _data_key(store, backup), place=path, what=path)
        return io.BufferedReader(stream).read().decode()
    except ValueError as exc:  # no base64, no UTF-8
        raise BackupDamagedError(
            f"{path} is no encrypted note: {type(exc).__name__}",
            hint="find out who changed it; the backup itself is looked at by `squizzle verify-backup`",
        ) from exc


def _data_key(store: BackupStore, backup: Backup) -> bytes:
    if isinstance(store, EncryptedStore):
        return store.keys.data_key(backup.encryption, backup.id)
    refuse_sealed(backup)
    raise AssertionError("only notes of encrypted backups are encrypted")
