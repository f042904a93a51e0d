"""The few places where somebody may disturb us on purpose; usually there is nobody, and nothing is spent on it.

`squizzle.chaos` is who does. It knows sessions, stores and clouds, and they know only this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol


class Disturber(Protocol):
    """Told before something is done; each may fail, wait, or end this process."""

    def step(self, title: str) -> None:
        """A step of a flow begins."""

    def session(self, connection: Any, database: str) -> None:
        """A session was opened; nothing was said in it yet."""

    def write(self, path: Path) -> None:
        """A file is about to be written into a store. Raises OSError."""

    def client(self, client: Any, service: str) -> None:
        """A client of boto3 was made."""

    def cluster(self, doing: str) -> None:
        """Kubernetes is about to be asked. Raises what its client raises."""


_present: Disturber | None = None


def present() -> Disturber | None:
    """Who disturbs this process; None: nobody does."""
    return _present


def disturb_write(path: Path) -> None:
    """Tell that a file is about to be written into a store. Raises OSError where the disk shall be full."""
    if _present is not None:
        _present.write(path)


def disturb_client(client: Any, service: str) -> None:
    """Tell that a client of boto3 was made."""
    if _present is not None:
        _present.client(client, service)


def disturb_cluster(doing: str) -> None:
    """Tell that Kubernetes is about to be asked. Raises what its client raises where it shall be busy."""
    if _present is not None:
        _present.cluster(doing)


@contextmanager
def disturbed_by(disturber: Disturber) -> Iterator[None]:
    """Let somebody disturb everything that this process does in the block, in all its threads."""
    global _present  # noqa: PLW0603 - it is the process that is disturbed
    before, _present = _present, disturber
    try:
        yield
    finally:
        _present = before
