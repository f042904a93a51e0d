"""How far standbys are behind, as the primary sees it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql

_REMEMBERED = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class StandbyLag:
    """One standby.

    Attributes:
        name: Its application_name or address.
        lag: How old the oldest change is that it has not replayed, as far as is known; None when this account may not
            see it.
    """

    name: str
    lag: timedelta | None


def farthest_behind(standbys: Sequence[StandbyLag], limit: timedelta) -> StandbyLag | None:
    """The standby that is farthest behind, when that is farther than the limit."""
    behind = [one for one in standbys if one.lag is not None and one.lag > limit]
    return max(behind, key=lambda one: one.lag or timedelta(), default=None)


# Reads who is how far behind now.
LagReader = Callable[[Connection], tuple[StandbyLag, ...]]


class StandbyReader:
    """Reads pg_stat_replication, and remembers when the WAL was where.

    `replay_lag` stays at its last value while a standby replays nothing at all (manual, "pg_stat_replication"), so
    that one which stands still would look fine for ever. So we also look how long ago our own WAL was where the
    standby is now.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._places: deque[tuple[float, int]] = deque(maxlen=_REMEMBERED)

    def __call__(self, connection: Connection) -> tuple[StandbyLag, ...]:
        """Who is how far behind."""
        rows = connection.execute(load_sql("squizzle.migrations.batches", "standbys")).fetchall()
        now = self._clock()
        places = [replayed for _, _, replayed, _ in rows if replayed is not None]
        if places:
            self._remember(now, rows[0][3], replayed_everywhere=min(places))
        return tuple(StandbyLag(name=name, lag=self._lag(now, *numbers)) for name, *numbers in rows)

    def _remember(self, now: float, ours: int, *, replayed_everywhere: int) -> None:
        self._places.append((now, ours))
        while self._places and self._places[0][1] <= replayed_everywhere:
            self._places.popleft()

    def _lag(self, now: float, said: float | None, replayed: int | None, ours: int) -> timedelta | None:
        if replayed is None:
            return None
        if replayed >= ours:
            return timedelta()
        return timedelta(seconds=max(said or 0.0, self._stood_still(now, replayed)))

    def _stood_still(self, now: float, replayed: int) -> float:
        """Seconds since our WAL was seen behind what the standby has replayed."""
        return next((now - then for then, place in self._places if place > replayed), 0.0)
