"""Drills without the start of Python and Prefect: a process that has loaded the flow and forks for each.

    python -m tests.support.ready_drill SCALE

Each line of standard input is the folder for temporary files of one drill, and which disaster it plays. Standard output gets the process id of each
drill, and the title of each of its steps when it is done. The environment names Prefect's API.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from squizzle.recovery.evidence import Step, StepState
from tests.support.tally import Kind, note_strike

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class ReadyDrill:
    """The process from its user's side."""

    process: subprocess.Popen[str]

    def kill_after(self, title: str, *, folder: Path, scenario: str = "data_loss") -> None:
        """Play a drill in a process of its own, and `kill -9` it when this step is done."""
        self._kill_when(lambda said, _number: said.startswith(title), folder=folder, scenario=scenario)

    def kill_within(self, number: int, pause_s: float, *, folder: Path, scenario: str) -> str:
        """The same a moment after so many steps; returns the last one that was done."""
        done = self._kill_when(lambda _said, count: count == number, pause_s=pause_s, folder=folder, scenario=scenario)
        return f"{scenario}: {pause_s:.2f} s behind step {number}, {done}"

    def _kill_when(
        self, is_time: Callable[[str, int], bool], *, folder: Path, scenario: str, pause_s: float = 0.0
    ) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(folder, scenario, sep="\t", file=self.process.stdin, flush=True)
        pid = int(self.process.stdout.readline())
        last = ""
        for number, line in enumerate(self.process.stdout, 1):
            last = line.rstrip("\n")
            if is_time(last, number):
                time.sleep(pause_s)
                os.kill(pid, signal.SIGKILL)
                note_strike(Kind.KILL, "drill", "the run itself", cell=f"after {last}")
                break
        while not (said := self.process.stdout.readline()).startswith("ended "):
            last = said.rstrip("\n") or last
        assert said == f"ended {-signal.SIGKILL}\n"
        return last


@contextmanager
def ready_drill(scale: float) -> Iterator[ReadyDrill]:
    """The process; it uses the API that this one uses."""
    from prefect.settings import PREFECT_API_URL  # noqa: PLC0415 - the process itself reads its settings later

    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.ready_drill", str(scale)],
        cwd=ROOT,
        env=os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value() or ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield ReadyDrill(process)


def main() -> None:
    """Load the flow; then fork for each line."""
    from flows.run_drill import run_drill  # noqa: PLC0415 - only the process itself loads it
    from squizzle.drills.records import DrillScenario  # noqa: PLC0415 - same
    from tasks.steps import watched_by  # noqa: PLC0415 - same

    for line in sys.stdin:
        pid = os.fork()
        if pid:
            _, status = os.waitpid(pid, 0)
            _say(f"ended {os.waitstatus_to_exitcode(status)}")
            continue
        os.setsid()
        os.environ["TMPDIR"], scenario = line.rstrip("\n").split("\t")
        tempfile.tempdir = None  # asked for anew
        _say(str(os.getpid()))
        with watched_by(_tell):
            run_drill(scenario=DrillScenario(scenario), scale=float(sys.argv[1]), return_state=True)
        return


def _tell(steps: tuple[Step, ...]) -> None:
    if steps and steps[-1].state is StepState.DONE:
        _say(steps[-1].title)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
