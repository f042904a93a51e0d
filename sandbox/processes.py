"""Lasting processes: started once, found again by a record, stopped exactly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from squizzle.errors import ToolError

# A process that was told to stop gets that long; Prefect's server needs up to five seconds to end its services.
_STOP_PATIENCE_S = 20.0
# Clocks of /proc are ticks; the same process always reads the same, a reused pid does not.
_SAME_START_S = 0.05
_LOG_TAIL_LINES = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class Daemon:
    """One running process, so that it can be told from another with the same number."""

    name: str
    pid: int
    started_at: float


class Records:
    """Which processes we started; kept in a folder, one file each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Kept so that Python does not complain that they run on: that is what they are for.
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, command: Sequence[str], *, environment: Mapping[str, str], cwd: Path) -> Daemon:
        """Start a process in a session of its own, with its output in a log file, and remember it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log_file(name).open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(environment),
                cwd=cwd,
                start_new_session=True,
            )
        self._started.append(process)
        daemon = Daemon(name=name, pid=process.pid, started_at=psutil.Process(process.pid).create_time())
        (self.folder / f"{name}.json").write_text(json.dumps(asdict(daemon)), encoding="utf-8")
        return daemon

    def log_file(self, name: str) -> Path:
        """Where a process writes."""
        return self.folder / f"{name}.log"

    def log_tail(self, name: str) -> str:
        """The last lines a process wrote."""
        lines = self.log_file(name).read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_LOG_TAIL_LINES:])

    def running(self, name: str) -> Daemon | None:
        """The process of that name that we started, if it still runs."""
        try:
            daemon = Daemon(**json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8")))
            process = psutil.Process(daemon.pid)
            same = abs(process.create_time() - daemon.started_at) < _SAME_START_S
            return daemon if same and process.status() != psutil.STATUS_ZOMBIE else None
        except (FileNotFoundError, psutil.NoSuchProcess):
            return None

    def stop(self, name: str) -> bool:
        """Stop the process of that name with its children; returns whether there was one.

        Raises:
            ToolError: It does not end.
        """
        daemon = self.running(name)
        if daemon is not None:
            _stop_family(daemon)
            for process in self._started:
                if process.pid == daemon.pid:
                    process.wait()
        (self.folder / f"{name}.json").unlink(missing_ok=True)
        return daemon is not None


def _stop_family(daemon: Daemon) -> None:
    parent = psutil.Process(daemon.pid)
    family = [parent, *parent.children(recursive=True)]
    parent.send_signal(signal.SIGTERM)
    _gone, alive = psutil.wait_procs(family, timeout=_STOP_PATIENCE_S)
    for process in alive:
        process.kill()
    _gone, alive = psutil.wait_procs(alive, timeout=_STOP_PATIENCE_S)
    if alive:
        pids = ", ".join(str(process.pid) for process in alive)
        raise ToolError(f"{daemon.name} does not end (processes {pids})", hint=f"kill -9 {pids}")


def wait_until(is_ready: object, *, what: str, seconds: float) -> None:
    """Poll until `is_ready()` is true.

    Raises:
        ToolError: It did not become true in time.
    """
    if not callable(is_ready):
        raise TypeError("is_ready must be callable")
    deadline = time.monotonic() + seconds
    while not is_ready():
        if time.monotonic() > deadline:
            raise ToolError(f"{what} did not become ready within {seconds:.0f} s", hint="run make down, then make up")
        time.sleep(0.2)


def environment_without(prefix: str) -> dict[str, str]:
    """Our environment without variables of that prefix: a user's own Prefect settings must not leak in."""
    return {name: value for name, value in os.environ.items() if not name.startswith(prefix)}
