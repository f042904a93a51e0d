"""Child processes that neither hear Ctrl-C by themselves nor outlive us."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO, Self

# The program runs beside a reader of a pipe whose other end is ours: the kernel closes our end however we end, kill -9
# included, and then the program is told to stop. (Linux's parent-death signal fires when a *thread* ends.)
# The watcher has no output of the program's: whoever reads that sees its end when the program ends. It begins before
# the trap is set, because a shell that was just forked may lose a signal for which its parent had one.
_GUARD = r"""
exec 3<&0 </dev/null
"$@" 3<&- &
program=$!
{
    read -r _ <&3
    kill -TERM "$program"
    patience=10
    while [ "$patience" -gt 0 ] && kill -0 "$program"; do
        sleep 1
        patience=$((patience - 1))
    done
    kill -KILL "$program"
} >/dev/null 2>&1 &
watcher=$!
trap 'kill -TERM "$program" 2>/dev/null' HUP INT TERM
exec 3<&-
wait "$program"
code=$?
kill "$watcher" 2>/dev/null
exit "$code"
"""
# Time for a program that was told to stop to remove its own files and close its sessions.
_STOP_PATIENCE_S = 10.0


class GuardedProcess:
    """One child process, as a context manager; at its end the process is stopped if it still runs.

    It runs in a session of its own, so Ctrl-C at the terminal reaches us alone, and we stop it in order.

    Args:
        command: The program's absolute path and its arguments; never a password.
        environment: The whole environment.
        output: Where standard output goes; None throws it away.
        errors: Where standard error goes; None throws it away.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        output: IO[bytes] | None = None,
        errors: IO[bytes] | None = None,
    ) -> None:
        listening, self._speaking = os.pipe()
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, "squizzle-guard", *command],
                stdin=listening,
                stdout=output or subprocess.DEVNULL,
                stderr=errors or subprocess.DEVNULL,
                env=dict(environment),
                start_new_session=True,
            )
        except BaseException:
            os.close(self._speaking)
            raise
        finally:
            os.close(listening)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait(self, seconds: float) -> int | None:
        """The exit code; None when it still runs after that long."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

    def stop(self) -> None:
        """Tell it to stop, and kill it when it does not."""
        with contextlib.suppress(OSError):  # closed before
            os.close(self._speaking)
        if self.wait(_STOP_PATIENCE_S) is None:
            # The whole session, which is ours alone: the shell's end would not be the program's.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
