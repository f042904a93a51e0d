"""A tiny shell process that stands between us and a server, and ends the server when we are gone.

A server that we start as a plain child outlives us when we are killed with SIGKILL, and then holds memory, a port and
a folder for ever. The parent-death signal of Linux is no way out: it fires when the *thread* that started the child
ends, which in a worker pool is long before the process does. A pipe is: the kernel closes our end however we end.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal

from squizzle.errors import EmbeddedServerError

from .locking import close_private, keep_private
from .runtime import Runtime

PATIENCE_S = 5
"""How long a server whose owner is gone may take for its shutdown checkpoint before it is stopped without one."""

_REPEAT_S = 0.05

_SCRIPT = r"""
# Arguments: seconds of patience, then the server's command line. Standard input: the owner's orders; its end is the
# owner's end. Whole numbers and one-second steps, because that is all POSIX gives `sleep`.
patience=$1
shift
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
trap 'exit 0' USR1
trap 'kill -INT "$server"' HUP INT TERM

obey() {
    while read -r order; do
        case $order in
        fast) kill -INT "$server" ;;
        immediate) kill -QUIT "$server" ;;
        release) kill -USR1 "$$"; exit 0 ;;
        esac
    done
    # Again and again: a shell starts what runs in the background with both ignored, until the server minds them.
    while [ "$patience" -gt 0 ] && kill -INT "$server"; do
        sleep 1
        patience=$((patience - 1))
    done
    while kill -QUIT "$server"; do
        sleep 1
    done
}
obey <&3 2>/dev/null &
obeying=$!
exec 3<&-

# A signal that is trapped ends `wait` early, with a code above 128.
wait "$server"
code=$?
while [ "$code" -gt 128 ] && kill -0 "$server" 2>/dev/null; do
    wait "$server"
    code=$?
done
kill "$obeying" 2>/dev/null
exit "$code"
"""


class Guardian:
    """Runs one server until it ends, until it is released, or until the process that made this object ends.

    Args:
        runtime: The account and the environment to run under.
        command: The server's command line, its program an absolute path.
        log: Where the server writes.
        patience_s: Whole seconds that the server may take for a fast stop when we are gone.

    Raises:
        EmbeddedServerError: The shell cannot be started. Nothing runs.
    """

    def __init__(
        self,
        runtime: Runtime,
        command: Sequence[str | Path],
        log: IO[bytes],
        *,
        patience_s: int = PATIENCE_S,
    ) -> None:
        listening, self._speaking = os.pipe()
        keep_private(self._speaking)
        try:
            self._process = runtime.popen(
                ["/bin/sh", "-c", _SCRIPT, "squizzle-guardian", str(patience_s), *command],
                stdin=listening,
                output=log,
            )
        except BaseException:
            close_private(self._speaking)
            raise
        finally:
            os.close(listening)

    def order(self, mode: Literal["fast", "immediate"]) -> bool:
        """Has the server stopped; does not wait for it.

        Args:
            mode: With a checkpoint, or without.

        Returns:
            Whether the guardian could still be told.
        """
        return self._say(mode)

    def end(self, seconds: float) -> bool:
        """Has a server stopped at once that may not have come far enough yet to mind an order.

        Args:
            seconds: How long to try; after that the server is on its own with a guardian that goes on trying.

        Returns:
            Whether it ended.
        """
        deadline = time.monotonic() + seconds
        while not self.wait(_REPEAT_S):
            if time.monotonic() > deadline:
                self.let_go()
                return False
            self.order("immediate")
        return True

    def release(self) -> None:
        """Ends the guardian and lets the server run on, for good.

        Raises:
            EmbeddedServerError: The guardian does not end; with this process, the server may be stopped.
        """
        if not self._say("release") or not self.wait(PATIENCE_S):
            raise EmbeddedServerError(
                "the guardian of an embedded server does not let it go",
                command="sh",
                hint="stop the server in order and start it again",
            )

    def has_ended(self) -> bool:
        """Says whether the guardian is gone, and with it, unless released or killed, the server."""
        return self._process.poll() is not None

    def wait(self, seconds: float) -> bool:
        """Waits for the guardian's end, then closes the pipe.

        Args:
            seconds: How long.

        Returns:
            Whether it ended.
        """
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        if self._process.returncode is None:
            return False
        close_private(self._speaking)
        return True

    def let_go(self) -> None:
        """Closes the pipe, which stops the server as our end would."""
        close_private(self._speaking)

    def _say(self, word: str) -> bool:
        try:
            os.write(self._speaking, f"{word}\n".encode())
        except OSError:
            return False
        return True
