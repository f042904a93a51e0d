"""Telling people: each channel is a task of its own, all at the same time."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from prefect import task
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture

from squizzle.errors import CloudError, CloudUnavailableError, InvalidInputError
from squizzle.notify.channels import open_channels
from squizzle.notify.deliver import PATIENCE, TRIES, deliver, tell_patiently
from squizzle.notify.records import Channel, Deliveries, Delivery, Notification, Routing
from squizzle.notify.trial import try_channels
from squizzle.notify.wording import plain_text
from squizzle.settings.notify import NotifySettings, PrefectChannel, channels_meant
from squizzle.severity import Severity
from tasks.steps import can_be_retried, log_line

# Two tries of a channel's own patience, and time to give up. Prefect's own timeout cannot end what runs in a thread.
_TIMEOUT = 2 * PATIENCE + timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class ByPrefectBlock:
    """One of Prefect's own notification blocks."""

    name: str
    settings: PrefectChannel

    def send(self, notification: Notification, *, thread: str) -> str:
        """As `Channel.send`."""
        del thread
        try:
            block = Block.load(self.settings.block)
        except ValueError as exc:
            raise InvalidInputError(f"there is no block {self.settings.block}", hint="make it, or correct it") from exc
        if not isinstance(block, NotificationBlock):
            raise InvalidInputError(
                f"the block {self.settings.block} tells nobody anything",
                hint="name one of Prefect's notification blocks",
            )
        try:
            with block.raise_on_failure():
                waited = block.notify(plain_text(notification), notification.line())
                # Some of them know nothing but coroutines.
                if inspect.iscoroutine(waited):
                    asyncio.run(waited)
        except Exception as exc:  # noqa: BLE001 - see below
            # Whatever library is behind it raises what it likes, and says in it what was sent where.
            raise CloudUnavailableError(
                f"the block {self.settings.block} failed ({type(exc).__name__})",
                hint="try the block on Prefect's page of blocks, and correct what it holds",
            ) from None
        return ""


def notify(
    notification: Notification,
    settings: NotifySettings,
    environ: Mapping[str, str],
    *,
    only: Sequence[str] = (),
    threads: Mapping[str, str] | None = None,
    given_up: dict[str, Delivery] | None = None,
) -> Deliveries:
    """Tell people, each channel by a task; see `squizzle.notify.deliver.deliver`. What failed is in the run's log.

    Args:
        notification: What.
        settings: Channels and routes.
        environ: Where secrets are.
        only: Channels that an alert names; empty for those of the severity.
        threads: What the first notification of the key returned, by channel.
        given_up: Channels that failed before in this run: one that hangs takes a minute and a half each time, so they
            are not tried again, and once only where it is critical. Those that fail now are added.
    """
    failed_before = {} if given_up is None else given_up
    is_critical = notification.severity is Severity.CRITICAL

    def tell(channels: Sequence[Channel], notification: Notification, threads: Mapping[str, str]) -> Sequence[Delivery]:
        tried = [one for one in channels if is_critical or one.name not in failed_before]
        once = frozenset(failed_before)
        done = {one.channel: one for one in _tell_by_tasks(tried, notification, threads, once=once)}
        failed_before.update({name: one for name, one in done.items() if not one.is_delivered})
        return [done.get(one.name) or _not_again(failed_before[one.name]) for one in channels]

    channels = open_channels(settings.channels, environ, ByPrefectBlock)
    meant = channels_meant(settings.channels, only)
    routing = Routing(routes=settings.routes, threads=threads or {})
    done = deliver(notification, channels, routing, only=meant, telling=tell)
    for one in done.failed:
        told = "; ".join(filter(None, (one.error, one.hint)))
        log_line(f"not told by {one.channel}: {told}", logging.ERROR)
    for name in done.unknown:
        log_line(f"there is no channel {name!r}; the severity's were told instead", logging.WARNING)
    if not done.is_heard:
        why = "" if channels else "; no channel is set up (docs/notifications.md)"
        log_line(f"NOBODY was told: {notification.line()}{why}", logging.CRITICAL)
    return done


def try_all(
    settings: NotifySettings, notification: Notification, environ: Mapping[str, str], *, only: Sequence[str] = ()
) -> tuple[Delivery, ...]:
    """Send one message by every channel, each by a task; see `squizzle.notify.trial.try_channels`."""
    channels = open_channels(settings.channels, environ, ByPrefectBlock)
    return try_channels(channels, notification, only=only, telling=_tell_by_tasks)


def _not_again(failed: Delivery) -> Delivery:
    return replace(failed, tries=0, error=f"it failed before in this run: {failed.error}")


class _NotToldError(CloudError):
    """Makes the task of a channel that failed a failed one; what became of it is in here."""

    def __init__(self, delivery: Delivery | None = None) -> None:
        super().__init__(delivery.error if delivery else "")
        self.delivery = delivery


@task(
    name="Notify",
    task_run_name="notify by {channel.name}",
    retries=1,
    retry_delay_seconds=[5.0],
    retry_condition_fn=can_be_retried,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def _tell(channel: Channel, notification: Notification, thread: str, tries: int = TRIES) -> Delivery:
    done = tell_patiently(channel, notification, thread, tries=tries)
    if not done.is_delivered:
        raise _NotToldError(done)
    return done


def _tell_by_tasks(
    channels: Sequence[Channel],
    notification: Notification,
    threads: Mapping[str, str],
    *,
    once: Collection[str] = (),
) -> Sequence[Delivery]:
    begun: list[tuple[Channel, PrefectFuture[Delivery]]] = []
    for one in channels:
        thread = threads.get(one.name, "")
        told = (
            _tell.with_options(retries=0).submit(one, notification, thread, 1)
            if one.name in once
            else _tell.submit(one, notification, thread)
        )
        begun.append((one, told))
    return [_became(one, future) for one, future in begun]


def _became(channel: Channel, future: PrefectFuture[Delivery]) -> Delivery:
    try:
        found: object = future.result(timeout=_TIMEOUT.total_seconds(), raise_on_failure=False)
    except TimeoutError as exc:
        found = exc
    if isinstance(found, Delivery):
        return found
    if isinstance(found, _NotToldError) and found.delivery is not None:
        return found.delivery
    return Delivery(channel=channel.name, error=f"it did not come to an end ({type(found).__name__})")
