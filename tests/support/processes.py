"""What is known about processes from /proc, and waiting for them without guessing how long."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

# What is waited for is nearly always there at once; a machine that is busy must not fail a test.
PATIENCE_S = 60.0


def wait_until(is_so: Callable[[], bool], what: str, *, seconds: float = PATIENCE_S, every_s: float = 0.01) -> None:
    """Look again and again; an assertion error that says what did not happen when it takes too long."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:.0f} s still not so: {what}")
        time.sleep(every_s)


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}


def command_of(pid: int) -> str:
    """The command line that everybody on the machine may read."""
    return _read(pid, "cmdline").replace("\0", " ")


def environment_of(pid: int) -> dict[str, str]:
    """The environment that the same account may read."""
    pairs = (line.partition("=") for line in _read(pid, "environ").split("\0") if line)
    return {name: value for name, _, value in pairs}


def descendants_of(pid: int) -> list[int]:
    """Children, their children and so on, as they are now."""
    parents = {int(path.name): _parent(path) for path in Path("/proc").glob("[0-9]*")}
    found: list[int] = []
    below = [pid]
    while below:
        below = [child for child, parent in parents.items() if parent in below]
        found += below
    return found


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
