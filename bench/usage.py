"""Processor time and memory of what is measured: on a machine that others use, too, they say more than the clock."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import psutil

from squizzle.postgres.access import CONTROL_DATABASE, ServerAccess, connect

# Linux: writing 5 forgets the most memory that a process ever had (proc(5), clear_refs).
_FORGET_PEAK = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class Meter:
    """Seconds of processor of this process, of what it ran, and of one server with all its sessions.

    Args:
        access: The server, on this machine.
    """

    def __init__(self, access: ServerAccess) -> None:
        with connect(access, CONTROL_DATABASE, purpose="bench") as connection:
            row = connection.execute("SHOW data_directory").fetchone()
        pid_file = Path(str(row[0]) if row else "") / "postmaster.pid"
        self._server = psutil.Process(int(pid_file.read_text(encoding="utf-8").split()[0]))
        self._began = 0.0

    def start(self) -> None:
        """Begin to count anew."""
        self._began = self._seconds()
        with suppress(OSError):
            _FORGET_PEAK.write_text("5", encoding="ascii")

    def seconds(self) -> float:
        """Of processor since the start."""
        return self._seconds() - self._began

    def server_seconds(self) -> float:
        """Of the server alone, since it was started."""
        alive = 0.0
        for session in self._server.children():
            with suppress(psutil.NoSuchProcess):
                alive += sum(session.cpu_times()[:2])
        # The first four: its own, and those of its children that have ended.
        return alive + sum(self._server.cpu_times()[:4])

    def _seconds(self) -> float:
        return self.server_seconds() + sum(psutil.Process().cpu_times()[:4])


def peak_bytes() -> int:
    """The most memory that this process had since the last start of a meter; 0 where the system does not tell."""
    with suppress(OSError):
        found = re.search(r"^VmHWM:\s+(\d+) kB", _STATUS.read_text(encoding="utf-8"), re.MULTILINE)
        return int(found[1]) * 1024 if found else 0
    return 0
