"""Which sessions are ended so that others may go on, and which are spared although they block. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase

from squizzle.durations import words
from squizzle.health.lock_tree import TreeRow, lock_tree, longest_wait_behind
from squizzle.health.records import LockPicture, Session

# Half of a backup is none, and each of these shows its name by itself.
BACKUP_PROGRAMS = ("pg_dump*", "pg_restore*", "pg_basebackup*", "pg_receivewal*")


class Method(StrEnum):
    """How a session is ended."""

    CANCEL = "cancel"
    TERMINATE = "terminate"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleasePolicy:
    """What may be ended.

    Attributes:
        idle_longer_than: A transaction in which nothing has happened for so long is ended.
        blocker_longer_than: A blocker that works is ended when its transaction is older; None: never.
        waiting_longer_than: Nothing is ended for somebody who has waited less.
        every_idle: Whether transactions idle for too long are ended, too, that nobody waits for.
        terminate: Whether a blocker that does not react to a cancel loses its connection.
        applications: Patterns of application names (`worker-*`); only these are ended. Empty: all.
        spare: Patterns of application names that are never ended.
    """

    idle_longer_than: timedelta = timedelta(minutes=5)
    blocker_longer_than: timedelta | None = None
    waiting_longer_than: timedelta = timedelta(seconds=5)
    every_idle: bool = False
    terminate: bool = True
    applications: tuple[str, ...] = ()
    spare: tuple[str, ...] = BACKUP_PROGRAMS


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """One session that is to be ended.

    Attributes:
        session: As it was when that was decided; it is ended only if it still is.
        method: What is tried first.
        or_terminate: Whether its connection is ended where cancelling does not help.
        reason: Why, as a sentence.
        behind: How many wait behind it.
    """

    session: Session
    method: Method
    or_terminate: bool
    reason: str
    behind: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Spared:
    """One that blocks, or takes long, and is not ended.

    Attributes:
        who: In a few words.
        reason: Why it is spared.
        by_hand: What somebody who knows better can run; empty when there is nothing.
        behind: How many wait behind it.
    """

    who: str
    reason: str
    by_hand: str = ""
    behind: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleasePlan:
    """What is to be done about the blockers of one moment.

    Attributes:
        endings: Whom to end, in this order: idle transactions, then those that work.
        spared: Whom not, and why.
    """

    endings: tuple[Ending, ...] = ()
    spared: tuple[Spared, ...] = ()

    def key(self, database: str) -> tuple[str, ...]:
        """What was decided, without ages: two looks that find the same sessions in the same state give the same."""
        return (database, *sorted(ending_key(one) for one in self.endings))


def ending_key(ending: Ending) -> str:
    """Which session is ended how, without ages."""
    session = ending.session
    moments = (session.backend_start, session.transaction_start, session.query_start, session.state_change)
    return " ".join([str(session.pid), ending.method.value, *(str(one and one.timestamp()) for one in moments)])


def plan_release(picture: LockPicture, policy: ReleasePolicy) -> ReleasePlan:
    """Decide whom to end; only who waits for nobody is, for ending anybody else frees nothing for long.

    Args:
        picture: Who waits for whom.
        policy: What may be ended.
    """
    endings: list[Ending] = []
    spared: list[Spared] = []
    roots = [row for row in lock_tree(picture) if row.is_root and row.behind]
    for row in roots:
        _judge(row, picture, policy, endings, spared)
    if policy.every_idle:
        blocking = {row.session.pid for row in roots if row.session}
        for session in picture.sessions:
            if session.database == picture.database and session.pid not in blocking and session.is_idle:
                _judge_idle(session, picture, policy, endings)
    ordered = sorted(endings, key=lambda one: (not one.session.is_idle, -one.behind, one.session.pid))
    return ReleasePlan(endings=tuple(ordered), spared=tuple(spared))


def _judge(
    row: TreeRow, picture: LockPicture, policy: ReleasePolicy, endings: list[Ending], spared: list[Spared]
) -> None:
    session = row.session
    if session is None:
        if row.prepared is not None:
            commands = " or ".join(row.prepared.commands)
            age = words(picture.at - row.prepared.since)
            who = f"prepared transaction {row.prepared.gid} ({row.prepared.owner}, for {age})"
            reason = "it has no session that could be ended: its transaction manager has to decide which way it goes"
            spared.append(Spared(who=who, reason=reason, by_hand=commands, behind=row.behind))
        return
    longest = longest_wait_behind(row, picture)
    waited = picture.at - longest.since if longest and longest.since else timedelta()
    reason = (
        ("the server ends one of those who wait for each other by itself" if row.is_deadlocked else "")
        or why_spared(session, picture, policy)
        or _not_yet(session, picture.at, policy)
        or (_short(waited, policy) if waited < policy.waiting_longer_than else "")
    )
    if reason:
        spared.append(
            Spared(who=session.who(), reason=reason, by_hand=_by_hand(session), behind=row.behind),
        )
        return
    cancel = not session.state.startswith("idle")
    what = "works" if cancel else session.state or "idle"
    since = session.transaction_start if cancel else session.state_change
    age = words(picture.at - since) if since else "an unknown time"
    endings.append(
        Ending(
            session=session,
            method=Method.CANCEL if cancel else Method.TERMINATE,
            or_terminate=policy.terminate and session.is_client,
            reason=f"{what} for {age}; {row.behind} behind it, the longest for {words(waited)}",
            behind=row.behind,
        )
    )


def _judge_idle(session: Session, picture: LockPicture, policy: ReleasePolicy, endings: list[Ending]) -> None:
    since = session.state_change
    if since is None or picture.at - since < policy.idle_longer_than or why_spared(session, picture, policy):
        return
    reason = f"{session.state} for {words(picture.at - since)}; nobody waits for it now"
    endings.append(Ending(session=session, method=Method.TERMINATE, or_terminate=False, reason=reason))


def _short(waited: timedelta, policy: ReleasePolicy) -> str:
    limit = words(policy.waiting_longer_than)
    return f"nobody has waited for it longer than {words(waited)} (limit: {limit})"


def _by_hand(session: Session) -> str:
    return f"SELECT pg_terminate_backend({session.pid})"


def _not_yet(session: Session, now: datetime, policy: ReleasePolicy) -> str:
    """Why a session that could be ended is not ended by this policy; empty when it is."""
    idle_for = now - session.state_change if session.state_change else timedelta()
    if session.is_idle and idle_for >= policy.idle_longer_than:
        return ""
    limit = policy.blocker_longer_than
    begun = session.transaction_start or session.state_change or now
    if limit is not None and now - begun >= limit:
        return ""
    if session.is_idle:
        wanted = words(policy.idle_longer_than)
        return f"it is {session.state} for {words(idle_for)} only (limit: {wanted})"
    if limit is None:
        return "it works, and no limit is given for blockers that do"
    return f"it works for {words(now - begun)} only (limit: {words(limit)})"


def why_spared(session: Session, picture: LockPicture, policy: ReleasePolicy) -> str:
    """Why a session must not be ended whatever it does; empty when it may be.

    Superusers are spared because what they do by hand is maintenance, and ended in the middle it may leave more to
    mend; where applications are superusers, somebody has to look.
    """
    is_replication = session.kind == "walsender" or session.kind.startswith("logical replication")
    is_wanted = not policy.applications or _matches(session.application, policy.applications)
    reasons = (
        (session.is_hidden, "we may not see what it does; GRANT pg_read_all_stats to whoever runs this"),
        (is_replication, "it is replication: a standby, a subscriber or a backup depends on it"),
        (session.prevents_wraparound, "it is the autovacuum that keeps the cluster from stopping (wraparound)"),
        (not session.is_client and not session.is_autovacuum, f"it is a process of the server ({session.kind})"),
        (session.database != picture.database, f"it works in another database ({session.database or 'none'})"),
        (is_ours(session, picture.sessions), "it works for a run of Squizzle's, which ends or gives way by itself"),
        (session.is_client and session.is_superuser, f"{session.user} is a superuser: it may be maintenance"),
        (_matches(session.application, policy.spare), f"sessions called {session.application} are spared"),
        (not is_wanted, f"only sessions called {' or '.join(policy.applications)} are ended"),
    )
    return next((reason for applies, reason in reasons if applies), "")


def is_ours(session: Session, sessions: Sequence[Session]) -> bool:
    """Whether a session works for a run of Squizzle's.

    A name says little, for anybody may choose it: the advisory lock of a run says it, the session's own, or, for a
    session that is called so, that of one by the same role from the same place in the same database.
    """
    if session.holds_our_lock:
        return True
    place = (session.database, session.user, session.client)
    return session.application.startswith("squizzle") and any(
        one.holds_our_lock and (one.database, one.user, one.client) == place for one in sessions
    )


def _matches(application: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(application, pattern) for pattern in patterns)
