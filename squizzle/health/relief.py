"""The remedy for an overloaded database: what takes long, what has become slower, which tables need cleaning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import psycopg
from psycopg import sql

from squizzle.durations import words
from squizzle.errors import CouldNotVerifyError
from squizzle.health.ending import Ended, EndState, end_sessions
from squizzle.health.queries import QueryStats, Regression, find_regressions, read_baseline, read_query_stats
from squizzle.health.reading import read_locks
from squizzle.health.records import LockPicture
from squizzle.health.release_plan import BACKUP_PROGRAMS, Ending, Method, ReleasePolicy, Spared, ending_key, why_spared
from squizzle.health.tables import Cleaned, Holder, TableLoad, clean_tables, read_horizon, read_tables, worst_tables
from squizzle.migrations.session import set_lock_timeout
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Target, check_identity, read_identity
from squizzle.postgres.translation import server_words, translate_error

_LOCK_TIMEOUT = timedelta(seconds=2)
RESET_CONSEQUENCES = (
    "every counter of this database begins at zero: rates and totals of monitoring break here",
    "autovacuum forgets which tables have dead or changed rows: each is analysed right afterwards, to give it numbers",
    "pg_stat_statements is not touched, and no query becomes faster by it",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReliefPolicy:
    """What may be done for relief.

    Attributes:
        queries_longer_than: A query that has run for longer is cancelled; None: none is.
        tables: So many tables are cleaned at the most; 0 for none.
        reset_statistics: Whether the server's counters begin anew (`RESET_CONSEQUENCES`).
        spare: Patterns of application names whose queries are never cancelled.
    """

    queries_longer_than: timedelta | None = timedelta(minutes=30)
    tables: int = 5
    reset_statistics: bool = False
    spare: tuple[str, ...] = BACKUP_PROGRAMS


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What weighs on a database, at one moment.

    Attributes:
        picture: Its sessions.
        tables: Its tables, most dead rows first.
        horizon: What keeps dead rows.
        regressions: Queries that have become slower since the baseline; None when that could not be told.
        not_compared: Why not, and what to do; empty when it could.
        baseline: What was compared with; None when there was nothing.
    """

    picture: LockPicture
    tables: tuple[TableLoad, ...]
    horizon: tuple[Holder, ...]
    regressions: tuple[Regression, ...] | None
    not_compared: str = ""
    baseline: QueryStats | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReliefPlan:
    """What is to be done for relief.

    Attributes:
        queries: Queries to cancel, the oldest first.
        spared: Long ones that are not cancelled, and why.
        tables: Tables to clean, the worst first.
        reset_statistics: Whether the server's counters begin anew.
    """

    queries: tuple[Ending, ...] = ()
    spared: tuple[Spared, ...] = ()
    tables: tuple[TableLoad, ...] = ()
    reset_statistics: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.queries or self.tables or self.reset_statistics)

    def key(self, database: str) -> tuple[str, ...]:
        """What was decided, without ages and counts."""
        reset = ("reset statistics",) if self.reset_statistics else ()
        return (
            database,
            *sorted(ending_key(one) for one in self.queries),
            *sorted(f"clean {one}" for one in self.tables),
            *reset,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Relief:
    """What was seen, decided and done.

    Attributes:
        load: What weighed on the database.
        plan: What to do.
        cancelled: What became of the long queries.
        cleaned: What became of the tables.
        reanalyzed: Tables that were analysed after the counters began anew; None when they did not.
        horizon: What keeps dead rows afterwards; None for a dry run.
    """

    load: Load
    plan: ReliefPlan
    cancelled: tuple[Ended, ...] = ()
    cleaned: tuple[Cleaned, ...] = ()
    reanalyzed: tuple[str, ...] | None = None
    horizon: tuple[Holder, ...] | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """What did not work out, a sentence each."""
        stay = {EndState.STILL_THERE, EndState.NOT_ALLOWED}
        return (
            *(one.sentence() for one in self.cancelled if one.state in stay),
            *(one.sentence() for one in self.cleaned if one.problem),
        )


def see_load(connection: Connection, target: Target) -> Load:
    """What weighs on the database that was meant. Nothing is changed.

    Raises:
        IdentityMismatchError: Another database than was meant.
        DatabaseError: The session was lost.
    """
    check_identity(read_identity(connection), target.expected, database=target.database)
    regressions: tuple[Regression, ...] | None = None
    baseline: QueryStats | None = None
    not_compared = ""
    try:
        now = read_query_stats(connection)
        baseline = read_baseline(connection)
        regressions = find_regressions(baseline, now)
    except CouldNotVerifyError as exc:
        not_compared = f"{exc.message}; {exc.hint}"
    return Load(
        picture=read_locks(connection),
        tables=read_tables(connection),
        horizon=read_horizon(connection),
        regressions=regressions,
        not_compared=not_compared,
        baseline=baseline,
    )


def plan_relief(load: Load, policy: ReliefPolicy) -> ReliefPlan:
    """Decide what to do. Pure; whom to spare is decided as for locks."""
    queries: list[Ending] = []
    spared: list[Spared] = []
    now, limit = load.picture.at, policy.queries_longer_than
    rules = ReleasePolicy(spare=policy.spare)
    running = [one for one in load.picture.sessions if one.state == "active" and one.database == load.picture.database]
    for session in sorted(running, key=lambda one: one.query_start or now):
        if limit is None or session.query_start is None or now - session.query_start < limit or not session.is_client:
            continue
        age = f"its query has run for {words(now - session.query_start)}"
        why = why_spared(session, load.picture, rules)
        if why:
            by_hand = f"SELECT pg_cancel_backend({session.pid})"
            spared.append(Spared(who=session.who(), reason=f"{age}, but {why}", by_hand=by_hand))
        else:
            queries.append(Ending(session=session, method=Method.CANCEL, or_terminate=False, reason=age))
    return ReliefPlan(
        queries=tuple(queries),
        spared=tuple(spared),
        tables=worst_tables(load.tables, at_most=policy.tables),
        reset_statistics=policy.reset_statistics,
    )


def relieve(
    connection: Connection, target: Target, load: Load, plan: ReliefPlan, *, say: Callable[[str], None]
) -> Relief:
    """Carry out a plan: cancel, clean one table after the other, and only then let counters begin anew.

    Safe to repeat: a query that ended by itself is left alone, a table that is clean is cleaned in a moment.

    Args:
        connection: A session of its own, in autocommit mode.
        target: Who the caller means.
        load: What the plan was made from.
        plan: What to do.
        say: Told what happens.

    Raises:
        IdentityMismatchError: Another database than was meant; nothing was changed.
        DatabaseError: The session was lost, or counters may not be reset; what came before is done.
    """
    check_identity(read_identity(connection), target.expected, database=target.database)
    cancelled = end_sessions(connection, plan.queries, on_ended=lambda one: say(one.sentence()))
    cleaned = clean_tables(connection, plan.tables, say=say) if plan.tables else ()
    reanalyzed = reset_statistics(connection, say=say) if plan.reset_statistics else None
    return Relief(
        load=load,
        plan=plan,
        cancelled=cancelled,
        cleaned=cleaned,
        reanalyzed=reanalyzed,
        horizon=read_horizon(connection),
    )


def reset_statistics(connection: Connection, *, say: Callable[[str], None]) -> tuple[str, ...]:
    """Let the server's counters of this database begin anew, and give autovacuum its numbers back (`ANALYZE`).

    Args:
        connection: A session of its own, in autocommit mode.
        say: Told which table could not be analysed.

    Returns:
        The tables that were analysed.

    Raises:
        DatabaseError: It takes EXECUTE on pg_stat_reset(); nothing was changed.
    """
    tables = [one for one in read_tables(connection) if one.live_rows or one.dead_rows]
    done = []
    try:
        set_lock_timeout(connection, _LOCK_TIMEOUT)
        connection.execute("SELECT pg_stat_reset()")
        for table in tables:
            try:
                connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table.schema, table.name)))
            except (psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedTable) as exc:
                say(f"{table} was not analysed, run ANALYZE {table} later: {server_words(exc)}")
            else:
                done.append(str(table))
    except psycopg.Error as exc:
        raise translate_error(exc, doing="reset statistics", needs="EXECUTE on pg_stat_reset()") from exc
    return tuple(done)
