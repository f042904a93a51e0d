"""A recovery on its own in a process of its own that dies when it is told to; for `tests.support.killed`."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from flows.auto_recover import auto_recover


def recover(_begin: Callable[[], None], *, settings: str, dies: str) -> None:
    """Recover the fleet `town`.

    Args:
        settings: Its squizzle.toml.
        dies: As soon as there is this file.
    """
    threading.Thread(target=_die, args=(Path(dies),), daemon=True).start()
    auto_recover("town", configuration=Path(settings), policy="safe", return_state=True)


def _die(file: Path) -> None:
    while not file.exists():  # whoever tells it has a patience of its own
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)
