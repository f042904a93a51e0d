"""Drills as a person runs them: the command in a process of its own, with a folder for temporary files of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest


@dataclass(frozen=True)
class Machine:
    """A place where one test's drills leave everything they leave."""

    folder: Path
    environment: dict[str, str]
    state_home: Path

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

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            env=self.environment,
            check=False,
            timeout=180,
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

    def clusters(self) -> list[str]:
        """Folders of embedded drill servers."""
        return sorted(path.name for path in self.folder.glob("squizzle-*/drill-*"))


@pytest.fixture(scope="module")
def state_home() -> Iterator[Path]:
    """Where Prefect's temporary API keeps its runs: its tables are made once for all drills, and never in our home."""
    folder = Path(tempfile.mkdtemp(prefix="state"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def machine(state_home: Path) -> Iterator[Machine]:
    # Not below pytest's own folder: a server of another account must reach it, and a socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="sqz"))
    folder.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PG"))}
    environment |= {"TMPDIR": str(folder), "SQUIZZLE_REPORTS": str(folder / "reports")}
    environment["XDG_STATE_HOME"] = str(state_home)
    yield Machine(folder=folder, environment=environment, state_home=state_home)
    shutil.rmtree(folder)
