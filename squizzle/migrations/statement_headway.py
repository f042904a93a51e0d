"""How far a long statement is, as the server says: told as a sentence, or shown to whoever looks on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from squizzle.headway import Stretch, Unit, is_told, stretch

_UNITS = {"blocks": Unit.PAGES, "rows": Unit.ROWS, "bytes": Unit.BYTES}


@dataclass(frozen=True, slots=True)
class Progress:
    """A row of `progress.sql`.

    Attributes:
        what: Such as `index public.orders_at`.
        phase: The server's word for what it is at.
        done: So much of this phase.
        total: Of so much; 0 or None when the server does not know.
        unit: `blocks`, `rows` or `bytes`.
    """

    what: str
    phase: str
    done: int
    total: int | None
    unit: str

    @property
    def sentence(self) -> str:
        """For a log."""
        total = f" of {self.total}" if self.total else ""
        return f"{self.what}: {self.phase}, {self.done}{total} {self.unit}"


class StatementHeadway:
    """Tells of one statement after the other; each phase of one is a stretch of its own, for each counts anew.

    Args:
        tell: Told a sentence each time where nobody looks on.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._phase = ("", "")
        self._open = ExitStack()
        self._stretch: Stretch | None = None

    def see(self, progress: Progress) -> None:
        """Say how far it is."""
        if not is_told():
            self._tell(progress.sentence)
            return
        phase = (progress.what, progress.phase)
        if self._stretch is None or phase != self._phase:
            self.end()
            self._phase = phase
            begun = stretch(": ".join(phase), unit=_UNITS[progress.unit], total=progress.total or 0)
            self._stretch = self._open.enter_context(begun)
        self._stretch.at(progress.done, total=progress.total or 0)

    def end(self) -> None:
        """The statement has ended."""
        self._stretch = None
        self._open.close()
