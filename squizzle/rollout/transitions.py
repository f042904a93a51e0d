"""What happens in a rollout, moment by moment: the events that people hang automations on, and the picture of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Happening(StrEnum):
    """What an event is called behind `squizzle.rollout.`; the names stay as they are (docs/rollout.md)."""

    BEGUN = "begun"
    REFUSED = "refused"
    STAGE_BEGUN = "stage-begun"
    APPROVAL_AWAITED = "approval-awaited"
    APPROVED = "approved"
    NOT_APPROVED = "not-approved"
    WINDOW_AWAITED = "window-awaited"
    WINDOW_OPEN = "window-open"
    SECURING = "securing"
    SECURED = "secured"
    APPLYING = "applying"
    TARGETS_DONE = "targets-done"
    APPLIED = "applied"
    SOAKING = "soaking"
    SOAKED = "soaked"
    TAKING_BACK = "taking-back"
    TAKEN_BACK = "taken-back"
    STAGE_ENDED = "stage-ended"
    ENDED = "ended"


@dataclass(frozen=True, kw_only=True, slots=True)
class Transition:
    """One moment of a rollout.

    Attributes:
        at: When, by the clock of whoever rolls out.
        what: What happened.
        stage: In which stage; empty for the whole rollout.
        facts: What else the event says.
    """

    at: datetime
    what: Happening
    stage: str = ""
    facts: Mapping[str, str | int | list[str]] = field(default_factory=dict)


class Doing(StrEnum):
    """What takes time in a stage."""

    APPROVAL = "waits for a person"
    WINDOW = "waits for its window"
    SECURING = "backups, restore points"
    APPLYING = "applies"
    SOAKING = "watches"
    TAKING_BACK = "takes back"


_BEGINS = {
    Happening.APPROVAL_AWAITED: Doing.APPROVAL,
    Happening.WINDOW_AWAITED: Doing.WINDOW,
    Happening.SECURING: Doing.SECURING,
    Happening.APPLYING: Doing.APPLYING,
    Happening.SOAKING: Doing.SOAKING,
    Happening.TAKING_BACK: Doing.TAKING_BACK,
}
_ENDS = {
    Happening.APPROVED: Doing.APPROVAL,
    Happening.NOT_APPROVED: Doing.APPROVAL,
    Happening.WINDOW_OPEN: Doing.WINDOW,
    Happening.SECURED: Doing.SECURING,
    Happening.APPLIED: Doing.APPLYING,
    Happening.SOAKED: Doing.SOAKING,
    Happening.TAKEN_BACK: Doing.TAKING_BACK,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """How long something took.

    Attributes:
        stage: In which stage.
        doing: What.
        begin: From when.
        end: Until when.
        ended: Whether it came to its end; otherwise `end` is when the run ended.
    """

    stage: str
    doing: Doing
    begin: datetime
    end: datetime
    ended: bool = True


def spans_of(transitions: Iterable[Transition], *, until: datetime) -> tuple[Span, ...]:
    """What took time, in the order in which it began; what has no end ended with the run.

    Args:
        transitions: In order.
        until: When the run ended.
    """
    return tuple(sorted(_spans(transitions, until), key=lambda one: one.begin))


def _spans(transitions: Iterable[Transition], until: datetime) -> Iterator[Span]:
    begun: dict[tuple[str, Doing], datetime] = {}
    for one in transitions:
        if one.what in _BEGINS:
            begun[one.stage, _BEGINS[one.what]] = one.at
        elif one.what in _ENDS:
            doing = _ENDS[one.what]
            begin = begun.pop((one.stage, doing), None)
            if begin is not None:
                yield Span(stage=one.stage, doing=doing, begin=begin, end=one.at)
    for (stage, doing), begin in begun.items():
        yield Span(stage=stage, doing=doing, begin=begin, end=max(begin, until), ended=False)
