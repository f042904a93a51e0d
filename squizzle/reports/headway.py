"""How far long work is, for people: bars on a terminal, a sentence in a log."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from squizzle.durations import about, words
from squizzle.headway import Headway, Onlooker, Unit, told_to

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

BARS_AFTER = timedelta(seconds=2)
"""What takes longer than this deserves a sign of life."""

# As often as a number can be read.
_BARS_EVERY = timedelta(seconds=0.25)
_BAR_WIDTH = 24
# A step of a flow is in the log when it ends; so only what takes longer than most steps do.
_LOG_AFTER = timedelta(seconds=10)
_LOG_EVERY = timedelta(seconds=30)


def headway_words(headway: Headway) -> str:
    """How far it is, as a sentence without an end: `reading public.orders: 43 % of about 12.0 GB, about 2 min left`."""
    return f"{headway.doing}: {_how_far(headway)}"


def _how_far(headway: Headway) -> str:
    elapsed = words(headway.elapsed)
    if headway.unit is Unit.TIME:
        return f"{elapsed} so far"
    total = _amount(headway.total, headway.unit)
    total = f"about {total}" if headway.is_estimate else total
    if headway.share is not None:
        left = f"about {about(headway.left)} left" if headway.left else elapsed
        return f"{headway.share:.0%} of {total}, {left}".replace("%", " %")
    done = _amount(headway.done, headway.unit)
    if headway.total <= 0:
        return f"{done}, {elapsed} so far"
    if headway.is_estimate:
        return f"{done}, {total} were expected; {elapsed} so far"
    return f"all of {total}, {elapsed}"


def _amount(count: int, unit: Unit) -> str:
    if unit is not Unit.BYTES:
        return f"{count:,} {unit.value}"
    from squizzle.backups.space import size_words  # noqa: PLC0415 - nothing else here needs what it needs

    return size_words(count)


class HeadwayBars(Onlooker):
    """Bars with the time left, below whatever is printed; they are gone when the work is done.

    Args:
        console: A terminal; None for standard error.
    """

    def __init__(self, console: Console | None = None) -> None:
        super().__init__(first=BARS_AFTER, every=_BARS_EVERY)
        self._console = console
        self._live: Live | None = None

    def look(self, going: tuple[Headway, ...]) -> None:
        """Draw a bar for each."""
        # Loaded when first something lasts that long: it costs more than most commands take.
        from rich.console import Console  # noqa: PLC0415
        from rich.live import Live  # noqa: PLC0415

        if self._live is None:
            console = self._console or Console(stderr=True)
            # Standard output is somebody's result, and what is said meanwhile (standard error) appears above the bars.
            self._live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False)
            self._live.start()
        self._live.update(bars(going), refresh=True)

    def close(self) -> None:
        """Take the bars away."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def bars(going: tuple[Headway, ...]) -> RenderableType:
    """The picture of what goes on, a line each."""
    from rich.progress_bar import ProgressBar  # noqa: PLC0415 - see `HeadwayBars.look`
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column(width=_BAR_WIDTH)
    table.add_column(no_wrap=True)
    for one in going:
        share = one.share
        # One that only moves says that nobody knows how much is left.
        bar = ProgressBar(
            total=None if share is None else 1.0, completed=share or 0.0, width=_BAR_WIDTH, pulse=share is None
        )
        table.add_row(Text(one.doing), bar, Text(_how_far(one)))
    return table


class HeadwayLog(Onlooker):
    """A line in a log now and then, with the share that is done and the time left.

    Args:
        write: Writes one line.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__(first=_LOG_AFTER, every=_LOG_EVERY)
        self._write = write

    def look(self, going: tuple[Headway, ...]) -> None:
        """Write a line for each."""
        for one in going:
            self._write(headway_words(one))


@contextmanager
def shown_at_terminal(*, as_json: bool) -> Iterator[None]:
    """Show how far long work inside is: bars at a terminal, nothing anywhere else and nothing beside JSON."""
    if as_json or not is_terminal():
        yield
        return
    with told_to(HeadwayBars()):
        yield


def is_terminal() -> bool:
    """Whether standard error is a terminal that can draw."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in {"", "dumb"}
