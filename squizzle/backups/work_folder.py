"""Local folders for files on their way into a store or out of it: private, and removed though their run was killed."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from squizzle.backups.locked_folder import make_locked, take_abandoned
from squizzle.errors import ToolError

PUBLISHING = "publishing.json"
"""In a work folder: what is in it is whole and on its way into a store, which can go on with it."""

_PREFIX = "squizzle-work-"
# Longer than any store's mark of a killed run lasts; after it nobody comes back to finish.
_KEPT_S = 24 * 3600


def work_place() -> Path:
    """Where work folders are made (`TMPDIR`)."""
    return Path(tempfile.gettempdir())


@contextmanager
def work_folder() -> Iterator[Path]:
    """A folder for us alone, gone after the block.

    It is locked meanwhile, and the kernel lets go of that lock however we end: what nobody holds is a leftover.

    Raises:
        ToolError: It cannot be made.
    """
    try:
        folder = work_place() / f"{_PREFIX}{secrets.token_hex(8)}"
        lock = make_locked(folder)
    except OSError as exc:
        raise ToolError(
            f"no folder could be made in {work_place()}: {exc.strerror}",
            hint="free space there, or set TMPDIR to a folder with room",
        ) from exc
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
        os.close(lock)


def may_go(folder: Path) -> bool:
    """Whether nobody will go on with what a killed run left in its work folder."""
    try:
        return time.time() - (folder / PUBLISHING).stat().st_mtime > _KEPT_S
    except FileNotFoundError:
        return True


def sweep_work_folders(use: Callable[[Path], bool] = may_go) -> tuple[str, ...]:
    """Remove the work folders of runs that were killed; returns their names. Other accounts' are left alone.

    Args:
        use: What to do with each before; it is locked meanwhile. Whether it may be removed then.
    """
    gone = []
    for folder in sorted(work_place().glob(f"{_PREFIX}*")):
        with contextlib.suppress(FileNotFoundError, PermissionError):  # its owner was faster, or is somebody else
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            lock = take_abandoned(folder)
            if lock is None:
                continue
            try:
                if use(folder):
                    shutil.rmtree(folder)
                    gone.append(folder.name)
            finally:
                os.close(lock)
    return tuple(gone)


def refuse_without_local_room(what: str, needed: int) -> None:
    """Refuse to fetch what does not fit.

    Args:
        what: Begins the message.
        needed: In bytes.

    Raises:
        ToolError: With the figures; nothing was fetched.
    """
    free = shutil.disk_usage(work_place()).free
    if free < needed:
        raise ToolError(
            f"{what} has {needed:,} bytes, but {free:,} are free in {work_place()}",
            hint="free space there, or set TMPDIR to a folder with room",
        )
