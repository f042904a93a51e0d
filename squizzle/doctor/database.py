"""One database that is configured: whether it answers, is the one that is meant, and what the account may do there."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from squizzle.doctor.findings import Finding, State
from squizzle.doctor.machine import look_at_programs
from squizzle.durations import words
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.fitness import refuse_unfit
from squizzle.postgres.identity import Target, check_identity, read_identity
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error

# A recovery to a moment is asked for in this machine's time and done in the server's.
_CLOCK_TIGHT = timedelta(seconds=2)
_CLOCK_WRONG = timedelta(minutes=1)
_ACCOUNT = load_sql(__package__, "account")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Account:
    """What `account.sql` says.

    Attributes:
        name: The role.
        is_superuser: May do everything.
        makes_databases: CREATEDB.
        monitors: A member of pg_monitor.
        signals: A member of pg_signal_backend.
        may_create: Whether it may make tables in the schema, or the schema itself where it is not there.
        counts_queries: Whether pg_stat_statements is in this database.
        is_encrypted: Whether this session is by TLS.
        client: The address that the server sees; None by a socket.
    """

    name: str
    is_superuser: bool
    makes_databases: bool
    monitors: bool
    signals: bool
    may_create: bool
    counts_queries: bool
    is_encrypted: bool
    client: str | None


def look_at_database(name: str, access: ServerAccess, target: Target, programs: Path | None) -> Iterator[Finding]:
    """What a configured database answers; nothing in it is changed.

    Args:
        name: Stands before each finding, such as the environment.
        access: The server and the account.
        target: The database, and who it should be.
        programs: `[postgres] programs`.

    Raises:
        SquizzleError: It does not answer, is another one, or a check failed; what came before it was found.
    """
    with connect(access, target.database, purpose="doctor") as session:
        version = session.info.server_version
        detail = f"{target.database} on {access.where}, PostgreSQL {version // 10000}.{version % 10000}"
        yield Finding(name=f"{name}: answers", detail=f"{detail}, as {session.info.user}")
        yield clock(name, session)
        ((setting,),) = session.execute("SHOW data_checksums").fetchall()
        yield judge_checksums(name, setting)
        yield from _rights(name, session, target)
        yield look_at_programs(programs, version // 10000, f"{name}: client programs")
        found = read_identity(session)
        check_identity(found, target.expected, database=target.database)
        who = f"{found.environment} {found.id}" if found else "not written yet: the first migration does that"
        yield Finding(name=f"{name}: identity", detail=who)
        refuse_unfit(session, target.database)
        yield Finding(name=f"{name}: can be migrated", detail="it is a primary, no pooler is between, PL/pgSQL runs")


def clock(name: str, session: Connection) -> Finding:
    """How far the server's clock is from this machine's, to half of what an answer takes."""
    before = datetime.now(UTC)
    ((theirs,),) = session.execute("SELECT clock_timestamp()").fetchall()
    after = datetime.now(UTC)
    return judge_clock(name, theirs - (before + (after - before) / 2))


def judge_clock(name: str, ahead: timedelta) -> Finding:
    """What a difference of clocks means; `ahead` is the server's minus ours."""
    apart = abs(ahead)
    if apart < _CLOCK_TIGHT:
        return Finding(name=f"{name}: clock", detail=f"{apart.total_seconds():.2f} s from this machine's")
    which = "ahead of" if ahead > timedelta() else "behind"
    return Finding(
        name=f"{name}: clock",
        state=State.PROBLEM if apart >= _CLOCK_WRONG else State.WARNING,
        detail=f"the server's is {words(apart)} {which} this machine's: `--to-time` means the server's",
        hint="synchronise both (chrony, systemd-timesyncd)",
    )


def judge_checksums(name: str, setting: str) -> Finding:
    """Only the server can see that a disk changed a table, our own tables of history and saved rows among them."""
    if setting == "on":
        return Finding(name=f"{name}: checksums of pages", detail="the server notices what a disk changes")
    return Finding(
        name=f"{name}: checksums of pages",
        state=State.WARNING,
        detail=f"data_checksums is {setting}: what a disk changes in a table is read as if it were right",
        hint="stop the server, run `pg_checksums --enable`, start it; each page is written once",
    )


def _rights(name: str, session: Connection, target: Target) -> Iterator[Finding]:
    try:
        with session.cursor(row_factory=psycopg.rows.class_row(_Account)) as cursor:
            (account,) = cursor.execute(_ACCOUNT, {"schema": target.schema}).fetchall()
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"see what the account may do in {target.database}") from exc
    lacks = [f"{what} ({right})" for right, what in _lacking(account, target.schema)]
    yield Finding(
        name=f"{name}: rights",
        state=State.WARNING if lacks else State.OK,
        detail=f"{account.name} cannot " + "; cannot ".join(lacks)
        if lacks
        else f"{account.name} may do what is needed",
        hint="`squizzle grants` prints what a job needs; what this account shall not do is fine" if lacks else "",
    )
    yield Finding(
        name=f"{name}: queries are counted",
        state=State.OK if account.counts_queries else State.WARNING,
        detail=f"pg_stat_statements is {'' if account.counts_queries else 'not '}there",
        hint=""
        if account.counts_queries
        else "shared_preload_libraries = 'pg_stat_statements', restart, CREATE EXTENSION pg_stat_statements;"
        " without it nobody sees that a query became slower",
    )
    if account.client and not account.is_encrypted and not ipaddress.ip_address(account.client).is_loopback:
        yield Finding(
            name=f"{name}: encryption",
            state=State.WARNING,
            detail="passwords and rows travel in clear",
            hint="sslmode=verify-full in the connection string",
        )


def _lacking(account: _Account, schema: str) -> Iterator[tuple[str, str]]:
    if account.is_superuser:
        return
    if not account.may_create:
        yield "CREATE", f"make tables in the schema {schema}: nothing can be migrated"
    if not account.makes_databases:
        yield "CREATEDB", "restore beside or rehearse on this server"
    if not account.monitors:
        yield "pg_monitor", "see what others wait for, replication and settings"
    if not account.signals:
        yield "pg_signal_backend", "end sessions of others before a switch-over"
