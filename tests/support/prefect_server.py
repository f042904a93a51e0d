"""Prefect's API as a process that may be killed and started again, with everything that it knew."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.temporary_api import _SETTINGS, _answers
from tests.conftest import ROOT
from tests.support.processes import wait_until


class PrefectServer:
    """The API on one port, with one folder for what it knows."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = int(listener.getsockname()[1])
        self._environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
        self._environment |= _SETTINGS | {"PREFECT_HOME": str(home), "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL"}
        self.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def is_dead(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, "-m", "tasks.api_process", str(self.port)]
        self._process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stderr=subprocess.DEVNULL)
        wait_until(lambda: _answers(self.port), "Prefect answers", seconds=180, every_s=0.1)

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


@contextmanager
def prefect_server(home: Path) -> Iterator[PrefectServer]:
    """One for the length of the block."""
    server = PrefectServer(home)
    try:
        yield server
    finally:
        server.end()
