"""Folders that are expensive to make, made once and kept: the copied programs, the initdb template."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from squizzle.errors import EmbeddedServerError

from .locking import FileLock

_COUNT = "file_count"

_PATIENCE = timedelta(minutes=5)
"""Another process may be making the same folder; copying 40 MB or initdb takes seconds on the slowest disk."""


def make_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Makes a folder unless it is there and whole; safe when several processes ask at once.

    A folder that lost files is made again: cleaners of the temp folder delete what nobody opened for some days.

    Args:
        folder: The folder wanted; the one above it is made, 0755.
        build: Fills an empty folder (0755) that becomes the wanted one when this returns. A killed build leaves
            nothing behind that is taken for whole.

    Returns:
        The folder.

    Raises:
        EmbeddedServerError: Another process has been making it for five minutes.
    """
    if _is_whole(folder):
        return folder
    _make_readable_folder(folder.parent)
    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    if not lock.acquire(wait=_PATIENCE):
        raise EmbeddedServerError(
            f"process {lock.holder()} has been making {folder} for {_PATIENCE}",
            hint="look at that process; end it where it hangs, then run the same again",
        )
    try:
        if not _is_whole(folder):
            _replace(folder, build)
    finally:
        lock.release()
    return folder


def _replace(folder: Path, build: Callable[[Path], None]) -> None:
    for leftover in folder.parent.glob(f"{folder.name}.unfinished-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    # A new name each time: what a killed process had started to fill it may still be running.
    unfinished = folder.with_name(f"{folder.name}.unfinished-{secrets.token_hex(4)}")
    _make_readable_folder(unfinished)
    build(unfinished)
    (unfinished / _COUNT).write_text(str(_count_files(unfinished)))
    if folder.exists():
        shutil.rmtree(folder)
    unfinished.rename(folder)


def _is_whole(folder: Path) -> bool:
    try:
        expected = int((folder / _COUNT).read_text())
    except (OSError, ValueError):
        return False
    return _count_files(folder) == expected + 1  # itself came after the count


def _count_files(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


def _make_readable_folder(folder: Path) -> None:
    folder.mkdir(mode=0o755, exist_ok=True)
    folder.chmod(0o755)
