"""A temp folder in memory for all that tests make: making the 300 files of a database costs a disk ten times as much."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import psutil

MEMORY = Path("/dev/shm")
PREFIX = "sqz-tests-"
# A whole run in two processes was seen to use 1.5 GB; containers often have 64 MB there, and nothing else is worth it.
ROOM_BYTES = 4 << 30


def move_temp_folder_to_memory() -> Path | None:
    """Make this process and its children use it, where there is room; returns the folder, which the caller removes.

    Pytest's own `tmp_path` stays on the disk, so that what a failed test left can be looked at.
    """
    if not MEMORY.is_dir() or min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available) < ROOM_BYTES:
        return None
    _remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=MEMORY))
    folder.chmod(0o755)  # as root, servers run under another account
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = None  # asked for anew
    return folder


def _remove_abandoned() -> None:
    """Remove the folders of runs that were killed."""
    for folder in MEMORY.glob(f"{PREFIX}[0-9]*-*"):
        owner = int(folder.name.removeprefix(PREFIX).partition("-")[0])
        if folder.stat().st_uid == os.geteuid() and not psutil.pid_exists(owner):
            shutil.rmtree(folder)
