"""In which order things are shut and opened: whoever writes to the database first, the database itself last.

Everything is tried, whatever fails before: in an emergency half a fence is better than none, and one that cannot be
taken down is no reason to leave the others up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from squizzle.errors import DatabaseState, FencingFailedError, FencingUnavailableError, SquizzleError
from squizzle.postgres.access import Connection
from squizzle.recovery.fences.book import FenceBook
from squizzle.recovery.fences.command import CommandFence
from squizzle.recovery.fences.database import DatabaseFence
from squizzle.recovery.fences.kubernetes_fence import KubernetesFence
from squizzle.recovery.fences.pgbouncer import PgBouncerFence
from squizzle.recovery.fences.records import Fence, FenceState, FenceStatus, Hold
from squizzle.settings.fences import CommandSettings, FenceSettings, KubernetesSettings, PgBouncerSettings


def make_fences(control: Connection, database: str, settings: Sequence[FenceSettings]) -> tuple[Fence, ...]:
    """The fences in the order in which they are put up: those of applications as given, the database's own last.

    Args:
        control: A session in the maintenance database.
        database: The database to fence.
        settings: What is shut before it.
    """
    book = FenceBook(control)
    return (*(_make(one, book) for one in settings), DatabaseFence(control, database))


def _make(settings: FenceSettings, book: FenceBook) -> Fence:
    match settings:
        case KubernetesSettings():
            return KubernetesFence(settings)
        case PgBouncerSettings():
            return PgBouncerFence(settings, book)
        case CommandSettings():
            return CommandFence(settings, book)


def put_up_all(fences: Sequence[Fence], hold: Hold) -> tuple[FenceStatus, ...]:
    """Put up every fence, in this order.

    Raises:
        FencingFailedError: Some could not be put up, all were tried; the message has every error and what is shut.
            Retryable when another try may help with all of them.
    """
    return _try_all(fences, lambda fence: fence.put_up(hold), "put up")


def take_down_all(fences: Sequence[Fence], holder: str | None) -> tuple[FenceStatus, ...]:
    """Take down every fence, the last one first.

    Args:
        fences: In the order in which they are put up.
        holder: Whose hold goes; None for everybody's.

    Raises:
        FencingFailedError: Some could not be taken down, all were tried; the message has every error and what is open.
            Retryable when another try may help with all of them.
    """
    return tuple(reversed(_try_all(fences[::-1], lambda fence: fence.take_down(holder), "taken down")))


def look_at_all(fences: Sequence[Fence]) -> tuple[FenceStatus, ...]:
    """What every fence is like now; one that cannot be asked is unknown, with the reason. Nothing is changed."""
    return tuple(_look(one) for one in fences)


def _look(fence: Fence) -> FenceStatus:
    try:
        return fence.look()
    except SquizzleError as exc:
        return FenceStatus(kind=fence.kind, name=fence.name, state=FenceState.UNKNOWN, detail=exc.message)


def _try_all(fences: Sequence[Fence], act: Callable[[Fence], FenceStatus], done: str) -> tuple[FenceStatus, ...]:
    statuses: list[FenceStatus] = []
    errors: list[SquizzleError] = []
    for fence in fences:
        try:
            statuses.append(act(fence))
        except SquizzleError as exc:
            errors.append(exc)
    if not errors:
        return tuple(statuses)
    if not statuses and len(errors) == 1:
        raise errors[0]
    kind = FencingUnavailableError if all(error.retryable for error in errors) else FencingFailedError
    states = "; ".join(f"{one.name} is {one.state.value}" for one in statuses) or "nothing else was"
    hints = dict.fromkeys(error.hint for error in errors if error.hint)
    raise kind(
        f"{len(errors)} of {len(fences)} fences could not be {done}: {'; '.join(error.message for error in errors)}."
        f" The others: {states}",
        hint="; ".join(hints) or "run the same again: every fence may be repeated",
        database_state=DatabaseState.CHANGED if statuses else DatabaseState.UNTOUCHED,
    ) from errors[0]
