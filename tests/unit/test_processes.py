"""Guarded programs, started for real."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from squizzle.processes import GuardedProcess
from tests.support.processes import descendants_of, wait_until

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="who has a file open is read from /proc")


def test_only_the_program_and_its_shell_hold_its_output_so_whoever_reads_it_sees_its_end() -> None:
    reading, writing = os.pipe()
    ours = descendants_of(os.getpid())
    with (
        open(reading, "rb", buffering=0) as source,  # noqa: PTH123 - a descriptor, no path
        open(writing, "wb", buffering=0) as output,  # noqa: PTH123 - same
        GuardedProcess(["/bin/sleep", "60"], environment={}, output=output),
    ):
        pipe = Path(f"/proc/self/fd/{source.fileno()}").readlink()

        def children() -> list[int]:
            return [pid for pid in descendants_of(os.getpid()) if pid not in ours]

        wait_until(lambda: len(children()) == 3, "shell, program and watcher run")

        def holders() -> list[int]:
            return [pid for pid in children() if Path(f"/proc/{pid}/fd/1").readlink() == pipe]

        wait_until(lambda: len(holders()) == 2, "the watcher has let go of it", seconds=10)


def test_a_program_that_ends_at_once_is_noticed_every_time() -> None:
    for _ in range(50):
        with GuardedProcess(["/bin/sh", "-c", "exit 3"], environment={}) as process:
            assert process.wait(30) == 3
