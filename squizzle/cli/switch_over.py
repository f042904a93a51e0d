"""The verbs that put one database in the place of another, and look after the copies that are kept for that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import click

from squizzle.cli.backups import who_am_i
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import JsonDocument, print_result, say, table
from squizzle.durations import words
from squizzle.errors import DatabaseState, InvalidInputError, RecoveryError, RefusedError, SquizzleError
from squizzle.postgres.access import Connection, ServerAccess
from squizzle.postgres.identity import Identity, Target, check_identity, read_identity
from squizzle.recovery.fence import control_session, is_fenced, session_through_fence
from squizzle.recovery.fences.database import DatabaseFence
from squizzle.recovery.fences.records import FenceState, Hold
from squizzle.recovery.prepared_copy import (
    PreparedCopy,
    drop_copy,
    forget_fingerprint,
    list_copies,
    make_copy,
    verify_copy_unchanged,
)
from squizzle.recovery.sequences import carry_sequences
from squizzle.recovery.switch_over import (
    KeptDatabase,
    SwitchOver,
    drop_kept,
    list_kept,
    switch_over_to,
    undo_switch_over,
)


@click.command(name="switch-over")
@click.argument("database", metavar="DB")
@click.option("--to", "other", metavar="DB", help="The database that takes its place.")
@click.option("--undo", is_flag=True, help="Bring back the one that the last switch-over put aside.")
@click.option("--as", "holder", metavar="NAME", help="Whose fence it is; default: account@host.")
@common_options
def switch_over(invocation: Invocation, database: str, other: str | None, holder: str | None, *, undo: bool) -> None:
    """Put another database in the place of the one that clients use. Nothing is dropped. Safe to repeat.

    Both are renamed in one transaction, so there is always exactly one of the name; owner, privileges, settings and
    comment are carried over. The one that had the name is kept as NAME__old_TIME and lets nobody in. Clients stay out
    until `squizzle unfence`, so that the result can be looked at first.

    \b
    Examples:
      squizzle switch-over shop --to shop_restored --env production
      squizzle switch-over shop --undo --env production
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    if not (other or undo):
        raise InvalidInputError("nothing says what takes its place", hint=f"squizzle switch-over {database} --to NAME")
    access, target = invocation.target()
    if database != target.database:
        raise InvalidInputError(
            f"--env or --url names {target.database}, and not {database}",
            hint="name the database that clients use, both times",
        )
    with control_session(access, purpose="switch-over") as control:
        identity = _refuse_stranger(access, target, control, other)
        action = "undo the last switch-over" if undo else f"put {other} in its place"
        invocation.confirm(action, target, identity)
        copies = {one.name for one in list_copies(control, database)}
        if not undo and other in copies:
            _refuse_changed(access, str(other))
        with _shut(control, database, holder or who_am_i(), action):
            if undo:
                done = undo_switch_over(control, database=database, kept=other)
            else:
                done = switch_over_to(control, database=database, restored=str(other))
        moved = _finish(access, done)
        state = FenceState.FENCED if is_fenced(control, database) else FenceState.OPEN
    document = {
        "database": database,
        "state": state.value,
        "kept_as": done.kept_as,
        "slots": list(done.slots),
        "sequences": moved,
    }
    print_result(
        document, f"{database}: {state.value}; the other one is kept as {done.kept_as}", as_json=invocation.as_json
    )
    for slot in done.slots:
        say(f"note: the replication slot {slot} stayed with {done.kept_as}: its consumer reads there")
    if state is FenceState.FENCED:
        say("next: look at it, then `squizzle unfence` lets clients in; `squizzle switch-over --undo` goes back")


@contextmanager
def _shut(control: Connection, database: str, holder: str, reason: str) -> Iterator[None]:
    """Shut a database that is open, so that `squizzle unfence` finds whose fence it is; open it on a refusal."""
    was_open = not is_fenced(control, database)
    shut = DatabaseFence(control, database)
    if was_open:
        shut.put_up(Hold(holder=holder, by=who_am_i(), reason=reason, run="", at=datetime.now(UTC)))
    try:
        yield
    except SquizzleError as exc:
        if was_open and exc.database_state is DatabaseState.UNTOUCHED:
            shut.take_down(holder)
        raise


def _refuse_stranger(access: ServerAccess, target: Target, control: Connection, other: str | None) -> Identity | None:
    """Refuse when either of them is not the database that is meant; one that lost its identity is not compared."""
    found = _identity(access, target.database)
    check_identity(found, target.expected, database=target.database)
    rows = control.execute("SELECT FROM pg_database WHERE datname = %s", (other,)).fetchall()
    theirs = _identity(access, other) if other and rows else None
    if found and theirs and found.id != theirs.id:
        raise RefusedError(
            f"{other} is no state of {target.database}: its identity is {theirs.id}, and not {found.id}",
            hint="nothing was changed; `SELECT * FROM squizzle.identity` in each shows which they are",
        )
    return found or theirs


def _identity(access: ServerAccess, database: str) -> Identity | None:
    with session_through_fence(access, database, purpose="switch-over") as session:
        return read_identity(session)


def _refuse_changed(access: ServerAccess, copy: str) -> None:
    with session_through_fence(access, copy, purpose="verify") as session:
        differences = verify_copy_unchanged(session)
    if differences:
        raise RecoveryError(
            f"{copy} is not as it was when it was copied: {'; '.join(differences)}",
            hint="nothing was changed; take another copy (`squizzle copies list`) or a backup",
        )


def _finish(access: ServerAccess, done: SwitchOver) -> list[str]:
    """Let sequences go on where the other one's stand, so that no number is given out twice; safe to repeat."""
    try:
        with (
            session_through_fence(access, done.kept_as, purpose="sequences") as left,
            session_through_fence(access, done.database, purpose="sequences") as right,
        ):
            forget_fingerprint(right)
            return [one.sequence for one in carry_sequences(left, right)]
    except SquizzleError as exc:
        say(f"warning: sequences may give out numbers that {done.kept_as} has given out already: {exc.message}")
        return []


@click.group()
def copies() -> None:
    """Databases beside the one that clients use: copies that were prepared, and those that a switch-over kept.

    \b
    Examples:
      squizzle copies list --env production
      squizzle copies prepare --env production
      squizzle copies drop shop__copy_20270131t020000 --env production
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Beside:
    """One database of the list."""

    name: str
    kind: str
    at: datetime
    replaced_by: str | None
    size_bytes: int


@copies.command(name="list")
@common_options
def list_(invocation: Invocation) -> None:
    """List the prepared copies of a database and those that switch-overs kept, the newest first.

    \b
    Examples:
      squizzle copies list --env production
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    access, target = invocation.target()
    with control_session(access, purpose="copies") as control:
        found = _beside(control, target.database)
    document = {
        "database": target.database,
        "copies": [
            {
                "name": one.name,
                "kind": one.kind,
                "made_at": one.at.isoformat(),
                "replaced_by": one.replaced_by,
                "size_bytes": one.size_bytes,
            }
            for one in found
        ],
    }
    heading = ("name", "kind", "since", "MB")
    rows = [(one.name, one.kind, f"{one.at:%Y-%m-%d %H:%M:%S} UTC", f"{one.size_bytes / 1e6:,.0f}") for one in found]
    human = table(heading, rows) if rows else f"{target.database} has no copies"
    print_result(document, human, as_json=invocation.as_json)


def _beside(control: Connection, database: str) -> list[_Beside]:
    prepared = [(one.name, "prepared", one.made_at.astimezone(UTC), None) for one in list_copies(control, database)]
    kept = [(one.name, "kept", one.kept_at, one.replaced_by) for one in list_kept(control, database)]
    names = [name for name, *_ in (*prepared, *kept)]
    query = "SELECT datname, pg_database_size(oid) FROM pg_database WHERE datname = ANY(%s)"
    sizes: dict[str, int] = dict(control.execute(query, (names,)).fetchall())
    found = [
        _Beside(name=name, kind=kind, at=at, replaced_by=other, size_bytes=sizes.get(name, 0))
        for name, kind, at, other in (*prepared, *kept)
    ]
    return sorted(found, key=lambda one: one.at, reverse=True)


@copies.command()
@common_options
def prepare(invocation: Invocation) -> None:
    """Copy a database beside itself, ready to be swapped in: do it before a migration that frightens you.

    The server copies files, so it takes as long as the disk does, and on a file system that clones no time. Clients are
    thrown out once and wait for as long as it takes. The copy is fingerprinted and lets nobody in.

    \b
    Examples:
      squizzle copies prepare --env production
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    access, target = invocation.target()
    identity = _identity(access, target.database)
    check_identity(identity, target.expected, database=target.database)
    invocation.confirm("throw its clients out once and copy it", target, identity)
    done = make_copy(access, target.database, now=datetime.now(UTC))
    document = {
        "database": target.database,
        "name": done.copy.name,
        "made_at": done.copy.made_at.isoformat(),
        "clients_ended": done.clients_ended,
        "held_ms": round(done.held.total_seconds() * 1000),
        "cloned": done.cloned,
        "rows": done.rows,
    }
    how = "cloned" if done.cloned else "copied"
    human = (
        f"{done.copy.name}: {how}, {done.rows:,} rows fingerprinted; {done.clients_ended} clients were ended,"
        f" and waited for {words(done.held)} at most"
    )
    print_result(document, human, as_json=invocation.as_json)
    say(f"next: when all is well, `squizzle copies drop {done.copy.name}`")


@copies.command()
@click.argument("name", metavar="NAME")
@common_options
def drop(invocation: Invocation, name: str) -> None:
    """Drop one prepared copy, or one database that a switch-over kept, for ever. Any other database is refused.

    \b
    Examples:
      squizzle copies drop shop__copy_20270131t140000 --env production
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    access, target = invocation.target()
    with control_session(access, purpose="copies") as control:
        known: dict[str, PreparedCopy | KeptDatabase] = {one.name: one for one in list_copies(control, target.database)}
        known |= {one.name: one for one in list_kept(control, target.database)}
        chosen = known.get(name)
        if chosen is None:
            raise InvalidInputError(
                f"{name} is no copy of {target.database}", hint=f"copies are: {', '.join(known) or 'none'}"
            )
        identity = _identity(access, target.database)
        check_identity(identity, target.expected, database=target.database)
        invocation.confirm(f"drop {name} for ever, {_what(chosen)}", target, identity)
        remove = drop_copy if isinstance(chosen, PreparedCopy) else drop_kept
        remove(control, target.database, name)
    document: JsonDocument = {"database": target.database, "dropped": name}
    print_result(document, f"{name} is dropped", as_json=invocation.as_json)


def _what(one: PreparedCopy | KeptDatabase) -> str:
    if isinstance(one, PreparedCopy):
        return f"a copy of {one.made_at:%Y-%m-%d %H:%M:%S %Z}"
    return f"which is all that was in {one.of} until {one.kept_at:%Y-%m-%d %H:%M:%S %Z}"
