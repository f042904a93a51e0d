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
        address: `file:///folder`, or a folder's path.

    Raises:
        InvalidInputError: It is no address of a store.
    """
    folder = folder_of_address(address)
    if folder is not None:
        return FolderStore(folder)
    # The address itself is not repeated: somebody may have written a password into it.
    raise InvalidInputError(
        f"a store's address cannot begin with {urlsplit(address).scheme or 'nothing'!r}",
        hint="write file:///absolute/folder",
    )
