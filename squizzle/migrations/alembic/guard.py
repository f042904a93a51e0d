"""What the code of a project must not do to the process that runs it."""

from __future__ import annotations

import logging.config
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

# `alembic.op` and `alembic.context` are names of the whole process: two threads would work on each other's database.
_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def guarded() -> Iterator[None]:
    """Run a project's code: alone in this process, with stdout free for us, and with our logging left as it is.

    Every env.py that `alembic init` writes calls `logging.config.fileConfig`, which would disable the loggers that
    are there and close their handlers.
    """
    with _ONE_AT_A_TIME, redirect_stdout(sys.stderr), _own_logging():
        yield


@contextmanager
def _own_logging() -> Iterator[None]:
    kept = logging.config.fileConfig, logging.config.dictConfig
    logging.config.fileConfig = _leave_logging_alone
    logging.config.dictConfig = _leave_logging_alone
    try:
        yield
    finally:
        logging.config.fileConfig, logging.config.dictConfig = kept


def _leave_logging_alone(*_given: object, **_named: object) -> None:
    """Stands in for fileConfig and dictConfig while a project's code runs."""
