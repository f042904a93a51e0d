"""Running a client program of PostgreSQL (pg_dump, pg_restore …) so that it neither leaks nor outlives us."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import IO

from squizzle.errors import DatabaseState, ToolError
from squizzle.postgres.access import ServerAccess, client_environment
from squizzle.processes import GuardedProcess

_TAIL_LINES = 12
_TAIL_BYTES = 8192
_POLL_S = 0.2


def run_client(
    program: Path,
    arguments: Sequence[str],
    *,
    access: ServerAccess,
    database: str,
    doing: str,
    timeout: timedelta,
    database_state: DatabaseState = DatabaseState.UNTOUCHED,
    on_wait: Callable[[], None] = lambda: None,
) -> None:
    """Run one program to its end; it is stopped when we are interrupted, killed, or out of patience.

    Args:
        program: Such as `…/pg_dump`.
        arguments: Without connection settings and never with a password: those go through the environment.
        access: Server and account.
        database: The database to work on.
        doing: What for, as the beginning of a sentence ("dump shop").
        timeout: After that the program is stopped and counts as failed.
        database_state: What a failure leaves behind in the database.
        on_wait: Called a few times a second while it runs.

    Raises:
        ToolError: It failed or took too long; the message has the last lines of its standard error.
    """
    command = [str(program), *arguments]
    with client_environment(access, database) as environment, tempfile.TemporaryFile() as stderr:
        with GuardedProcess(command, environment=environment | {"LC_MESSAGES": "C"}, errors=stderr) as process:
            code = _wait(process, timeout, on_wait)
        if code != 0:
            raise _failure(program.name, doing, code, tail_of(stderr), timeout, database_state)


def _wait(process: GuardedProcess, timeout: timedelta, on_wait: Callable[[], None]) -> int | None:
    for _ in range(max(1, round(timeout.total_seconds() / _POLL_S))):
        code = process.wait(_POLL_S)
        if code is not None:
            return code
        on_wait()
    return None


def tail_of(stderr: IO[bytes]) -> str:
    """The last lines of a file that a program wrote its errors into."""
    size = stderr.seek(0, os.SEEK_END)
    stderr.seek(max(0, size - _TAIL_BYTES))
    lines = stderr.read().decode(errors="replace").strip().splitlines()
    return "\n".join(lines[-_TAIL_LINES:])


def _failure(
    name: str, doing: str, code: int | None, tail: str, timeout: timedelta, database_state: DatabaseState
) -> ToolError:
    how = f"took longer than {timeout}" if code is None else f"ended with exit code {code}"
    last = tail.splitlines()[-1] if tail else "it said nothing"
    hint = "free space there, then run the same again" if "No space left on device" in tail else ""
    full = f"; {name} said: {tail}" if tail and tail != last else f": {last}"
    return ToolError(
        f"could not {doing}: {name} {how}{full}",
        command=name,
        exit_code=-1 if code is None else code,
        stderr_tail=tail,
        hint=hint or "mend what it complains about, then run the same again",
        database_state=database_state,
    )
