"""Ctrl-C that is not lost.

Python raises KeyboardInterrupt wherever the program happens to be. In a callback (`__del__`, a weak reference's) it is
printed and forgotten, and in the middle of a library it may come out as some other error. So it is noted, too.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType

_noted: list[int] = []


def note_interrupts() -> None:
    """From now on Ctrl-C is noted and raised; left as it is where somebody ignores it (`nohup`). In the main thread."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _note)


def _note(number: int, frame: FrameType | None) -> None:
    _noted.append(number)
    signal.default_int_handler(number, frame)


def was_interrupted() -> bool:
    """Whether somebody pressed Ctrl-C, whatever became of that."""
    return bool(_noted)


def heed_interrupt() -> None:
    """End here where Ctrl-C was pressed and lost; called where one piece of work is done and the next has not begun.

    Not while another error is on its way, Ctrl-C's own among them: what is done then cleans up.

    Raises:
        KeyboardInterrupt: It was.
    """
    if _noted and sys.exc_info()[1] is None:
        raise KeyboardInterrupt
