"""Which line of a program is at work, and which one failed."""

from __future__ import annotations

import inspect
import traceback
from pathlib import Path


def line_at_work(file: Path) -> int:
    """The line of the file that is being executed now, by whoever called us; 0 when the file is not at work."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_filename == str(file):
            return frame.f_lineno
        frame = frame.f_back
    return 0


def failed_line(error: BaseException, file: Path) -> int:
    """The innermost line of the file that the error came through; 0 when it did not come through it."""
    lines = [
        number or 0 for frame, number in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == str(file)
    ]
    return lines[-1] if lines else syntax_line(error, file)


def syntax_line(error: BaseException, file: Path) -> int:
    """The line of a file that Python could not even read; 0 when that is not what happened."""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return error.lineno or 0
    return 0
