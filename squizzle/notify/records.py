"""What travels about notifications: what is said, and what became of it. No secret and no row's content is in here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from squizzle.severity import Severity


class Moment(StrEnum):
    """`begins`: something is wrong. `goes on`: more about it. `ends`: it is over. `said`: nothing is wrong."""

    BEGINS = "begins"
    GOES_ON = "goes on"
    ENDS = "ends"
    SAID = "said"


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """Somewhere to go.

    Attributes:
        name: What it is: `run`, `runbook`.
        url: Its address.
    """

    name: str
    url: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Notification:
    """One thing that people are told.

    Attributes:
        key: The same for all that belongs together (an incident's id); what ends something has its key.
        moment: Where in its life it is.
        severity: Who is told.
        title: One line.
        text: More, as Markdown; empty for nothing more.
        facts: What and how much, in the order in which it is read.
        links: Where to go.
        source: Who says it: a fleet, a project.
        at: When it was seen.
    """

    key: str
    moment: Moment
    severity: Severity
    title: str
    at: datetime
    source: str
    text: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    links: tuple[Link, ...] = ()

    def line(self) -> str:
        """What happened, in one line, as every channel begins."""
        word = "RESOLVED" if self.moment is Moment.ENDS else self.severity.value.upper()
        return f"[{word}] {' '.join(self.title.split())}"


class Channel(Protocol):
    """A way to tell people something."""

    @property
    def name(self) -> str:
        """What routes call it."""
        ...

    def send(self, notification: Notification, *, thread: str) -> str:
        """Tell it once; returns by what the next of the same key is put beside it, empty where there is no such thing.

        Args:
            notification: What.
            thread: What the first of its key returned; empty for the first.

        Raises:
            CloudError: It was not taken; CloudUnavailableError where another try may help.
            InvalidInputError: The channel is set up wrongly.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """What became of one notification in one channel.

    Attributes:
        channel: The channel's name.
        error: Why it was not taken; empty when it was.
        hint: What to do about that.
        tries: So many times it was tried.
        thread: By what the next of its key is put beside it.
        instead_of: The channels that failed before, so that this one was asked; empty where it was meant to be.
    """

    channel: str
    error: str = ""
    hint: str = ""
    tries: int = 1
    thread: str = ""
    instead_of: tuple[str, ...] = ()

    @property
    def is_delivered(self) -> bool:
        """Whether it was taken."""
        return not self.error


@dataclass(frozen=True, kw_only=True, slots=True)
class Deliveries:
    """What became of one notification.

    Attributes:
        notification: What was said.
        tried: Every channel that was asked, in order.
        unknown: Names that were asked for, and are no channels.
    """

    notification: Notification
    tried: tuple[Delivery, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[Delivery, ...]:
        """The channels that did not take it."""
        return tuple(one for one in self.tried if not one.is_delivered)

    @property
    def is_heard(self) -> bool:
        """Whether somebody was told."""
        return any(one.is_delivered for one in self.tried)

    @property
    def threads(self) -> Mapping[str, str]:
        """By channel, for the next of the same key."""
        return {one.channel: one.thread for one in self.tried if one.thread}


@dataclass(frozen=True, kw_only=True, slots=True)
class Routing:
    """Who gets what.

    Attributes:
        routes: The channels of each severity, by name.
        threads: What the first notification of a key returned, by channel.
    """

    routes: Mapping[Severity, tuple[str, ...]]
    threads: Mapping[str, str] = field(default_factory=dict)
