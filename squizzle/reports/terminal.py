"""Steps as they happen, for a person at a terminal; plain lines for a file or a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.markdown import Markdown
from rich.spinner import Spinner
from rich.table import Table

from squizzle.headway import Stretch, told_to
from squizzle.recovery.evidence import Step, StepState
from squizzle.reports.headway import BARS_AFTER, headway_words, is_terminal

_MARKS = {StepState.DONE: "[green]✓[/]", StepState.FAILED: "[red]✗[/]"}
_REFRESHES_PER_S = 8


class StepView:
    """A watcher of steps that shows them on standard error.

    Use it as a context manager; call it with all steps so far.

    Args:
        title: What is being done.
        console: Where; standard error by default, so that standard output stays for results.
    """

    def __init__(self, title: str, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, force_terminal=is_terminal())
        self._title = title
        self._steps: tuple[Step, ...] = ()
        self._printed = 0
        self._changed_at = time.monotonic()
        self._live: Live | None = None
        self._going: tuple[Stretch, ...] = ()
        self._listening = ExitStack()

    def begun(self, stretch: Stretch) -> None:
        """Something long has begun; how far it is, is shown beside the running step."""
        self._going = (*self._going, stretch)

    def ended(self, stretch: Stretch) -> None:
        """It has ended."""
        self._going = tuple(one for one in self._going if one is not stretch)

    def __enter__(self) -> Self:
        # Alone: two pictures do not share a terminal.
        self._listening.enter_context(told_to(self, alone=True))
        if self.console.is_terminal:
            self._live = Live(
                get_renderable=self._render, console=self.console, refresh_per_second=_REFRESHES_PER_S
            ).__enter__()
        else:
            self.console.print(self._title, highlight=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Keep still while somebody is asked something; afterwards all steps are shown again."""
        if self._live is not None:
            self._live.stop()
        try:
            yield
        finally:
            if self._live is not None:
                self._live.start()

    def __call__(self, steps: tuple[Step, ...]) -> None:
        """Show these steps."""
        self._steps = steps
        self._changed_at = time.monotonic()
        if self._live is None:
            self._print_finished()

    def _print_finished(self) -> None:
        for step in self._steps[self._printed :]:
            if step.state is StepState.RUNNING:
                return
            text = f"  {step.state.value:7} {step.duration.total_seconds():7.2f} s  {step.title}"
            text += f": {step.detail}" if step.detail else ""
            self.console.print(text, highlight=False, markup=False, emoji=False, soft_wrap=True)
            self._printed += 1

    def _render(self) -> RenderableType:
        table = Table(title=self._title, title_justify="left", box=None, show_header=False, padding=(0, 1))
        table.add_column(width=2)
        table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(overflow="fold", style="dim")
        if not self._steps:
            table.add_row(Spinner("dots"), "Start Prefect's temporary API and PostgreSQL", self._waited(), "")
        for step in self._steps:
            running = step.state is StepState.RUNNING
            mark: RenderableType = Spinner("dots") if running else _MARKS[step.state]
            took = self._waited() if running else f"{step.duration.total_seconds():.2f} s"
            table.add_row(mark, step.title, took, self._headway() if running else step.detail)
        return table

    def _headway(self) -> str:
        """How far the long work inside the running step is; nothing of what has only begun."""
        going = (one.headway() for one in self._going)
        return "; ".join(headway_words(one) for one in going if one.elapsed > BARS_AFTER)

    def _waited(self) -> str:
        return f"{time.monotonic() - self._changed_at:.1f} s"


def print_markdown(text: str, console: Console | None = None) -> None:
    """Print a report, on standard output if nothing else is said: formatted on a terminal, as it is anywhere else."""
    # Whatever FORCE_COLOR says: a file or a pipe gets the text alone.
    console = console or Console(force_terminal=sys.stdout.isatty())
    if console.is_terminal:
        console.print(Markdown(text))
    else:
        console.file.write(text)
