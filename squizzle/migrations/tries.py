"""Getting a lock without holding anybody up: short tries, and watching without queueing in between."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import timedelta

from squizzle.errors import DatabaseState, LockTimeoutError
from squizzle.migrations.records import Timeouts
from squizzle.migrations.watch import Blocker, SessionWatch, Wait, long_holders
from squizzle.postgres.access import Connection

# Between two tries: enough that a burst of short transactions gets through, less than a person notices.
_PAUSE_S = (0.01, 0.05)
# Transactions shorter than this are gone within one try, so they are no reason to wait.
_SHORT = timedelta(milliseconds=100)
_LOOK_EVERY_S = 0.02
_SAY_EVERY_S = 5.0


class LockTries:
    """Tries the pieces of one piece of work until their locks are granted; counts the tries.

    Args:
        connection: The session that works.
        timeouts: How many tries, and for how long.
        name: What is tried, for messages: a script's version, or a table.
        next_step: What to do after giving up, by what was left.
        watch: Knows who blocks; None when there is no second session.
        on_wait: Told about every try that was not granted.
    """

    def __init__(
        self,
        connection: Connection,
        timeouts: Timeouts,
        *,
        name: str,
        next_step: Callable[[DatabaseState], str],
        watch: SessionWatch | None,
        on_wait: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._timeouts = timeouts
        self._name = name
        self._next_step = next_step
        self._watch = watch
        self._on_wait = on_wait
        self.tries = 1
        # A short try on a busy machine may see nobody; then whoever was seen in an earlier one is named.
        self._seen = ""

    def until_granted(
        self, attempt: Callable[[], None], *, state: DatabaseState, may_repeat: Callable[[], bool] = lambda: True
    ) -> None:
        """Call `attempt` until it raises no LockTimeoutError any more, within the limits of `Timeouts`.

        Args:
            attempt: Leaves nothing behind when it raises LockTimeoutError.
            state: What earlier pieces of the work left, for the message.
            may_repeat: Asked after each such error: False when something was left behind after all.

        Raises:
            LockTimeoutError: Not granted in time; the message says who blocks.
        """
        deadline = time.monotonic() + self._timeouts.budget.total_seconds()
        for number in range(1, self._timeouts.attempts + 1):
            try:
                attempt()
            except LockTimeoutError as exc:
                if not may_repeat():
                    raise
                self._give_up_or_wait(exc, number, deadline, state)
            else:
                return
            self.tries += 1

    def blockers(self) -> str:
        """Who held what the last statement waited for; empty when that is not known."""
        wait = self._watch.last_wait if self._watch else None
        return "; ".join(blocker.sentence() for blocker in wait.blockers) if wait else ""

    def _give_up_or_wait(self, error: LockTimeoutError, number: int, deadline: float, state: DatabaseState) -> None:
        wait = self._watch.last_wait if self._watch else None
        self._seen = blockers = self.blockers() or self._seen
        if number == self._timeouts.attempts or time.monotonic() >= deadline:
            seconds = self._timeouts.budget.total_seconds()
            who = f" Blocked by {blockers}." if blockers else ""
            raise LockTimeoutError(
                f"{error.message} (try {number} of {self._timeouts.attempts}, for at most {seconds:.0f} s).{who}",
                sqlstate=error.sqlstate,
                hint=f"end what blocks, or choose a quieter moment; {self._next_step(state)}",
                database_state=state,
            ) from error
        on = f" on {wait.relation}" if wait and wait.relation else ""
        self._on_wait(
            f"{self._name}: lock{on} not granted, try {number} of {self._timeouts.attempts};"
            f" {blockers or 'who blocks is not known'}"
        )
        self._wait_without_queueing(wait, deadline)
        time.sleep(random.uniform(*_PAUSE_S))  # noqa: S311 - jitter

    def _wait_without_queueing(self, wait: Wait | None, deadline: float) -> None:
        """Until the long transactions that hold a conflicting lock are over; clients are not held up by looking."""
        if wait is None or not wait.relation_id:
            return
        begun = said_at = time.monotonic()
        first_seen: dict[tuple[int, str], float] = {}
        while (now := time.monotonic()) < deadline:
            # Our own session asks: it is outside a transaction now and waits for nothing.
            holders = long_holders(self._connection, wait, older_than=_SHORT)
            staying = [one for one in holders if not one.is_hidden or _is_old(one, first_seen, now)]
            if not holders or (not staying and now - begun > _SHORT.total_seconds()):
                return
            if staying and now - said_at > _SAY_EVERY_S:
                said_at = now
                self._on_wait(f"still waiting for {wait.relation}: {staying[0].sentence()}")
            time.sleep(_LOOK_EVERY_S)


def _is_old(holder: Blocker, first_seen: dict[tuple[int, str], float], now: float) -> bool:
    """Whether a transaction whose age is hidden from us has been seen for a while."""
    return now - first_seen.setdefault((holder.pid, holder.transaction), now) > _SHORT.total_seconds()
