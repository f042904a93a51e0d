"""Starts the server process of a cluster, and waits until it takes connections."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from squizzle.errors import EmbeddedServerError

from .guardian import Guardian
from .layout import Layout
from .runtime import Runtime
from .server import LOOPBACK, PidFile, command_line, read_pid_file, running_server

_PORTS_TRIED = 10
"""A port may be taken between choosing and binding it; ten times in a row, something else is wrong."""

_PAUSE_S = 0.2
"""Between attempts while processes of a killed server are still ending; idle ones notice at once."""

_POLL_S = 0.005

_PORT_IS_TAKEN = "could not bind"
_REMAINS_OF_THE_OLD_SERVER = "pre-existing shared memory block"

_TAIL_LINES = 20
_TAIL_BYTES = 8000

_ENDING_S = 10.0
"""Told to stop at once, PostgreSQL kills its own processes after five seconds."""


def launch(
    runtime: Runtime,
    layout: Layout,
    *,
    patience: timedelta,
    choose_port: Callable[[], int] | None = None,
) -> tuple[PidFile, Guardian]:
    """Starts a server on a cluster's data folder, on which none runs, under a guardian.

    Args:
        runtime: Binaries and account.
        layout: The cluster; the caller holds its lock.
        patience: How long the server may take, recovery included, until it is ready.
        choose_port: Says which port to try; a free one by default.

    Returns:
        What the running server says about itself, and its guardian.

    Raises:
        EmbeddedServerError: It ended, with the end of its log, or was not ready in time and was stopped again.
    """
    _clear_leftovers(layout)
    deadline = time.monotonic() + patience.total_seconds()
    ports_tried = 0
    while True:
        log_start = layout.log.stat().st_size if layout.log.exists() else 0
        started = _try_once(runtime, layout, (choose_port or _free_port)(), deadline)
        if started is not None:
            return started
        log = _tail_of(layout.log, log_start)
        ports_tried += _PORT_IS_TAKEN in log
        may_pass = _REMAINS_OF_THE_OLD_SERVER in log or (_PORT_IS_TAKEN in log and ports_tried < _PORTS_TRIED)
        if not may_pass or time.monotonic() > deadline:
            raise _did_not_start(layout, log, late=time.monotonic() > deadline, patience=patience)
        time.sleep(_PAUSE_S)


def _try_once(runtime: Runtime, layout: Layout, port: int, deadline: float) -> tuple[PidFile, Guardian] | None:
    with layout.log.open("ab") as log:
        layout.log.chmod(0o600)  # statements with data in them end up there
        guardian = Guardian(runtime, _server_command(runtime, layout, port), log)
    try:
        found = _wait_until_ready(layout, guardian, deadline)
    except BaseException:
        guardian.end(_ENDING_S)
        raise
    if found is None:
        guardian.end(_ENDING_S)
        return None
    return found, guardian


def _server_command(runtime: Runtime, layout: Layout, port: int) -> list[str | Path]:
    # On the command line, so that they win over whatever a restored backup's files say: a copy of production must
    # not open production's address.
    settings = {
        "port": port,
        "listen_addresses": LOOPBACK,
        "unix_socket_directories": _as_list_entry(layout.sockets),
        "unix_socket_permissions": "0700",
        "logging_collector": "off",
        "log_destination": "stderr",
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return [runtime.bin_folder / "postgres", "-D", layout.data, *options]


def _as_list_entry(folder: Path) -> str:
    # The setting is a list: unquoted, a comma in the path would separate, and capitals would become small.
    escaped = str(folder).replace('"', '""')
    return f'"{escaped}"'


def _wait_until_ready(layout: Layout, guardian: Guardian, deadline: float) -> PidFile | None:
    while time.monotonic() < deadline and not guardian.has_ended():
        found = read_pid_file(layout.data)
        # Only what says "ready" is worth the look at the process; a leftover file says so too, of a dead process.
        if found is not None and found.accepts_connections and running_server(layout.data) == found:
            return found
        time.sleep(_POLL_S)
    return None


def _clear_leftovers(layout: Layout) -> None:
    """Removes what a killed server left and a new one would stumble over."""
    found = read_pid_file(layout.data)
    if found is not None and command_line(found.pid) is not None:
        # The number is another process's by now. PostgreSQL would take any process of its account for a server on
        # this folder and refuse. Remains of the server itself are still noticed, by their shared memory.
        (layout.data / "postmaster.pid").unlink(missing_ok=True)
    for leftover in layout.sockets.iterdir():
        leftover.unlink()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _tail_of(log: Path, start: int) -> str:
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - _TAIL_BYTES))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-_TAIL_LINES:])
    return ""


def _did_not_start(layout: Layout, log: str, *, late: bool, patience: timedelta) -> EmbeddedServerError:
    what = f"was not ready within {patience} and was stopped again" if late else "ended before it was ready"
    return EmbeddedServerError(
        f"the embedded server {layout.folder.name} {what}; the end of its log:\n{log or '(nothing)'}",
        command="postgres",
        stderr_tail=log,
        hint=f"The whole log is {layout.log}.",
    )
