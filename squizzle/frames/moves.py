"""Which metrics moved: each of a target's against its own past, so that nobody has to say what is normal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from squizzle.frames.parquet import ENTRY
from squizzle.frames.sweeps import METRIC

Values = npt.NDArray[Any]

# Of fewer values before nobody knows what is usual.
LEAST_BEFORE = 5
# Boris Iglewicz and David Hoaglin (1993), How to Detect and Handle Outliers: beyond 3.5 a value is one. A counter that
# grows evenly gets 1.35, however long it is watched.
_FAR = 3.5
# The median absolute deviation of a normal distribution, as its standard deviation.
_TO_SIGMA = 1.4826
# What hardly ever moves would be far from its median at once: by less than 3.5 % of it, or three of what is counted, it
# has not moved.
_LEAST_SHARE, _LEAST_COUNT = 0.01, 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """A metric that is not as it was.

    Attributes:
        metric: Its name.
        target: Where it moved most.
        now: Its newest value there.
        usual: The median of its values before.
        score: How far that is from the median, in standard deviations as the median deviation tells them.
        targets: At how many targets it moved.
        points: When it had which value there, the oldest first.
    """

    metric: str
    target: str
    now: float
    usual: float
    score: float
    targets: int
    points: tuple[tuple[datetime, float], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """One metric at one target over some time.

    Attributes:
        target: Which.
        sweeps: How many sweeps know it.
        least: Its smallest value.
        usual: Its median before the newest value; that value where there is no other.
        most: Its largest value.
        now: The newest value that is known.
        score: As in `Move`; None where too few values are known.
    """

    target: str
    sweeps: int
    least: float
    usual: float
    most: float
    now: float
    score: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class HourOfFleet:
    """One metric at all targets in an hour.

    Attributes:
        at: The hour's begin.
        least: The smallest value.
        median: The median of all values.
        most: The largest value.
    """

    at: datetime
    least: float
    median: float
    most: float


def metrics_of(frame: pd.DataFrame) -> tuple[str, ...]:
    """The metrics that a frame has, by name."""
    return tuple(name.removeprefix(METRIC) for name in frame.columns if name.startswith(METRIC))


def find_moves(frame: pd.DataFrame, *, most: int = 10) -> tuple[Move, ...]:
    """The metrics whose newest values are farthest from their own median, one each, the farthest first.

    Args:
        frame: Of sweeps of one fleet (`read_sweeps`).
        most: So many at most.
    """
    if not len(frame):
        return ()
    grid = _Grid(frame)
    found = [move for name in metrics_of(frame) if (move := grid.move(name)) is not None]
    return tuple(sorted(found, key=lambda one: (-one.score, one.metric))[:most])


def courses(frame: pd.DataFrame, metric: str) -> tuple[Course, ...]:
    """One metric at each target, where it moved most first; nothing where no sweep knows it."""
    if METRIC + metric not in frame.columns:
        return ()
    grid = _Grid(frame)
    values = grid.values(metric)
    scores = {place: float(score) for place, score in zip(*_scores(values)[:2], strict=True)}
    found = []
    for place, target in enumerate(grid.targets):
        known = values[:, place][~np.isnan(values[:, place])]
        if len(known):
            found.append(
                Course(
                    target=str(target),
                    sweeps=len(known),
                    least=float(known.min()),
                    usual=float(np.median(known[:-1] if len(known) > 1 else known)),
                    most=float(known.max()),
                    now=float(known[-1]),
                    score=scores.get(place),
                )
            )
    return tuple(sorted(found, key=lambda one: (1.0 if one.score is None else -one.score, one.target)))


def hours(frame: pd.DataFrame, metric: str) -> tuple[HourOfFleet, ...]:
    """One metric at all targets, hour by hour, the oldest first; nothing where no sweep knows it."""
    if METRIC + metric not in frame.columns:
        return ()
    known = frame[["at", METRIC + metric]].dropna()
    grouped = known.groupby(known["at"].dt.floor("h"))[METRIC + metric].agg(["min", "median", "max"])
    return tuple(
        HourOfFleet(at=at.to_pydatetime(), least=float(least), median=float(median), most=float(most))
        for at, least, median, most in grouped.itertuples()
    )


def sweeps_in(frame: pd.DataFrame) -> int:
    """Of how many sweeps a frame is."""
    return int(frame[ENTRY].nunique()) if len(frame) else 0


class _Grid:
    """Values of a metric by sweep and target: looked up once for all metrics."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        self._rows, self._times = pd.factorize(frame["at"], sort=True)
        self._columns, self.targets = pd.factorize(frame["target"], sort=True)

    def values(self, metric: str) -> Values:
        """A row for each sweep, the oldest first, a column for each target; NaN where it is not known."""
        grid = np.full((len(self._times), len(self.targets)), np.nan)
        grid[self._rows, self._columns] = self._frame[METRIC + metric].to_numpy(dtype=float)
        return grid

    def move(self, metric: str) -> Move | None:
        """Where the metric moved most; None where it did not move."""
        values = self.values(metric)
        places, scores, usual = _scores(values)
        if not len(places) or scores.max() < _FAR:
            return None
        worst = int(scores.argmax())
        column = values[:, places[worst]]
        known = ~np.isnan(column)
        return Move(
            metric=metric,
            target=str(self.targets[places[worst]]),
            now=float(column[-1]),
            usual=float(usual[worst]),
            score=float(scores[worst]),
            targets=int((scores >= _FAR).sum()),
            points=tuple(
                (at.to_pydatetime(), float(value)) for at, value in zip(self._times[known], column[known], strict=True)
            ),
        )


def _scores(values: Values) -> tuple[Values, Values, Values]:
    """Of each target that the newest sweep knows, and enough before: its column, how far it moved, and its median."""
    before, now = values[:-1], values[-1]
    places = np.flatnonzero(~np.isnan(now) & ((~np.isnan(before)).sum(axis=0) >= LEAST_BEFORE))
    if not len(places):
        return places, np.empty(0), np.empty(0)
    before, now = before[:, places], now[places]
    usual = np.nanmedian(before, axis=0)
    deviation = np.nanmedian(np.abs(before - usual), axis=0) * _TO_SIGMA
    is_counted = np.all(np.mod(values[~np.isnan(values)], 1) == 0)
    least = np.maximum(np.abs(usual) * _LEAST_SHARE, _LEAST_COUNT if is_counted else np.finfo(float).tiny)
    return places, np.abs(now - usual) / np.maximum(deviation, least), usual
