"""From a store, or its address, to the archive of the log in it.

Imported for every segment that a server archives, so it imports next to nothing by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from squizzle.backups.store_address import folder_of_address
from squizzle.backups.wal.archive import FolderArchive, WalArchive
from squizzle.errors import InvalidInputError

if TYPE_CHECKING:
    from squizzle.backups.encryption.keys import KeyRing
    from squizzle.backups.store import BackupStore


def open_archive(address: str, keys: KeyRing | None = None) -> WalArchive:
    """The archive in the store of an address. Nothing is asked of it yet.

    Args:
        address: As for `open_store`.
        keys: What its files are encrypted with; None: they are not.

    Raises:
        InvalidInputError: It is no address of a store.
        ToolError: boto3 cannot use what is said about the bucket.
    """
    archive = _plain_archive(address)
    return archive if keys is None else _encrypted(archive, keys)


def _plain_archive(address: str) -> WalArchive:
    folder = folder_of_address(address)
    if folder is not None:
        return FolderArchive(folder)
    scheme = urlsplit(address).scheme
    if scheme == "s3":
        from squizzle.backups.s3.bucket import Bucket  # noqa: PLC0415 - boto3 costs 200 ms
        from squizzle.backups.s3.settings import settings_of  # noqa: PLC0415
        from squizzle.backups.wal.bucket_archive import BucketArchive  # noqa: PLC0415

        return BucketArchive(Bucket(settings_of(address)))
    raise InvalidInputError(
        f"no archive can lie in a store whose address begins with {scheme or 'nothing'!r}",
        hint="write file:///absolute/folder or s3://bucket/prefix",
    )


def _encrypted(archive: WalArchive, keys: KeyRing) -> WalArchive:
    from squizzle.backups.wal.encrypted import EncryptedArchive  # noqa: PLC0415 - cryptography costs 30 ms

    return EncryptedArchive(archive, keys)


def archive_of(store: BackupStore) -> WalArchive:
    """The archive that lies in an open store, beside its backups; encrypted where the store is.

    Raises:
        InvalidInputError: No archive can lie in a store of this kind.
    """
    from squizzle.backups.encryption.store import EncryptedStore  # noqa: PLC0415 - archive-wal does not need it
    from squizzle.backups.folder_store import FolderStore  # noqa: PLC0415

    if isinstance(store, EncryptedStore):
        return _encrypted(archive_of(store.inner), store.keys)
    if isinstance(store, FolderStore):
        return FolderArchive(store.folder)
    from squizzle.backups.s3.store import S3Store  # noqa: PLC0415 - boto3 costs 200 ms
    from squizzle.backups.wal.bucket_archive import BucketArchive  # noqa: PLC0415

    if isinstance(store, S3Store):
        return BucketArchive(store.bucket)
    raise InvalidInputError(f"no archive can lie in {store.address}", hint="use a store that is a folder or a bucket")
