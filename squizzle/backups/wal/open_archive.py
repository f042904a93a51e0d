"""From a store, or its address, to the archive in it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from squizzle.backups.store_address import folder_of_address
from squizzle.backups.wal.archive import FolderArchive, WalArchive
from squizzle.errors import InvalidInputError

if TYPE_CHECKING:
    from squizzle.backups.store import BackupStore


def open_archive(address: str) -> WalArchive:
    """The archive in the store of an address. Nothing is asked of it yet.

    Imported for every segment that a server archives, so it imports boto3 only for a bucket.

    Args:
        address: As for `open_store`.

    Raises:
        InvalidInputError: It is no address of a store.
        ToolError: boto3 cannot use what is said about the bucket.
    """
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


def archive_of(store: BackupStore) -> WalArchive:
    """The archive that lies in an open store, beside its backups.

    Raises:
        InvalidInputError: No archive can lie in a store of this kind.
    """
    from squizzle.backups.folder_store import FolderStore  # noqa: PLC0415 - archive-wal does not need it

    if isinstance(store, FolderStore):
        return FolderArchive(store.folder)
    from squizzle.backups.s3.store import S3Store  # noqa: PLC0415 - boto3 costs 200 ms
    from squizzle.backups.wal.bucket_archive import BucketArchive  # noqa: PLC0415

    if isinstance(store, S3Store):
        return BucketArchive(store.bucket)
    raise InvalidInputError(f"no archive can lie in {store.address}", hint="use a store that is a folder or a bucket")
