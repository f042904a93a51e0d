"""Work in a process of its own that is killed right before its n-th change of the world, whichever that is.

    python -m tests.support.killed MODULE

Python tells an audit hook of everything that it is about to do outside of itself (PEP 578): open a file to write into it,
make, rename or remove one, take a lock, start a program, send a request. So every step is found and the product knows
nothing of it. Each line on standard input is one run, forked off; the answer is a line of what became of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from squizzle.errors import SquizzleError
from tests.conftest import ROOT
from tests.support.processes import descendants_of
from tests.support.tally import Kind, note_strike

CHANGES = frozenset(
    ["os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "os.truncate", "fcntl.flock", "subprocess.Popen"]
)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
REQUESTS = (b"PUT ", b"POST ", b"DELETE ")


@dataclass(frozen=True)
class Ended:
    """What became of a run.

    Attributes:
        code: 0, the code of an error of ours, or minus the signal.
        steps: What it did, in order, as far as it came.
        said: The error's message.
    """

    code: int
    steps: tuple[str, ...]
    said: str

    @property
    def was_killed(self) -> bool:
        return self.code == -signal.SIGKILL


class Mortal:
    """Runs functions of a module, each run in a process of its own. Made by `mortal`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def run(
        self, work: str, *, at: int = 0, server: int = 0, cell: str = "", counts: bool = True, **given: object
    ) -> Ended:
        """One run.

        Args:
            work: A function of the module. It is called with a function `begin`, from whose call on steps are counted,
                and with what is given.
            at: Before which step, from 1, somebody is killed; 0 for nobody.
            server: Kill this process with all below it instead of the run.
            cell: Where it is killed, if it is killed by somebody else.
            counts: Whether a kill is put down here.
            given: What the function gets; JSON.
        """
        request = {"work": work, "at": at, "server": server, "given": given}
        self._input.write(json.dumps(request).encode() + b"\n")
        self._input.flush()
        answer = self._output.readline()
        assert answer, "the process that forks has ended"
        found = json.loads(answer)
        ended = Ended(code=found["code"], steps=tuple(found["steps"]), said=found["said"])
        if counts and (ended.was_killed or (server and at and len(ended.steps) >= at)):
            what = f"{work} {given['kind']}" if "kind" in given else work
            where = cell or (f"before change {at}" if at else given.get("dies"))
            note_strike(Kind.KILL, what, "PostgreSQL" if server else "the run itself", cell=where)
        return ended

    @property
    def _input(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _output(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout


@contextmanager
def mortal(module: str, temp: Path) -> Iterator[Mortal]:
    """The process that runs functions of a module, with a temp folder of its own, for the length of the block."""
    command = [sys.executable, "-B", "-m", "tests.support.killed", module]
    environment = {**os.environ, "TMPDIR": str(temp)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Mortal(process)
        finally:
            process.kill()


class _Steps:
    """Counts steps, says each of them, and kills before the chosen one."""

    def __init__(self, at: int, server: int, report: int) -> None:
        self._at = at
        self._server = server
        self._report = report
        self._seen = 0
        self._turn = threading.RLock()
        self._counts = False

    def begin(self) -> None:
        self._counts = True

    def end(self) -> None:
        self._counts = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._counts or not (name := _step(event, arguments)):
            return
        with self._turn:
            self._seen += 1
            os.write(self._report, json.dumps(name).encode() + b"\n")
            if self._seen == self._at:
                self._counts = False
                kill(self._server or os.getpid())


def kill(pid: int) -> None:
    """End a process and everything below it, as a machine does that loses its power."""
    if pid != os.getpid():
        # So that it makes no more of them: one that is left alone waits forever for a lock that a killed one held.
        os.kill(pid, signal.SIGSTOP)
        for one in descendants_of(pid):
            with contextlib.suppress(ProcessLookupError):  # ended by itself
                os.kill(one, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)


def _step(event: str, arguments: tuple[Any, ...]) -> str:
    if event == "open" and (arguments[2] & WRITES or _is_folder(arguments[0])):
        return "" if arguments[0] == os.devnull else f"open {arguments[0]}"
    if event == "http.client.send":
        data = arguments[1]
        is_change = isinstance(data, bytes) and data.startswith(REQUESTS)
        return data.partition(b" HTTP/")[0].decode() if is_change else ""
    return f"{event} {arguments[0]}" if event in CHANGES else ""


def _is_folder(path: object) -> bool:
    """A folder is opened to be locked, or to be made durable."""
    try:
        return isinstance(path, str | os.PathLike) and stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116 - no more events
    except OSError:
        return False


def _one_run(work: Callable[..., None], request: dict[str, Any], report: int) -> int:
    steps = _Steps(request["at"], request["server"], report)
    sys.addaudithook(steps)
    try:
        work(steps.begin, **request["given"])
    except SquizzleError as exc:
        os.write(report, json.dumps({"said": exc.message}).encode() + b"\n")
        return exc.code
    return 0


def main() -> None:
    """Wait for lines until there are no more."""
    module = import_module(sys.argv[1])
    for line in sys.stdin:
        request = json.loads(line)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            os._exit(_one_run(getattr(module, request["work"]), request, writing))
        os.close(writing)
        with open(reading, encoding="utf-8") as report:  # noqa: PTH123 - a descriptor, no path
            lines = [json.loads(one) for one in report]
        _, status = os.waitpid(pid, 0)
        said = "".join(one["said"] for one in lines if isinstance(one, dict))
        answer = {
            "code": os.waitstatus_to_exitcode(status),
            "steps": [one for one in lines if isinstance(one, str)],
            "said": said,
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
