"""Child processes that neither hear Ctrl-C by themselves nor outlive us."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

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


# Where programs, libraries and files are, the language, the time zone, whom to trust: what any program may need.
_KEPT = frozenset(
    {"PATH", "LD_LIBRARY_PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "LANG", "LANGUAGE", "TZ"}
    | {"SSL_CERT_FILE", "SSL_CERT_DIR", "OPENSSL_CONF", "KRB5CCNAME", "KRB5_CONFIG", "KRB5_KTNAME"}
)


def bare_environment() -> dict[str, str]:
    """The environment of a program that has nothing to do with what else ours says.

    Ours may hold passwords and keys (`password_env`, `AWS_SECRET_ACCESS_KEY` …). Whoever was handed them may write
    them into a log or a core file, and whoever is its account reads them in `/proc`.
    """
    return {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("LC_")}


# The exit code of a process that an interrupted look has reaped: the kernel told it once, to nobody.
_NOBODY_KNOWS = 255
_LONGEST_PAUSE_S = 0.05


class Child(subprocess.Popen[bytes]):
    """A child process that may be waited for again after Ctrl-C has interrupted the waiting, wherever it did.

    Python's own takes a lock and only then prepares to give it back. An interrupt between the two (seen in 3.11, when a
    signal came while it looked) leaves the lock taken, and everybody who waits for that process later waits forever.
    """

    def __init__(self, command: Sequence[str | Path], **options: Any) -> None:
        self._turn = threading.RLock()
        super().__init__(command, **options)

    def poll(self) -> int | None:
        """The exit code, minus the signal that ended it; None while it runs."""
        with self._turn:
            if self.returncode is None:
                try:
                    pid, status = os.waitpid(self.pid, os.WNOHANG)
                except ChildProcessError:
                    self.returncode = _NOBODY_KNOWS
                else:
                    self.returncode = os.waitstatus_to_exitcode(status) if pid else None
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, as soon as it ended.

        Args:
            timeout: Seconds; None waits as long as it takes.

        Raises:
            TimeoutExpired: It still runs.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = 0.0005
        while (code := self.poll()) is None:
            left = _LONGEST_PAUSE_S if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            pause = min(pause * 2, left, _LONGEST_PAUSE_S)
            time.sleep(pause)
        return code


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
        listening, speaking = os.pipe()
        # An object, so that its end is closed, and the program told, even if we are interrupted before anybody has us.
        self._speaking = open(speaking, "wb", buffering=0)  # noqa: PTH123, SIM115 - a descriptor, no path; kept
        try:
            self._process = Child(
                ["/bin/sh", "-c", _GUARD, "squizzle-guard", *command],
                stdin=listening,
                stdout=output or subprocess.DEVNULL,
                stderr=errors or subprocess.DEVNULL,
                env=dict(environment),
                start_new_session=True,
            )
        except BaseException:
            self._speaking.close()
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
        self._speaking.close()
        if self.wait(_STOP_PATIENCE_S) is None:
            # The whole session, which is ours alone: the shell's end would not be the program's.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
