"""Contenders that take turns, A B B A, and what comes of it: medians, spreads and ratios."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.report import Bar, Figure


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What one contender took in each round.

    Attributes:
        values: In the order of the rounds.
    """

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The least."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The most."""
        return max(self.values)

    def ratio_to(self, other: Taken) -> float:
        """Of each round's ratios the median: a round in which the machine was slow for both does not count more."""
        return statistics.median(mine / its for mine, its in zip(self.values, other.values, strict=True))

    def cells(self, form: str = ".2f") -> tuple[str, str, str]:
        """Median, least and most, for a table."""
        return f"{self.median:{form}}", f"{self.low:{form}}", f"{self.high:{form}}"

    def bar(self, name: str, *, is_ours: bool = False) -> Bar:
        """For a picture."""
        return Bar(name=name, value=self.median, low=self.low, high=self.high, is_ours=is_ours)

    def figure(
        self,
        name: str,
        unit: str,
        *,
        peer: Taken | None = None,
        peer_name: str = "",
        more_is_better: bool = False,
        why: str = "",
    ) -> Figure:
        """For a line of JSON.

        Args:
            name: What was measured of ours.
            unit: Of both.
            peer: What the peer took in the same rounds.
            peer_name: Who that is.
            more_is_better: It is a speed.
            why: Why ours is worse, where it is.
        """
        return Figure(
            name=name,
            ours=self.median,
            unit=unit,
            runs=len(self.values),
            low=self.low,
            high=self.high,
            peer=peer.median if peer else None,
            peer_name=peer_name,
            ratio=self.ratio_to(peer) if peer and all(peer.values) else None,
            more_is_better=more_is_better,
            why=why,
        )


def take_turns(contenders: Mapping[str, Callable[[], float]], rounds: int, *, form: str = ".2f") -> dict[str, Taken]:
    """Run every contender in every round, forth in one and back in the next, so that none profits from its place.

    Args:
        contenders: Each does its work once, and returns what it took.
        rounds: How many.
        form: How the progress on standard error shows a number.
    """
    values: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in contenders if number % 2 == 0 else reversed(list(contenders)):
            values[name].append(contenders[name]())
            print(f"  round {number + 1}: {name}: {values[name][-1]:{form}}", file=sys.stderr, flush=True)
    return {name: Taken(values=tuple(found)) for name, found in values.items()}
