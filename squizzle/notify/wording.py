"""What a notification says in each kind of channel. Pure."""

from __future__ import annotations

from typing import Any

from squizzle.notify.records import Moment, Notification
from squizzle.severity import Severity
from squizzle.slack.text import Blocks, escaped, harmless, header

# One text message of SMS: longer ones are split, and cost and arrive as several.
SMS_LENGTH = 160
# Slack's manual: 12,000 characters of Markdown in a message; ten fields of a section, 2,000 characters each.
_MARKDOWN = 11_000
_FIELDS = 10
_FIELD = 1_900
# PagerDuty's reference of Events API v2.
_SUMMARY = 1024
_MARKS = {
    Severity.LOW: ":information_source:",
    Severity.MEDIUM: ":warning:",
    Severity.HIGH: ":large_orange_circle:",
    Severity.CRITICAL: ":red_circle:",
}
_PAGER = {
    Severity.LOW: "info",
    Severity.MEDIUM: "warning",
    Severity.HIGH: "error",
    Severity.CRITICAL: "critical",
}


def plain_text(notification: Notification) -> str:
    """For e-mail and whatever else shows text as it is."""
    lines = [notification.line(), ""]
    if notification.text:
        lines += [notification.text, ""]
    lines += [f"{name}: {value}" for name, value in notification.facts]
    lines += ["", *[f"{link.name}: {link.url}" for link in notification.links]] if notification.links else []
    lines += ["", f"{notification.source}, {notification.at:%Y-%m-%d %H:%M:%S %Z}"]
    return "\n".join(lines).strip() + "\n"


def short_text(notification: Notification) -> str:
    """For a telephone: the line and one address, in one text message; an address is whole or left out."""
    line = notification.line()
    address = notification.links[0].url if notification.links else ""
    room = SMS_LENGTH - len(address) - 1 if address and len(address) < SMS_LENGTH // 2 else SMS_LENGTH
    # What is not ASCII makes a text message half as long.
    cut = "".join(one if one.isascii() else "?" for one in line)
    cut = cut if len(cut) <= room else f"{cut[: room - 3]}..."
    return f"{cut} {address}" if room != SMS_LENGTH else cut


def slack_message(notification: Notification) -> tuple[str, Blocks]:
    """The text for a telephone's notification, and the blocks."""
    is_over = notification.moment is Moment.ENDS
    mark = ":white_check_mark:" if is_over else _MARKS[notification.severity]
    blocks: Blocks = [
        header(notification.line()),
        {"type": "context", "elements": [_words(f"{mark} {escaped(notification.source)}")]},
    ]
    if notification.text:
        text = harmless(notification.text)
        cut = text if len(text) <= _MARKDOWN else f"{text[:_MARKDOWN]}\n\n… cut here."
        blocks.append({"type": "markdown", "text": cut})
    shown = notification.facts[:_FIELDS]
    if shown:
        fields = [_words(f"*{escaped(name)}*\n{escaped(value)}"[:_FIELD]) for name, value in shown]
        blocks.append({"type": "section", "fields": fields})
    links = [f"<{link.url}|{escaped(link.name)}>" for link in notification.links]
    more = len(notification.facts) - len(shown)
    told = [*links, f"{more} facts more in the report"] if more else links
    at = f"{notification.at:%Y-%m-%d %H:%M:%S %Z}"
    blocks.append({"type": "context", "elements": [_words(" · ".join([*told, at]))]})
    return escaped(notification.line()), blocks


def _words(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text}


def pager_event(notification: Notification, routing_key: str) -> dict[str, Any]:
    """An event of PagerDuty's Events API v2; what has one key is one incident there."""
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "resolve" if notification.moment is Moment.ENDS else "trigger",
        "dedup_key": notification.key[:255],
    }
    if notification.moment is Moment.ENDS:
        return event
    return event | {
        "payload": {
            "summary": notification.line()[:_SUMMARY],
            "source": notification.source,
            "severity": _PAGER[notification.severity],
            "timestamp": notification.at.isoformat(),
            "component": "squizzle",
            "custom_details": dict(notification.facts) | ({"text": notification.text} if notification.text else {}),
        },
        "links": [{"href": link.url, "text": link.name} for link in notification.links],
    }


def document(notification: Notification) -> dict[str, Any]:
    """For programs; `format` changes when a key goes or means something else."""
    return {
        "format": 1,
        "key": notification.key,
        "moment": notification.moment.value,
        "severity": notification.severity.value,
        "title": notification.title,
        "text": notification.text,
        "facts": [{"name": name, "value": value} for name, value in notification.facts],
        "links": [{"name": link.name, "url": link.url} for link in notification.links],
        "source": notification.source,
        "at": notification.at.isoformat(),
    }
