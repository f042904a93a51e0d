"""Telling the right people: all channels of a severity at once, and the next ones where one fails."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

from squizzle.errors import CloudBusyError, SquizzleError
from squizzle.notify.records import Channel, Deliveries, Delivery, Notification, Routing
from squizzle.severity import Severity

# Whoever is to be woken is not woken by a channel that is asked to wait for a quarter of an hour.
PATIENCE = timedelta(seconds=45)
TRIES = 3
_PAUSE_S = 1.0
_LONGEST_SHOWN = 300

# Tells all of these channels, each patiently, at the same time; gives what became of each, in their order.
Telling = Callable[[Sequence[Channel], Notification, Mapping[str, str]], Sequence[Delivery]]


def deliver(
    notification: Notification,
    channels: Mapping[str, Channel],
    routing: Routing,
    *,
    only: Iterable[str] = (),
    telling: Telling | None = None,
) -> Deliveries:
    """Tell everybody whom the severity, or `only`, names. Where a channel fails, the next that was not asked is.

    A failure is part of what the next channel says; where none is left, the ones that work are told of it.

    Args:
        notification: What.
        channels: Every channel, by name.
        routing: Who gets what.
        only: Channels that an alert names; empty for those of the severity. A name that is no channel falls back to
            the severity's, so that a typing error silences nobody.
        telling: How channels are told; None for threads of this process.

    Returns:
        What became of it; never an error, for who is told what failed is the caller's to decide.
    """
    tell = telling or tell_in_threads
    named = tuple(only)
    unknown = tuple(one for one in named if one not in channels)
    wanted = [one for one in named if one in channels]
    if unknown or not named:
        wanted += routing.routes.get(notification.severity, ())
    wanted = list(dict.fromkeys(wanted))
    tried = list(tell([channels[one] for one in wanted], notification, routing.threads))
    failed = [one for one in tried if not one.is_delivered]
    for name in _further(notification.severity, routing, wanted, channels):
        if not failed:
            break
        instead = _with_failures(notification, failed)
        (one,) = tell([channels[name]], instead, routing.threads)
        tried.append(replace(one, instead_of=tuple(lost.channel for lost in failed)))
        failed = [] if one.is_delivered else [*failed, one]
    working = [channels[one.channel] for one in tried if one.is_delivered and not one.instead_of]
    # Of a channel that is not tried any more people were told before.
    if working and any(one.tries for one in failed):
        threads = {**routing.threads, **{one.channel: one.thread for one in tried if one.thread}}
        again = tell(working[:1], _failures_only(notification, failed), threads)
        tried += [replace(one, instead_of=tuple(lost.channel for lost in failed)) for one in again]
    return Deliveries(notification=notification, tried=tuple(tried), unknown=unknown)


def _further(
    severity: Severity, routing: Routing, wanted: Sequence[str], channels: Mapping[str, Channel]
) -> tuple[str, ...]:
    """The channels that were not asked: of higher severities first, the mildest of them first."""
    order = [one for level in Severity if level.rank > severity.rank for one in routing.routes.get(level, ())]
    return tuple(one for one in dict.fromkeys(order) if one not in wanted and one in channels)


def _with_failures(notification: Notification, failed: Sequence[Delivery]) -> Notification:
    told = tuple((f"could not be told by {one.channel}", one.error) for one in failed)
    return replace(notification, facts=notification.facts + told)


def _failures_only(notification: Notification, failed: Sequence[Delivery]) -> Notification:
    names = ", ".join(one.channel for one in failed)
    return replace(
        notification,
        title=f"nobody was told by {names}: {notification.title}",
        text="",
        facts=tuple((one.channel, " ".join(filter(None, (one.error, one.hint)))) for one in failed),
    )


def tell_in_threads(
    channels: Sequence[Channel], notification: Notification, threads: Mapping[str, str]
) -> Sequence[Delivery]:
    """Tell every channel at the same time, so that one that hangs keeps nobody else waiting."""
    if not channels:
        return ()
    with ThreadPoolExecutor(len(channels), thread_name_prefix="squizzle-notify") as pool:
        return list(pool.map(lambda one: tell_patiently(one, notification, threads.get(one.name, "")), channels))


def tell_patiently(
    channel: Channel, notification: Notification, thread: str, *, patience: timedelta = PATIENCE, tries: int = TRIES
) -> Delivery:
    """Tell one channel, again where that may help; it waits as long as the channel asks, within `patience`.

    Returns:
        What became of it; an error of ours is in it.
    """
    deadline = time.monotonic() + patience.total_seconds()
    for number in range(1, tries + 1):
        try:
            kept = channel.send(notification, thread=thread)
        except SquizzleError as exc:
            pause = exc.wait_s if isinstance(exc, CloudBusyError) else 0.0
            pause = pause or _PAUSE_S * number * random.uniform(0.5, 1)  # noqa: S311 - no secret
            is_last = number == tries or not exc.retryable or time.monotonic() + pause > deadline
            if is_last:
                error = exc.message[:_LONGEST_SHOWN]
                return Delivery(channel=channel.name, error=error, hint=exc.hint, tries=number, thread=thread)
            time.sleep(pause)
        else:
            return Delivery(channel=channel.name, tries=number, thread=kept)
    raise AssertionError("the last try returns")
