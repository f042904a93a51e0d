"""Prefect's API for the length of one command, so that a verb that runs a flow needs no server.

Prefect can start such an API by itself, but that one hears the Ctrl-C that is meant for the flow, which then waits for
an API that is gone, and it goes on running when the flow's process is killed. Ours does neither, and it starts while
the flow is still being imported.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from squizzle.errors import InvalidInputError, ToolError
from squizzle.processes import GuardedProcess, bare_environment

# The first start makes Prefect's tables: 15 s here, longer on a slow laptop.
_PATIENCE_S = 120.0
_POLL_S = 0.1
_SETTINGS = {
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # the steps and the errors are shown by us
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_UI_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",  # a fifth of its start, and the verbs' flows load no blocks
    # Half of the CPU time per task run, and no lag (measured).
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
}


@contextmanager
def temporary_api() -> Iterator[Callable[[], None]]:
    """Run Prefect's API on a free port and point Prefect at it; call it before Prefect is imported.

    A server that the environment names is not used: at 3 a.m. it may be the casualty. Runs are kept in
    `$XDG_STATE_HOME/squizzle/prefect`, apart from a home of Prefect that another server may be using.

    Yields:
        A function that waits until the API answers; import the flow first, it takes as long.

    Raises:
        InvalidInputError: That folder cannot be made.
        ToolError: The API does not start; the message has what it wrote.
    """
    before = dict(os.environ)
    port = _free_port()
    os.environ.update(_SETTINGS | {"PREFECT_HOME": str(_home()), "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"})
    with tempfile.TemporaryFile() as log:
        # The server itself must not be a client of the API that the environment names.
        its_own = [name for name in os.environ if name.startswith(("PREFECT_", "PYTHON")) and name != "PREFECT_API_URL"]
        environment = bare_environment() | {name: os.environ[name] for name in its_own}
        environment |= {"PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
        command = [sys.executable, "-m", "tasks.api_process", str(port)]
        with GuardedProcess(command, environment=environment, output=log, errors=log) as process:
            try:
                yield lambda: _wait(process, port, log)
            finally:
                os.environ.clear()
                os.environ.update(before)


def _home() -> Path:
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    home = state / "squizzle" / "prefect"
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise InvalidInputError(
            f"the folder {home} for Prefect's temporary API cannot be made: {exc.strerror}",
            hint="set XDG_STATE_HOME to a folder that can be written",
        ) from exc
    return home


def _wait(process: GuardedProcess, port: int, log: IO[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not _answers(port):
        code = process.wait(_POLL_S)
        if code is not None or time.monotonic() > deadline:
            log.seek(0)
            tail = "\n".join(log.read().decode(errors="replace").strip().splitlines()[-10:])
            raise ToolError(
                f"Prefect's temporary API did not start: {tail or 'it said nothing'}",
                command="tasks.api_process",
                exit_code=code or 0,
                hint="mend what it complains about; every step of a recovery is also a command that needs no Prefect",
            )


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=2) as response:
            return bool(response.status == 200)  # noqa: PLR2004
    except (urllib.error.URLError, OSError):
        return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
