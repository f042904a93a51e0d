"""Prefect's server may be restarted while a run works: what is published waits for it, and ends no work.

A client of Prefect's tries again by itself, but only once it was connected; each artifact is sent by a new one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import httpx

from squizzle.durations import words
from tasks.steps import log_line

# A restart takes seconds, and half a minute where tables have to be changed.
_PATIENCE = timedelta(minutes=2)
_AGAIN_AFTER_S = 1.0


def publish(what: Callable[..., object], *given: object, patience: timedelta = _PATIENCE, **named: object) -> None:
    """Send something to Prefect; where nobody answers for too long the log says so, and the run goes on without it.

    Args:
        what: A function of Prefect's that sends it.
        given: Its arguments.
        patience: How long it is tried.
        named: Its named arguments.
    """
    send, until = partial(what, *given, **named), time.monotonic() + patience.total_seconds()
    while True:
        try:
            send()
        except httpx.TransportError as exc:
            if time.monotonic() >= until:
                missing = f"so {named.get('key', 'a step')} is not shown: {exc}"
                log_line(f"Prefect did not answer for {words(patience)}, {missing}", logging.WARNING)
                return
            time.sleep(_AGAIN_AFTER_S)
        else:
            return
