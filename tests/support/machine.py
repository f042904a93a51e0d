"""A place on this machine for drills, and what they leave there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Machine:
    """A place where drills leave everything they leave."""

    folder: Path
    environment: dict[str, str]

    def command(self, *arguments: str) -> list[str]:
        return [str(Path(sys.executable).with_name("squizzle")), *arguments]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            start_new_session=True,
            cwd=self.folder,
        )

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            env=self.environment | environment,
            check=False,
            timeout=600,
            cwd=self.folder,
        )

    def processes(self) -> list[str]:
        """Everything that still runs and has this machine's folder in its command line or environment."""
        found = []
        for process in psutil.process_iter():
            try:
                places = [*process.cmdline(), process.environ().get("TMPDIR", "")]
                alive = process.status() != psutil.STATUS_ZOMBIE
                if alive and any(str(self.folder) in place for place in places):
                    found.append(" ".join(process.cmdline()))
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def wait_until_nothing_runs(self, seconds: float = 15.0) -> list[str]:
        """What still runs after that long: a guard's last `sleep 1` may be on its way out."""
        deadline = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return left

    def clusters(self) -> list[str]:
        """Folders of embedded drill servers."""
        return sorted(path.name for path in self.folder.glob("squizzle-*/drill-*"))


@contextmanager
def new_machine() -> Iterator[Machine]:
    """A machine on which nothing was done yet, gone afterwards."""
    # Not below pytest's own folder: a server of another account must reach it, and a socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="sqz"))
    folder.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PG"))}
    environment |= {"TMPDIR": str(folder), "SQUIZZLE_REPORTS": str(folder / "reports")}
    environment["XDG_STATE_HOME"] = str(folder / "state")
    yield Machine(folder=folder, environment=environment)
    shutil.rmtree(folder)
