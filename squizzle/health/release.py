"""The remedy for a locked database: look, decide, end, and look again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from squizzle.health.ending import Ended, EndState, end_sessions
from squizzle.health.reading import read_locks
from squizzle.health.records import LockPicture
from squizzle.health.release_plan import ReleasePlan
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Target, check_identity, read_identity


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """What was seen, decided and done.

    Attributes:
        before: Who waited for whom.
        plan: Whom to end, and whom to spare.
        ended: What became of those; empty for a dry run.
        after: Who waited afterwards; None for a dry run.
    """

    before: LockPicture
    plan: ReleasePlan
    ended: tuple[Ended, ...] = ()
    after: LockPicture | None = None

    @property
    def failures(self) -> tuple[Ended, ...]:
        """Those that should have ended and are still there."""
        return tuple(one for one in self.ended if one.state in {EndState.STILL_THERE, EndState.NOT_ALLOWED})


def look(connection: Connection, target: Target) -> LockPicture:
    """Who waits for whom, in the database that was meant. Nothing is changed.

    Raises:
        IdentityMismatchError: Another database than was meant.
        DatabaseError: The session was lost.
    """
    check_identity(read_identity(connection), target.expected, database=target.database)
    return read_locks(connection)


def release(
    connection: Connection,
    target: Target,
    before: LockPicture,
    plan: ReleasePlan,
    *,
    on_ended: Callable[[Ended], None] = lambda _ended: None,
) -> Release:
    """Carry out a plan, and look who waits now. Sessions lose what they had not committed; no data is changed.

    Args:
        connection: A session in the database, in autocommit mode.
        target: Who the caller means.
        before: What the plan was made from.
        plan: Whom to end; each is compared once more with what it was.
        on_ended: Told what became of each.

    Raises:
        IdentityMismatchError: Another database than was meant; nobody was ended.
        DatabaseError: Our own session was lost; the plan can be made anew.
    """
    check_identity(read_identity(connection), target.expected, database=target.database)
    ended = end_sessions(connection, plan.endings, on_ended=on_ended)
    return Release(before=before, plan=plan, ended=ended, after=read_locks(connection))
