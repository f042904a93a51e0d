"""Guarded programs, started for real."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any

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


class Interruption:
    """Interrupts at a line of what is called from its `with` block: the n-th that is come to."""

    def __init__(self, at: int) -> None:
        self._left = at

    def __enter__(self) -> None:
        sys.settrace(self._look)

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _look(self, _frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line":
            self._left -= 1
            if self._left == 0:
                raise KeyboardInterrupt
        return self._look


def test_whoever_is_interrupted_at_any_line_of_waiting_can_wait_again() -> None:
    interrupted = 0
    with GuardedProcess(["/bin/sleep", "61"], environment={}) as process:
        for at in range(1, 200):
            try:
                with Interruption(at):
                    process.wait(0)
            except KeyboardInterrupt:
                interrupted += 1
            else:
                break
    assert interrupted == at - 1 > 10
    code = process.wait(0)
    assert code is not None
    assert code != 0
