"""What a benchmark found: figures for machines, tables and pictures for people."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

# Closer than this is neither won nor lost: the same contender differs by as much from itself.
DRAW = 0.05
_ALL_DIGITS = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One measured number, beside that of a peer where there is one; one line of JSON.

    Attributes:
        name: What was measured of ours; with the peer's name unique in its benchmark.
        ours: The median.
        unit: Of both.
        runs: How many times ours was measured.
        low: The least of them.
        high: The most of them.
        peer: The peer's median; None where ours stands alone.
        peer_name: Who the peer is.
        ratio: Ours to the peer's, of the rounds' ratios the median; None takes that of the medians.
        more_is_better: It is a speed, not a time or a size.
        why: Why ours is worse; shown where it is.
    """

    name: str
    ours: float
    unit: str
    runs: int
    low: float
    high: float
    peer: float | None = None
    peer_name: str = ""
    ratio: float | None = None
    more_is_better: bool = False
    why: str = ""

    def to_peer(self) -> float | None:
        """Ours to the peer's; None without a peer, or where the peer's is nothing."""
        if self.ratio is not None or not self.peer:
            return self.ratio
        return self.ours / self.peer

    @property
    def is_lost(self) -> bool:
        """Whether the peer is better, by more than a draw."""
        ratio = self.to_peer()
        if ratio is None:
            return False
        return ratio < 1 - DRAW if self.more_is_better else ratio > 1 + DRAW

    def line(self, benchmark: str, command: str) -> str:
        """JSON on one line."""
        ratio = self.to_peer()
        return json.dumps(
            {
                "benchmark": benchmark,
                "name": self.name,
                "ours": _short(self.ours),
                "peer": None if self.peer is None else _short(self.peer),
                "peer_name": self.peer_name,
                "ratio": None if ratio is None else _short(ratio),
                "runs": self.runs,
                "spread": [_short(self.low), _short(self.high)],
                "unit": self.unit,
                "more_is_better": self.more_is_better,
                "command": command,
            },
            ensure_ascii=False,
        )


def shown(value: float) -> str:
    """Three digits, or all that stand before the point."""
    return f"{value:,.0f}" if abs(value) >= _ALL_DIGITS else f"{value:.3g}"


def _short(value: float) -> float:
    """What is measured is not known to more than five digits."""
    return float(f"{value:.5g}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One bar of a picture.

    Attributes:
        name: Who, or what.
        value: Its length, the median.
        low: The least that was measured.
        high: The most.
        is_ours: Squizzle's, which is drawn in another colour.
    """

    name: str
    value: float
    low: float
    high: float
    is_ours: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """Bars, one below the other.

    Attributes:
        title: What is shown.
        unit: Of the axis.
        bars: From top to bottom.
        is_logarithmic: For bars that differ by a factor of ten and more.
    """

    title: str
    unit: str
    bars: tuple[Bar, ...]
    is_logarithmic: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One benchmark's result.

    Attributes:
        title: What was measured.
        method: How, in a sentence or two.
        headings: Of the columns.
        rows: One a contender; the first column is its name.
        missing: Contenders that this machine does not have.
        command: What runs it again; the suite knows where it is empty.
        figures: For machines, and for the table of aims.
        picture: Of the figures; None draws nothing.
        shows_not: What one might think that this shows, and it does not.
        more: Further tables under the same heading.
    """

    title: str
    method: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    missing: tuple[str, ...] = ()
    command: str = ""
    figures: tuple[Figure, ...] = ()
    picture: Picture | None = None
    shows_not: str = ""
    more: tuple[Table, ...] = ()

    def text(self) -> str:
        """For the terminal: columns as wide as their content."""
        first = Table(headings=self.headings, rows=self.rows).text()
        others = [line for table in self.more for line in ("", table.title, "", table.text())]
        return "\n".join(["", self.title, self.method, "", first, *others, *self.missing])

    def markdown(self, picture: str = "") -> str:
        """For the page.

        Args:
            picture: Where the picture lies, seen from the page; nothing shows none.
        """
        parts = [f"## {self.title}", self.method, Table(headings=self.headings, rows=self.rows).markdown()]
        if picture:
            parts.append(f"![{self.title}]({picture})")
        parts += [part for table in self.more for part in (table.title, table.markdown())]
        if self.shows_not:
            parts.append(f"What this does not show: {self.shows_not}")
        parts += [f"{one}." for one in self.missing]
        return "\n\n".join((*(part for part in parts if part), f"`{self.command}`")) + "\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows of cells; columns of words stand to the left, columns of numbers to the right.

    Attributes:
        headings: Of the columns.
        rows: As many cells as there are headings.
        title: A sentence above it.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""

    def text(self) -> str:
        """Columns as wide as their content."""
        lines = (self.headings, *self.rows)
        places = range(len(self.headings))
        widths = [max(len(line[place]) for line in lines) for place in places]
        put = [str.ljust if self._is_words(place) else str.rjust for place in places]
        return "\n".join("  ".join(map(_put, put, line, widths)).rstrip() for line in lines)

    def markdown(self) -> str:
        """As Markdown writes tables; nothing without rows."""
        if not self.rows:
            return ""
        dashes = ["---" if self._is_words(place) else "---:" for place in range(len(self.headings))]
        return "\n".join(f"| {' | '.join(line)} |" for line in (self.headings, dashes, *self.rows))

    def _is_words(self, place: int) -> bool:
        return place == 0 or any(line[place][:1].isalpha() for line in self.rows)


def _put(put: Callable[[str, int], str], cell: str, width: int) -> str:
    return put(cell, width)
