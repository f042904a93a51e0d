"""How big the next batch is, and how long the pause before it: pure decisions from what the last one did."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from squizzle.migrations.batch_records import BatchPolicy

# Below it a batch is mostly its commit.
SMALLEST = 50
# More rows in one transaction would be what batches are there to avoid.
LARGEST = 200_000
# One slow or quick batch (a checkpoint, a cold cache) does not turn everything around.
_GROWTH = 2.0
_SHRINKING = 0.5
# Towards the size at which somebody had to wait: what doubles from there makes somebody wait every other time.
_CAREFUL_GROWTH = 1.1
# Shorter waits are what sessions do to each other all the time.
WAIT_THAT_COUNTS = timedelta(milliseconds=20)
LONGEST_PAUSE = timedelta(seconds=2)
_SHORTEST_LONGER_PAUSE = timedelta(milliseconds=50)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How fast it goes.

    Attributes:
        size: Rows of the next batch.
        pause: Before it.
        harmless: Half of the rows at which somebody had to wait last; None while nobody had to.
    """

    size: int
    pause: timedelta
    harmless: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchRun:
    """What one batch did.

    Attributes:
        took: From its begin to its commit.
        waiters: Sessions that waited for us when it ended.
        longest_wait: How long the longest of them had waited.
    """

    took: timedelta
    waiters: int = 0
    longest_wait: timedelta = timedelta()

    @property
    def held_up(self) -> bool:
        """Whether somebody waited so long that it counts."""
        return self.waiters > 0 and self.longest_wait >= WAIT_THAT_COUNTS


def next_pace(pace: Pace, batch: BatchRun, policy: BatchPolicy) -> Pace:
    """The pace of the next batch.

    Towards the target duration, at most twice or half as many rows. When somebody had to wait, half as many rows,
    whatever the target says, and from there on a tenth more at a time. Where a batch was so short that fewer rows would
    help nobody, twice the pause, too; without waiting it goes back to what was asked for.
    """
    if batch.held_up:
        size = _within(pace.size * _SHRINKING, policy)
        is_short = batch.took <= 2 * WAIT_THAT_COUNTS or size == pace.size
        longer = max(pace.pause * 2, _SHORTEST_LONGER_PAUSE) if is_short else pace.pause
        return Pace(size=size, pause=max(policy.pause, min(longer, LONGEST_PAUSE)), harmless=size)
    factor = policy.target / max(batch.took, timedelta(milliseconds=1))
    growth = _GROWTH if pace.harmless is None or pace.size < pace.harmless else _CAREFUL_GROWTH
    size = _within(pace.size * min(growth, max(_SHRINKING, factor)), policy)
    return Pace(size=size, pause=max(policy.pause, pace.pause / 2), harmless=pace.harmless)


def smaller(pace: Pace, policy: BatchPolicy) -> Pace:
    """After a batch that did not get its locks: fewer rows are locked by others."""
    return replace(pace, size=_within(pace.size * _SHRINKING, policy))


def _within(size: float, policy: BatchPolicy) -> int:
    """Between the limits, which give way to a size that was asked for."""
    return round(min(max(LARGEST, policy.size), max(min(SMALLEST, policy.size), size)))
