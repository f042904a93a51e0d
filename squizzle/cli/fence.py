"""The verbs that keep everybody out of a database, and let them in again: fence, unfence, terminate."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from squizzle.cli.backups import who_am_i
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result, say
from squizzle.errors import ConnectionFailedError, InvalidInputError, RefusedError
from squizzle.numbers import number_of
from squizzle.postgres.access import Connection, ServerAccess, server_pid
from squizzle.postgres.identity import Identity, Target, check_identity, read_identity
from squizzle.recovery.fence import control_session, end_sessions, is_fenced, session_through_fence, wait_until_gone
from squizzle.recovery.fences.order import make_fences, put_up_all, take_down_all
from squizzle.recovery.fences.records import Fence, FenceState, FenceStatus, Hold
from squizzle.settings.fences import FenceSettings, resolve_fence

_OPEN = "let clients in"


def which_fences(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what is fenced besides the database."""
    for option in (
        click.option("--only-database", is_flag=True, help="Leave the environment's other fences alone."),
        click.option(
            "--fence", "names", multiple=True, metavar="NAME", help="One of [fences]; instead of the environment's."
        ),
    ):
        verb = option(verb)
    return verb


def fence_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what is fenced, and as who."""
    return which_fences(
        click.option("--as", "holder", metavar="NAME", help="Whose hold it is; default: account@host.")(verb)
    )


@click.command()
@click.option("--reason", default="by hand", show_default=True, help="For whoever wonders later.")
@click.option("--show", is_flag=True, help="Only say what is fenced and by whom; exit code 0 in any case.")
@fence_options
@common_options
def fence(
    invocation: Invocation,
    *,
    reason: str,
    show: bool,
    holder: str | None,
    names: tuple[str, ...],
    only_database: bool,
) -> None:
    """Let nobody into a database: its applications first, then the database itself. Safe to repeat.

    The environment's fences (Kubernetes, PgBouncer, commands) are put up in their order, then nobody new gets into the
    database, superusers included, and every session in it is ended. What was found is noted for `squizzle unfence`.

    \b
    Examples:
      squizzle fence --env production --reason "orders are wrong since 14:02"
      squizzle fence --env production --show
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    access, target = invocation.target()
    with control_session(access, purpose="fence") as control:
        fences = _fences(invocation, control, target, names, only_database=only_database)
        if show:
            _print(target, [one.look() for one in fences], as_json=invocation.as_json)
            return
        _ask_first(invocation, "fence it", access, target, control)
        hold = Hold(holder=holder or who_am_i(), by=who_am_i(), reason=reason, run="", at=datetime.now(UTC))
        statuses = put_up_all(fences, hold)
    _print(target, statuses, as_json=invocation.as_json)


@click.command()
@click.option("--all", "everybody", is_flag=True, help="Let go of everybody's holds, and open what had none.")
@fence_options
@common_options
def unfence(
    invocation: Invocation, *, everybody: bool, holder: str | None, names: tuple[str, ...], only_database: bool
) -> int:
    """Let go of a hold; when it was the last one, put everything back as it was found. Safe to repeat.

    The database first, then the applications, each tried even when another fails. Exit code 9: something is still shut,
    because somebody else holds it or it was shut before.

    \b
    Examples:
      squizzle unfence --env production
      squizzle unfence --env production --as recovery
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    if everybody and holder:
        raise InvalidInputError("--all and --as both say whose holds go", hint="give one of them")
    access, target = invocation.target()
    with control_session(access, purpose="unfence") as control:
        fences = _fences(invocation, control, target, names, only_database=only_database)
        _ask_first(invocation, _OPEN, access, target, control)
        statuses = take_down_all(fences, None if everybody else holder or who_am_i())
    _print(target, statuses, as_json=invocation.as_json)
    return 0 if all(one.state is FenceState.OPEN for one in statuses) else RefusedError.code


@click.command()
@common_options
def terminate(invocation: Invocation) -> None:
    """End the sessions that are in a database now. It stays as open as it was, so pools come back.

    Idle, busy or in a transaction: what they have not committed is rolled back. `squizzle fence` keeps them out, too.

    \b
    Examples:
      squizzle terminate --env production
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    access, target = invocation.target()
    with control_session(access, purpose="terminate") as control:
        _ask_first(invocation, "end all sessions", access, target, control)
        ended = end_sessions(control, target.database)
        is_shut = is_fenced(control, target.database)
    state = FenceState.FENCED if is_shut else FenceState.OPEN
    document = {"database": target.database, "state": state.value, "kept_as": None, "ended": ended}
    text = f"{target.database}: {number_of(ended, 'session')} ended; it is {state.value}"
    print_result(document, text, as_json=invocation.as_json)


def _fences(
    invocation: Invocation, control: Connection, target: Target, names: Sequence[str], *, only_database: bool
) -> tuple[Fence, ...]:
    """The fences that are meant, the database's last."""
    settings = fence_settings(invocation, target, names, only_database=only_database)
    return make_fences(control, target.database, settings)


def fence_settings(
    invocation: Invocation, target: Target, names: Sequence[str], *, only_database: bool
) -> tuple[FenceSettings, ...]:
    """What is shut before the database: what --fence names, else the fences of the environment.

    Raises:
        InvalidInputError: There is no fence of that name, a variable is not set, or the options contradict each other.
    """
    config = invocation.config
    if names and only_database:
        raise InvalidInputError("--fence and --only-database contradict each other", hint="give one of them")
    environment = config.environments.get(invocation.environment or "")
    chosen = names or (environment.fences if environment and not only_database else ())
    unknown = [name for name in chosen if name not in config.fences]
    if unknown:
        known = ", ".join(sorted(config.fences)) or "none"
        raise InvalidInputError(
            f"there is no fence {unknown[0]!r}; known: {known}", hint=f"add [fences.{unknown[0]}] to squizzle.toml"
        )
    return tuple(resolve_fence(config.fences[name], target.database, environ=os.environ) for name in chosen)


def _ask_first(invocation: Invocation, action: str, access: ServerAccess, target: Target, control: Connection) -> None:
    """Refuse another database than the one that is meant, and ask in production.

    A database that is fenced already is not asked who it is, and neither is one that lets nobody in: keeping people out
    of it can be undone, and may be the only thing that still works.

    Raises:
        RefusedError: It is another one, or the answer was no.
    """
    identity: Identity | None = None
    if not is_fenced(control, target.database) or action == _OPEN:
        try:
            with session_through_fence(access, target.database, purpose="fence") as session:
                identity = read_identity(session)
                own = server_pid(session)
            wait_until_gone(control, own)
        except ConnectionFailedError as exc:
            say(f"warning: {target.database} could not be asked who it is, so that was not compared: {exc.message}")
        else:
            check_identity(identity, target.expected, database=target.database)
    invocation.confirm(action, target, identity)


def _print(target: Target, statuses: Sequence[FenceStatus], *, as_json: bool) -> None:
    database = statuses[-1]
    document = {
        "database": target.database,
        "state": database.state.value,
        "kept_as": None,
        "fences": [
            {
                "kind": one.kind.value,
                "name": one.name,
                "state": one.state.value,
                "detail": one.detail,
                "holds": [
                    {
                        "holder": hold.holder,
                        "by": hold.by,
                        "reason": hold.reason,
                        "run": hold.run,
                        "at": hold.at.isoformat(),
                    }
                    for hold in one.holds
                ],
            }
            for one in statuses
        ],
    }
    print_result(document, "\n".join(_lines(statuses)), as_json=as_json)


def _lines(statuses: Sequence[FenceStatus]) -> list[str]:
    lines = []
    for one in statuses:
        lines.append(f"{one.name}: {one.state.value}{f' ({one.detail})' if one.detail else ''}")
        lines += [f"  held by {hold}" for hold in one.holds]
    return lines
