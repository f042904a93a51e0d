"""From a store's address to the store."""

from __future__ import annotations

from urllib.parse import urlsplit

from squizzle.backups.folder_store import FolderStore
from squizzle.backups.store import BackupStore
from squizzle.backups.store_address import folder_of_address
from squizzle.errors import InvalidInputError


def open_store(address: str) -> BackupStore:
    """Open the store of an address. Nothing is asked of it yet.

    Args:
        address: `file:///folder`, a folder's path, or `s3://bucket/prefix`, with options behind `?` (`settings_of`).

    Raises:
        InvalidInputError: It is no address of a store.
        ToolError: boto3 cannot use what is said about the bucket.
    """
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
