"""A receiver of the log in a thread of the test's own, with what it said and how it ended."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from squizzle.backups.wal.archive import WalArchive
from squizzle.backups.wal.receiver import Received, Receiving, receive_log
from tests.support.processes import PATIENCE_S


@dataclass(kw_only=True)
class Running:
    """What it said so far, and how it ended."""

    said: list[str] = field(default_factory=list)
    done: Received | None = None
    error: BaseException | None = None


def receive_to_its_end(order: Receiving, archive: WalArchive) -> Received:
    """Receive until it refuses; told to stop when it does not."""
    stop = threading.Event()
    patience = threading.Timer(PATIENCE_S, stop.set)
    patience.start()
    try:
        return receive_log(order, archive, stop=stop, on_progress=print)
    finally:
        patience.cancel()
        patience.join()


@contextmanager
def receiving(order: Receiving, archive: WalArchive) -> Iterator[Running]:
    """Receive for the length of the block; an error of the receiver is one of the block."""
    running = Running()
    stop = threading.Event()

    def receive() -> None:
        try:
            running.done = receive_log(order, archive, stop=stop, on_progress=running.said.append)
        except BaseException as exc:  # noqa: BLE001 - raised in the test's thread
            running.error = exc

    thread = threading.Thread(target=receive)
    thread.start()
    try:
        yield running
    finally:
        stop.set()
        thread.join()
        print("\n".join(running.said), running.error)  # noqa: T201 - shown when the test fails
    if running.error is not None:
        raise running.error
