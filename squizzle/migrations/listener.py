"""Who is told what happens while a plan runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from squizzle.migrations.observer import StatementObserver
from squizzle.migrations.records import Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Listener:
    """Who is told what happens while a plan runs.

    Attributes:
        on_done: A version is finished.
        on_wait: A lock was not granted; who blocks, and which try comes next.
        on_progress: How far a long statement is.
        is_ended: Whether a statement that runs in batches shall end behind the one that it is at: its caller goes away.
        observer: Looks at each statement, in the session that runs it; None for nobody.
    """

    on_done: Callable[[Outcome], None] = lambda _outcome: None
    on_wait: Callable[[str], None] = lambda _text: None
    on_progress: Callable[[str], None] = lambda _text: None
    is_ended: Callable[[], bool] = lambda: False
    observer: StatementObserver | None = None
