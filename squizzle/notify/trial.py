"""A message by every channel, to see that it arrives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from squizzle.errors import InvalidInputError
from squizzle.notify.deliver import Telling, tell_in_threads
from squizzle.notify.records import Channel, Delivery, Moment, Notification
from squizzle.severity import Severity

# The same in every trial: a page that one left open which was killed is ended by the next.
_KEY = "squizzle-trial"


def trial_notification(at: datetime) -> Notification:
    """What is said."""
    return Notification(
        key=_KEY,
        moment=Moment.BEGINS,
        severity=Severity.LOW,
        title="this is a trial of the channel; nothing is wrong",
        at=at,
        source="squizzle",
        text="If you can read this, the channel works.",
    )


def try_channels(
    channels: Mapping[str, Channel],
    notification: Notification,
    *,
    only: Sequence[str] = (),
    telling: Telling = tell_in_threads,
) -> tuple[Delivery, ...]:
    """Send it by every channel, then its end, so that no page stays open. No other channel stands in for one.

    Args:
        channels: By name.
        notification: What; see `trial_notification`.
        only: Which of them; empty for all.
        telling: How.

    Raises:
        InvalidInputError: There is no channel, or none of that name.
    """
    if missing := [one for one in only if one not in channels]:
        known = ", ".join(channels) or "none"
        raise InvalidInputError(f"there is no channel {missing[0]!r}; known: {known}", hint="see docs/notifications.md")
    wanted = [one for name, one in channels.items() if name in only or not only]
    if not wanted:
        raise InvalidInputError(
            "no channel is set up", hint="add [notify.channels.NAME] to squizzle.toml (docs/notifications.md)"
        )
    began = telling(wanted, notification, {})
    threads = {one.channel: one.thread for one in began if one.is_delivered}
    ended = telling([one for one in wanted if one.name in threads], replace(notification, moment=Moment.ENDS), threads)
    lost = {one.channel: one for one in ended if not one.is_delivered}
    return tuple(lost.get(one.channel, one) for one in began)
