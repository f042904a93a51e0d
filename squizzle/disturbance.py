"""The few places where somebody may disturb us on purpose; usually there is nobody, and nothing is spent on it.

`squizzle.chaos` is who does. It knows sessions, stores and clouds, and they know only this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
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

    def strikes(self) -> tuple[str, ...]:
        """Everything that was struck so far, a sentence each."""


_present: Disturber | None = None
_is_spared = False


def present() -> Disturber | None:
    """Who disturbs this process; None: nobody does, or what is done now is spared."""
    return None if _is_spared else _present


def strikes_so_far() -> tuple[str, ...]:
    """Everything that was struck in this process, a sentence each; nothing where nobody disturbs it."""
    return _present.strikes() if _present is not None else ()


def disturb_write(path: Path) -> None:
    """Tell that a file is about to be written into a store. Raises OSError where the disk shall be full."""
    if (disturber := present()) is not None:
        disturber.write(path)


def disturb_client(client: Any, service: str) -> None:
    """Tell that a client of boto3 was made."""
    if (disturber := present()) is not None:
        disturber.client(client, service)


def disturb_cluster(doing: str) -> None:
    """Tell that Kubernetes is about to be asked. Raises what its client raises where it shall be busy."""
    if (disturber := present()) is not None:
        disturber.cluster(doing)


@contextmanager
def disturbed_by(disturber: Disturber) -> Iterator[None]:
    """Let somebody disturb everything that this process does in the block, in all its threads."""
    global _present  # noqa: PLW0603 - it is the process that is disturbed
    before, _present = _present, disturber
    try:
        yield
    finally:
        _present = before


def spared() -> AbstractContextManager[None]:
    """Let nobody disturb what this process does in the block: it looks at what the others do."""
    return _sparing(is_spared=True)


def exposed() -> AbstractContextManager[None]:
    """Let what this process does in the block be disturbed, within a block that is spared."""
    return _sparing(is_spared=False)


@contextmanager
def _sparing(*, is_spared: bool) -> Iterator[None]:
    global _is_spared  # noqa: PLW0603 - it is the process that is disturbed
    before, _is_spared = _is_spared, is_spared
    try:
        yield
    finally:
        _is_spared = before
