"""What people are told about an alert. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from squizzle.alerts.states import AlertMessage
from squizzle.durations import words
from squizzle.notify.records import Link, Moment, Notification

_NAMED = 20


def notification_of(message: AlertMessage, *, fleet: str, now: datetime, links: Sequence[Link] = ()) -> Notification:
    """The notification for a message: which rule, where, since when.

    Args:
        message: What.
        fleet: The fleet's name.
        now: When it was seen.
        links: Where to go.
    """
    names = list(dict.fromkeys(one.target for one in message.states))
    rules = list(dict.fromkeys(one.rule for one in message.states))
    where = names[0] if len(names) == 1 else f"{len(names)} targets"
    is_over = message.moment is Moment.ENDS
    since = min(one.since for one in message.states)
    facts = [("fleet", fleet), ("alert", listed(rules)), ("severity", message.severity.value)]
    if len(names) > 1:
        facts.append(("targets", listed(names)))
    else:
        facts.append(("target", names[0]))
    lasted = f"; lasted {words(now - since)}" if is_over else ""
    facts.append(("since", f"{since:%Y-%m-%d %H:%M:%S %Z}{lasted}"))
    details = list(dict.fromkeys(one.detail for one in message.states if one.detail))
    if details and not is_over:
        facts.append(("found", "; ".join(details[:3])))
    return Notification(
        key=message.key,
        moment=message.moment,
        severity=message.severity,
        title=f"{message.rule}: {where} is well again" if is_over and len(names) == 1 else f"{message.rule}: {where}",
        at=now,
        source=f"fleet {fleet}",
        facts=tuple(facts),
        links=tuple(links),
    )


def listed(names: Sequence[str]) -> str:
    """Names for a person, the first twenty of them."""
    more = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*names[:_NAMED], *more])
