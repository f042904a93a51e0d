"""Small file systems, in memory and on a disk, to have a full one and a read-only one."""

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
    with _mounted("tmpfs", folder, f"size={pages * PAGE_BYTES},mode=0755", kind="tmpfs"):
        yield folder


@contextmanager
def small_real_disk(folder: Path, *, megabytes: int) -> Iterator[Path]:
    """One that is no memory: a file with an ext4 in it, at a folder; the test is skipped where mounting is impossible."""
    image = folder.with_suffix(".img")
    image.touch()
    os.truncate(image, megabytes << 20)
    program = shutil.which("mkfs.ext4", path=f"{os.environ['PATH']}:/sbin:/usr/sbin")
    if program is None:
        pytest.skip("mkfs.ext4 is not installed")
    subprocess.run([program, "-q", "-F", "-m", "0", str(image)], check=True)
    with _mounted(str(image), folder, "loop", kind="ext4"):
        yield folder


@contextmanager
def _mounted(what: str, folder: Path, options: str, *, kind: str) -> Iterator[None]:
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root mounts file systems")
    folder.mkdir()
    done = subprocess.run(
        [mount, "-t", kind, "-o", options, what, str(folder)], check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"mounting is impossible here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run([shutil.which("umount") or "umount", str(folder)], check=True)


def pages_of(folder: Path) -> int:
    """How many pages the files below a folder take; tmpfs wants none for folders."""
    return sum(-(-path.stat().st_size // PAGE_BYTES) for path in folder.rglob("*") if path.is_file())
