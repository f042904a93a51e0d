"""Small file systems, to have a full disk and a read-only one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# tmpfs gives out whole pages.
PAGE_BYTES = 4096


@contextmanager
def small_disk(folder: Path, *, pages: int) -> Iterator[Path]:
    """A file system of that many pages at a folder; the test is skipped where mounting is impossible."""
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root mounts file systems")
    folder.mkdir()
    options = f"size={pages * PAGE_BYTES},mode=0755"
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"mounting is impossible here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run([shutil.which("umount") or "umount", str(folder)], check=True)


def pages_of(folder: Path) -> int:
    """How many pages the files below a folder take; tmpfs wants none for folders."""
    return sum(-(-path.stat().st_size // PAGE_BYTES) for path in folder.rglob("*") if path.is_file())
