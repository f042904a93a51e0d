"""Damaging a backup in a bucket on purpose, for drills."""

from __future__ import annotations

from squizzle.backups.s3.store import S3Store
from squizzle.errors import InvalidInputError


def flip_stored_bit(store: S3Store, backup_id: str, folder: str) -> str:
    """Flip one bit in the middle of the largest file of a backup's folder; it is read into memory for that.

    Args:
        store: Where the backup lies.
        backup_id: Which.
        folder: A folder within the backup.

    Returns:
        The file's path within that folder.

    Raises:
        InvalidInputError: The folder holds no file with content.
        ToolError: The bucket fails or refuses; nothing was changed.
    """
    beginning = f"{backup_id}/{folder}/"
    victim = max(store.bucket.list(beginning), key=lambda held: held.size, default=None)
    found = store.bucket.get(victim.path) if victim else None
    if victim is None or found is None or not found[0]:
        raise InvalidInputError(f"{beginning} in {store.address} holds no file to damage", hint="take a backup first")
    content = bytearray(found[0])
    content[len(content) // 2] ^= 0x01
    store.bucket.put(victim.path, bytes(content), is_file=True, instead_of=found[1])
    return victim.path.removeprefix(beginning)
