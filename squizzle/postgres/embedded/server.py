"""A running server as others see it: its address, its postmaster.pid, its process."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from squizzle.errors import EmbeddedServerError

from .settings import ARCHIVE_FOLDER

SUPERUSER = "postgres"
LOOPBACK = "127.0.0.1"

_PROC = Path("/proc")
_PS_TIMEOUT_S = 10.0
_LINES_OF_A_STARTED_SERVER = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerAddress:
    """How to reach a running embedded server; holds no secret.

    Attributes:
        socket_folder: Host for connections over the Unix socket, trusted, because only we can enter the folder.
        host: Host for connections over TCP, with the password.
        port: The port; also part of the socket's name.
        user: The superuser.
        password_file: The password in libpq's format, for `passfile=` and PGPASSFILE; readable for us alone.
        pid: Process id of the server (the postmaster).
        data_folder: Its data folder; belongs to the account the server runs under.
    """

    socket_folder: Path
    host: str
    port: int
    user: str
    password_file: Path
    pid: int
    data_folder: Path

    @property
    def archive_folder(self) -> Path:
        """Where the archive command of the drill settings puts WAL segments."""
        return self.data_folder.parent / ARCHIVE_FOLDER

    def read_password(self) -> str:
        """Reads the superuser's password from its file; keep it out of logs, arguments and records.

        Raises:
            EmbeddedServerError: The file is gone or empty: the cluster was destroyed.
        """
        try:
            return self.password_file.read_text().strip().rsplit(":", 1)[1]
        except (OSError, IndexError) as error:
            raise EmbeddedServerError(
                f"no password in {self.password_file}: was the cluster destroyed?",
                hint="run the same again: a new one is made",
            ) from error


@dataclass(frozen=True, kw_only=True, slots=True)
class PidFile:
    """What a server says about itself in postmaster.pid (PostgreSQL's miscadmin.h).

    Attributes:
        pid: Process id of the postmaster.
        port: Its port; 0 while it is not known yet.
        phase: Its status line: starting, stopping, ready or standby.
    """

    pid: int
    port: int
    phase: str

    @property
    def accepts_connections(self) -> bool:
        """Whether the server said that clients may come.

        "standby" is none of it: it says that a server recovers with `hot_standby = off` (postmaster.c), and
        nobody is let in before that has ended. With it on, a server is ready as soon as what it has is consistent.
        """
        return self.phase == "ready"


def read_pid_file(data: Path) -> PidFile | None:
    """Reads postmaster.pid; None when there is none, or not a whole first line of one.

    It may be a leftover: what it says is true only while `is_postmaster` is.

    Args:
        data: The data folder.
    """
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        pid, port = int(lines[0]), int(lines[3]) if len(lines) > 3 else 0  # noqa: PLR2004 - the file's fourth line
    except (OSError, ValueError, IndexError):
        return None
    started = len(lines) >= _LINES_OF_A_STARTED_SERVER
    return PidFile(pid=pid, port=port, phase=lines[7].strip() if started else "starting") if pid > 1 else None


def running_server(data: Path) -> PidFile | None:
    """Finds the server that runs on a data folder.

    Args:
        data: The data folder.

    Returns:
        What it says about itself; None when postmaster.pid is missing, or names a process that is gone or another.
    """
    found = read_pid_file(data)
    return found if found is not None and is_postmaster(found.pid, data) else None


def is_postmaster(pid: int, data: Path, *, proc: Path = _PROC) -> bool:
    """Says whether a process is PostgreSQL's postmaster on a data folder; ids are reused, so a number proves nothing.

    Args:
        pid: The process.
        data: The data folder, resolved.
        proc: Where the kernel shows processes; `ps` is asked where there is no such folder.
    """
    command = command_line(pid, proc=proc)
    if not command or Path(command[0]).name not in ("postgres", "postmaster"):
        return False
    return data in (_folder_argument(command), _current_folder(pid, proc))


def command_line(pid: int, *, proc: Path = _PROC) -> list[str] | None:
    """Returns a process's arguments: none for a zombie, None when there is no such process or it is hidden.

    Args:
        pid: The process.
        proc: As for `is_postmaster`.
    """
    if not proc.is_dir():
        return _command_line_by_ps(pid)
    try:
        raw = (proc / str(pid) / "cmdline").read_bytes()
    except OSError:
        return None
    return [os.fsdecode(part) for part in raw.split(b"\0")[:-1]]


def _folder_argument(command: list[str]) -> Path | None:
    for argument, following in zip(command, [*command[1:], ""], strict=True):
        if argument == "-D":
            return Path(following)
        if argument.startswith("-D"):
            return Path(argument.removeprefix("-D"))
    return None


def _current_folder(pid: int, proc: Path) -> Path | None:
    # The postmaster's is its data folder, however it was told of it. Closed to root in containers without SYS_PTRACE.
    try:
        return (proc / str(pid) / "cwd").readlink()
    except OSError:
        return None


def _command_line_by_ps(pid: int) -> list[str] | None:
    try:
        done = subprocess.run(
            ["ps", "-ww", "-o", "command=", "-p", str(pid)],  # noqa: S607 - where it is differs between systems
            check=False,
            capture_output=True,
            text=True,
            timeout=_PS_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.split() if done.returncode == 0 else None
