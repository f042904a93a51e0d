"""The files of a backup: their hashes, and whether they still are what the manifest says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from squizzle.backups.records import Backup, BackupFile
from squizzle.errors import BackupDamagedError
from squizzle.headway import Unit, stretch

MANIFEST_NAME = "manifest.json"
"""Written last; a backup without one does not exist."""

NOTES_FOLDER = "notes"
"""What became known of a backup after it was published; not part of it."""

_CHUNK = 1 << 20


def describe_file(path: Path, root: Path, *, on_bytes: Callable[[int], None] = lambda _more: None) -> BackupFile:
    """Size and hash of one file of a backup.

    Args:
        path: The file.
        root: The backup's folder.
        on_bytes: Called with the number of bytes of each piece.

    Raises:
        OSError: It cannot be read.
    """
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            on_bytes(len(chunk))
    return BackupFile(path=path.relative_to(root).as_posix(), size_bytes=size, sha256=digest.hexdigest())


def paths_of(root: Path) -> tuple[Path, ...]:
    """Every file below the folder but the manifest and the notes, in the order of their paths."""
    notes = root / NOTES_FOLDER
    paths = (path for path in root.rglob("*") if path.is_file() and path != root / MANIFEST_NAME)
    return tuple(sorted(path for path in paths if notes not in path.parents))


def describe_files(root: Path) -> tuple[BackupFile, ...]:
    """Size and hash of every file of a backup, in the order of their paths."""
    paths = paths_of(root)
    total = sum(path.stat().st_size for path in paths)
    with stretch("reading the files of the backup", unit=Unit.BYTES, total=total) as headway:
        return tuple(describe_file(path, root, on_bytes=headway.add) for path in paths)


def check_files(backup: Backup, root: Path) -> None:
    """Compare every file with the manifest. Nothing is changed.

    `pg_restore` restores some damaged dumps without a word (zstd and lz4 have no checksum), so this comes first.

    Raises:
        BackupDamagedError: Names every file that is missing, changed, or not in the manifest.
    """
    expected = {file.path: file for file in backup.files}
    found = {file.path: file for file in describe_files(root)}
    problems = [_problem(path, expected.get(path), found.get(path)) for path in sorted(expected.keys() | found.keys())]
    named = [problem for problem in problems if problem]
    if named:
        raise BackupDamagedError(
            f"backup {backup.id} in {root} is damaged, nothing was restored from it: {'; '.join(named)}",
            hint="use another backup; keep this one for finding out what damaged it",
        )


def _problem(path: str, expected: BackupFile | None, found: BackupFile | None) -> str:
    if found is None:
        return f"{path} is missing"
    if expected is None:
        return f"{path} is not in the manifest"
    if found.size_bytes != expected.size_bytes:
        return f"{path} has {found.size_bytes} bytes, the manifest says {expected.size_bytes}"
    if found.sha256 != expected.sha256:
        return f"{path} has SHA-256 {found.sha256[:16]}…, the manifest says {expected.sha256[:16]}…"
    return ""
