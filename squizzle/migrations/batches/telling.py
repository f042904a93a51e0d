"""How far a statement in batches is, told about once a second: rows, share, time left."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from squizzle.durations import about
from squizzle.headway import Stretch, is_told
from squizzle.migrations.batch_records import BatchedStatement, Share

_TELL_EVERY_S = 1.0


class Telling:
    """Tells how far one statement is.

    Args:
        tell: Told one sentence at a time.
        where: `0007_x/up.sql:12`.
        table_rows: How many rows the table has, as the planner estimates.
        done: How far the statement is now.
        headway: Told after each batch; whoever looks at it needs no sentence every second.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        tell: Callable[[str], None],
        where: str,
        table_rows: int,
        done: BatchedStatement,
        *,
        headway: Stretch | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell = tell
        self._where = where
        self._table_rows = table_rows
        self._clock = clock
        self._began = self._told = clock()
        self._headway = headway
        self._passed_before = done.passed
        if done.batches:
            tell(f"{where}: goes on behind {', '.join(done.key)} = {', '.join(done.after or ())}; {_rows(done)}")

    def batch_done(self, done: BatchedStatement) -> None:
        """Say how far it is, unless that was said a moment ago."""
        now = self._clock()
        # The estimate may be too low, and the table may grow: never say that all is done before it is.
        total = max(self._table_rows, done.passed + done.size)
        if self._headway is not None:
            self._headway.at(done.passed, total=total)
        if done.finished:
            self._tell(f"{self._where}: {_rows(done)} in {done.batches:,} batches, finished")
        elif not is_told() and now - self._told >= _TELL_EVERY_S:
            self._told = now
            self._tell(f"{self._where}: {_rows(done)}{self._share(done, total, now)}")

    def share_done(self, done: BatchedStatement, share: Share) -> None:
        """Say that it goes no further now, as was meant."""
        self._tell(
            f"{self._where}: {_rows(done)}, stops here: {share.pct} % of {done.share_of or 0:,} rows were asked for"
        )

    def _share(self, done: BatchedStatement, total: int, now: float) -> str:
        percent = min(99, 100 * done.passed // total)
        share = f", {percent} % of about {total:,} in the table"
        passed = done.passed - self._passed_before
        if passed <= 0:
            return share
        return f"{share}, about {about(timedelta(seconds=(now - self._began) * (total - done.passed) / passed))} left"


def _rows(done: BatchedStatement) -> str:
    return f"{done.rows:,} rows done"
