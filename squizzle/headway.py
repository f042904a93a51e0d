"""How far long work is: said where it is done, shown by whoever runs it (docs/adr/0049).

Whoever works opens a `stretch` and says now and then how far it is, which costs next to nothing. Whoever runs the work
(the command, a task) says with `told_to` who is told. What is told is a picture that can be asked at any time: a
program that works for minutes without a word is still seen to run.
"""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol, TypeVar

# A sample a second, and the last minute of them: what was done an hour ago says little about the next minute.
_SAMPLE_EVERY_S = 1.0
_SAMPLES = 60
# From so short a time nobody can tell how long the rest takes.
_TOO_SOON_S = 1.0

Item = TypeVar("Item")


class Unit(StrEnum):
    """What a stretch is counted in."""

    BYTES = "bytes"
    ROWS = "rows"
    PAGES = "pages"
    FILES = "files"
    TABLES = "tables"
    BACKUPS = "backups"
    PLACES = "places"
    TIME = "time"
    """Nothing can be counted, only that it goes on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Headway:
    """How far one stretch of work is at one moment.

    Attributes:
        doing: What is done.
        unit: What is counted.
        done: So much; between two words from the work as it is to be expected.
        total: Of so much; 0 when it cannot be told.
        is_estimate: Whether the total is one.
        elapsed: Since it began.
        left: How long the rest will take, from the last minute; None when it cannot be told.
    """

    doing: str
    unit: Unit
    done: int
    total: int
    is_estimate: bool
    elapsed: timedelta
    left: timedelta | None

    @property
    def share(self) -> float | None:
        """Between 0 and 1; None when it cannot be told, also because more was done than was expected."""
        return self.done / self.total if 0 <= self.done < self.total else None


class Stretch:
    """A piece of work that goes on for a while. Safe to be told of and to be asked from different threads.

    Args:
        doing: What is done, as the beginning of a line ("reading public.orders").
        unit: What is counted.
        total: How much there is to do; 0 when it cannot be told.
        is_estimate: Whether the total is one.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        doing: str,
        *,
        unit: Unit,
        total: int,
        is_estimate: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._doing = doing
        self._unit = unit
        self._total = total
        self._is_estimate = is_estimate
        self._clock = clock
        self._guard = threading.RLock()
        self._began = clock()
        self._done = 0
        self._until = 0
        self._said_at = self._began
        self._samples: deque[tuple[float, int]] = deque([(self._began, 0)], maxlen=_SAMPLES)

    def at(self, done: int, *, until: int | None = None, total: int | None = None, doing: str | None = None) -> None:
        """Say how far it is.

        Args:
            done: So much in all.
            until: How far it will be at the next word, where that may take long.
            total: How much there is to do, if that has turned out to be something else.
            doing: What is done now, if that is something else.
        """
        with self._guard:
            now = self._clock()
            self._done = done
            self._until = max(done, until or done)
            self._said_at = now
            self._total = self._total if total is None else total
            self._doing = doing or self._doing
            if now - self._samples[-1][0] >= _SAMPLE_EVERY_S:
                self._samples.append((now, done))

    def add(self, more: int = 1) -> None:
        """Say that so much more is done."""
        with self._guard:
            self.at(self._done + more)

    def headway(self) -> Headway:
        """How far it is now."""
        with self._guard:
            now = self._clock()
            first_at, first = self._samples[0]
            spent = now - first_at
            # Inside a piece that says nothing: as fast as before it, and never beyond its end.
            before = self._said_at - first_at
            pace = (self._done - first) / before if before > 0 else 0.0
            done = round(min(self._done + pace * (now - self._said_at), self._until))
            left = None
            if spent >= _TOO_SOON_S and first < done < self._total:
                left = timedelta(seconds=(self._total - done) * spent / (done - first))
            return Headway(
                doing=self._doing,
                unit=self._unit,
                done=done,
                total=self._total,
                is_estimate=self._is_estimate,
                elapsed=timedelta(seconds=now - self._began),
                left=left,
            )


class Watcher(Protocol):
    """Somebody who is told what goes on."""

    def begun(self, stretch: Stretch) -> None:
        """This has begun; it may be asked until it has ended."""

    def ended(self, stretch: Stretch) -> None:
        """This has ended, well or not."""


_watchers: ContextVar[tuple[Watcher, ...]] = ContextVar("squizzle_headway", default=())


@contextmanager
def told_to(watcher: Watcher, *, alone: bool = False) -> Iterator[None]:
    """Tell somebody about all long work inside.

    Args:
        watcher: Whom.
        alone: Whether nobody else is told meanwhile (two pictures do not share a terminal).
    """
    token = _watchers.set((watcher,) if alone else (*_watchers.get(), watcher))
    try:
        yield
    finally:
        _watchers.reset(token)


def is_told() -> bool:
    """Whether anybody is: what only headway needs is not asked of a server otherwise."""
    return bool(_watchers.get())


@contextmanager
def stretch(doing: str, *, unit: Unit = Unit.TIME, total: int = 0, is_estimate: bool = False) -> Iterator[Stretch]:
    """Say that something goes on for a while; see `Stretch`."""
    begun = Stretch(doing, unit=unit, total=total, is_estimate=is_estimate)
    watchers = _watchers.get()
    told: list[Watcher] = []
    try:
        for watcher in watchers:
            told.append(watcher)
            watcher.begun(begun)
        yield begun
    finally:
        for watcher in reversed(told):
            watcher.ended(begun)


def counted(items: Sequence[Item], doing: str, *, unit: Unit) -> Iterator[Item]:
    """The items, one after the other, and how many of them are done."""
    with stretch(doing, unit=unit, total=len(items)) as headway:
        for item in items:
            yield item
            headway.add()


# What begins so soon after something else has ended belongs together: many short pieces are long, too.
_TOGETHER_S = 1.0


class Onlooker(ABC):
    """A watcher that looks every so often, from a thread that is there only while something goes on.

    Args:
        first: What is over before is never looked at.
        every: Then so often.
    """

    def __init__(self, *, first: timedelta, every: timedelta) -> None:
        self._first_s = first.total_seconds()
        self._every_s = every.total_seconds()
        self._turn = threading.Lock()
        self._guard = threading.Lock()
        self._going: list[Stretch] = []
        self._since = self._over_at = self._looked_at = -math.inf
        self._over: threading.Event | None = None
        self._thread: threading.Thread | None = None

    def begun(self, stretch: Stretch) -> None:
        """See `Watcher`."""
        with self._turn:
            with self._guard:
                self._going.append(stretch)
            if self._thread is not None:
                return
            now = time.monotonic()
            if now - self._over_at > _TOGETHER_S:
                self._since = now
            self._over = threading.Event()
            self._thread = threading.Thread(
                target=self._look_on, args=(self._over,), name="squizzle headway", daemon=True
            )
            self._thread.start()

    def ended(self, stretch: Stretch) -> None:
        """See `Watcher`."""
        with self._turn:
            with self._guard:
                self._going.remove(stretch)
                if self._going:
                    return
            self._over_at = time.monotonic()
            if self._thread is not None and self._over is not None:
                self._over.set()
                self._thread.join()
                self._thread = None

    def _look_on(self, over: threading.Event) -> None:
        looked = False
        while not over.wait(self._pause_s()):
            with self._guard:
                going = tuple(self._going)
            self._looked_at = time.monotonic()
            self.look(tuple(one.headway() for one in going))
            looked = True
        if looked:
            self.close()

    def _pause_s(self) -> float:
        now = time.monotonic()
        return max(0.0, self._since + self._first_s - now, self._looked_at + self._every_s - now)

    @abstractmethod
    def look(self, going: tuple[Headway, ...]) -> None:
        """Show how far everything is that goes on, the outermost first."""

    def close(self) -> None:  # noqa: B027 - a log has nothing to close
        """Nothing goes on any more; called only where something was looked at."""
