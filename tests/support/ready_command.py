"""The installed command without its start: a process that has loaded every verb and forks for each run.

    python -m tests.support.ready_command

Standard input is a socket. Each request is one JSON document (arguments, folder, environment) with the three standard
streams attached; the answer is the exit code. What is forked is a process like one that was started anew: its own
folder, environment, streams and memory, and Python's own way to its end. Only a fresh interpreter differs: what Python
reads from the environment when it starts, and that every module is there already. A few tests start the command for that.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from tests.support.processes import descendants_of

ROOT = Path(__file__).resolve().parents[2]
COMMAND = Path(sys.executable).with_name("squizzle")
STREAMS = (0, 1, 2)
LARGEST_REQUEST = 1 << 16  # bytes; arguments and a small environment
PATIENCE_S = 60.0


class ReadyCommand:
    """The process from its user's side; one run at a time.

    Args:
        environment: That it is started with.
        also: Modules that it loads, too, because a verb would need long for it.
    """

    def __init__(self, environment: Mapping[str, str], *, also: Sequence[str] = ()) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(PATIENCE_S)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.ready_command", *also],
                cwd=ROOT,
                env=environment,
                stdin=theirs,
                stdout=subprocess.DEVNULL,
            )

    def run(
        self, arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str], streams: Sequence[int]
    ) -> int:
        """The exit code of one run; negative when a signal ended it."""
        request = {"arguments": arguments, "folder": str(folder), "environment": dict(environment)}
        socket.send_fds(self._socket, [json.dumps(request).encode()], list(streams))
        answer = self._socket.recv(16)
        if not answer:
            raise AssertionError(f"the process that runs the command ended: {self._process.wait()}")
        return int(answer)

    def kill_run(self) -> None:
        """`kill -9` the run that is on its way, from another thread than the one that waits for it."""
        for pid in descendants_of(self._process.pid):
            os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """End the process, and the run that is on its way."""
        self._socket.close()
        try:
            self._process.wait(PATIENCE_S)
        finally:
            self._process.kill()
            self._process.wait()


def main() -> None:
    """Load the command; then fork for each request. Returns only in the children, which run the command."""
    from squizzle.cli import main as command  # noqa: PLC0415 - only the process itself loads it

    for module in (*sorted({*command._VERBS.values()}), *sys.argv[1:]):
        import_module(module)
    # What is loaded is never garbage; looking at it would copy every page of it into each child.
    gc.freeze()
    with socket.socket(fileno=os.dup(0)) as requests:
        while True:
            data, streams, *_ = socket.recv_fds(requests, LARGEST_REQUEST, len(STREAMS))
            if not data:
                return
            pid = os.fork()
            if pid == 0:
                break
            for stream in streams:
                os.close(stream)
            _, status = os.waitpid(pid, 0)
            requests.send(b"%d" % os.waitstatus_to_exitcode(status))
    request = json.loads(data)
    _become(streams, request["folder"], request["environment"])
    sys.argv = [str(COMMAND), *request["arguments"]]
    command.main()


def _become(streams: Sequence[int], folder: str, environment: Mapping[str, str]) -> None:
    """Take over what a process gets from the one that starts it."""
    for number, stream in zip(STREAMS, streams, strict=True):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0] = str(COMMAND.parent)


if __name__ == "__main__":
    main()
