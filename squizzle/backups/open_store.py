"""From a store's address to the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from squizzle.backups.folder_store import FolderStore
from squizzle.backups.settings import BackupSettings
from squizzle.backups.store import BackupStore
from squizzle.backups.store_address import folder_of_address
from squizzle.errors import InvalidInputError

if TYPE_CHECKING:
    from squizzle.backups.encryption.keys import KeyRing


def open_store(address: str, keys: KeyRing | None = None) -> BackupStore:
    """Open the store of an address. Nothing is asked of it yet.

    Args:
        address: `file:///folder`, a folder's path, or `s3://bucket/prefix`, with options behind `?` (`settings_of`).
        keys: What backups are encrypted with; None: they are not, and those that are cannot be restored.

    Raises:
        InvalidInputError: It is no address of a store.
        ToolError: boto3 cannot use what is said about the bucket.
    """
    return with_keys(_open(address), keys)


def configured_store(settings: BackupSettings) -> Callable[[], BackupStore] | None:
    """Opens the store that `[backups]` names; None where it names none. Its files are not decrypted."""
    address = settings.store
    return None if address is None else lambda: open_store(address)


def with_keys(store: BackupStore, keys: KeyRing | None) -> BackupStore:
    """The store that encrypts with these keys, or the store itself without keys."""
    if keys is None:
        return store
    from squizzle.backups.encryption.store import EncryptedStore  # noqa: PLC0415 - cryptography costs 30 ms

    return EncryptedStore(store, keys)


def _open(address: str) -> BackupStore:
    folder = folder_of_address(address)
    if folder is not None:
        return FolderStore(folder)
    scheme = urlsplit(address).scheme
    if scheme == "s3":
        from squizzle.backups.s3.settings import settings_of  # noqa: PLC0415 - boto3 costs 200 ms
        from squizzle.backups.s3.store import S3Store  # noqa: PLC0415

        return S3Store(settings_of(address))
    # The address itself is not repeated: somebody may have written a password into it.
    raise InvalidInputError(
        f"a store's address cannot begin with {scheme or 'nothing'!r}",
        hint="write file:///absolute/folder or s3://bucket/prefix",
    )
