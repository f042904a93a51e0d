"""From a store's address to the store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from squizzle.backups.folder_store import FolderStore
from squizzle.backups.store import BackupStore
from squizzle.errors import InvalidInputError


def open_store(address: str) -> BackupStore:
    """Open the store of an address. Nothing is asked of it yet.

    Args:
        address: `file:///folder`, or a folder's path.

    Raises:
        InvalidInputError: It is no address of a store.
    """
    parts = urlsplit(address)
    if not parts.scheme and address:
        return FolderStore(Path(address))
    if parts.scheme == "file" and parts.netloc in {"", "localhost"} and parts.path:
        return FolderStore(Path(unquote(parts.path)))
    # The address itself is not repeated: somebody may have written a password into it.
    raise InvalidInputError(
        f"a store's address cannot begin with {parts.scheme or 'nothing'!r}",
        hint="write file:///absolute/folder",
    )
