"""From a store's address to the archive of the log in it. Imported for every segment, so it imports next to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from squizzle.backups.store_address import folder_of_address
from squizzle.backups.wal.archive import FolderArchive, WalArchive
from squizzle.errors import InvalidInputError

if TYPE_CHECKING:
    from squizzle.backups.encryption.keys import KeyRing


def open_archive(address: str, keys: KeyRing | None = None) -> WalArchive:
    """The archive in the store of an address. Nothing is asked of it yet.

    Args:
        address: Of a folder.
        keys: What its files are encrypted with; None: they are not.

    Raises:
        InvalidInputError: It is no address of a store that can hold an archive.
    """
    folder = folder_of_address(address)
    if folder is None:
        raise InvalidInputError(
            f"no archive can lie in a store whose address begins with {address.partition(':')[0]!r}",
            hint="write file:///absolute/folder",
        )
    if keys is None:
        return FolderArchive(folder)
    from squizzle.backups.wal.encrypted import EncryptedArchive  # noqa: PLC0415 - cryptography costs 30 ms

    return EncryptedArchive(FolderArchive(folder), keys)
