"""How a run stops that was cancelled, or told to end: nothing more is begun, and it still says what stands.

Prefect ends the process of a cancelled run by SIGTERM where something watches it (a worker, `serve`), and kills it half
a minute later. Where nothing does (somebody started the run by hand, or its worker died) a cancelled run would just go
on, so it looks after its own state, too.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.exceptions import PrefectException
from prefect.runtime import flow_run

# A read of one run's state; whoever cancels waits no longer than this until nothing more is begun.
_LOOK_EVERY_S = 5.0
LOOKS = "squizzle: is it cancelled?"
_CANCELLED = {StateType.CANCELLING, StateType.CANCELLED}


def is_cancelled(client: SyncPrefectClient | None = None) -> bool:
    """Whether somebody cancelled this run; False, too, where Prefect cannot be asked."""
    run_id = flow_run.id
    if run_id is None:
        return False
    try:
        if client is not None:
            state = client.read_flow_run(UUID(run_id)).state
        else:
            with get_client(sync_client=True) as own:
                state = own.read_flow_run(UUID(run_id)).state
    except (httpx.HTTPError, PrefectException):
        return False
    return state is not None and state.type in _CANCELLED


@contextmanager
def ended_when_cancelled() -> Iterator[None]:
    """Inside, this run gets a TerminationSignal when somebody cancels it, also where no worker looks after it."""
    over, turn = threading.Event(), threading.Lock()

    def look() -> None:
        with get_client(sync_client=True) as client:
            while not over.wait(_LOOK_EVERY_S):
                if is_cancelled(client):
                    break
        with turn:
            if not over.is_set():
                os.kill(os.getpid(), signal.SIGTERM)

    if _is_told_by_signals():
        context = copy_context()
        threading.Thread(target=context.run, args=(look,), name=LOOKS, daemon=True).start()
    try:
        yield
    finally:
        with turn:
            over.set()


def _is_told_by_signals() -> bool:
    """Whether SIGTERM raises an error in this thread: Prefect sees to that where a flow runs in the main thread."""
    return threading.current_thread() is threading.main_thread() and callable(signal.getsignal(signal.SIGTERM))


@contextmanager
def undisturbed(*, when: bool) -> Iterator[None]:
    """Inside, another SIGTERM ends nothing: whoever was told to stop already says what stands, and then stops."""
    if not when or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
