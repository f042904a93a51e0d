"""What becomes of alerts from one look to the next: who is told what, and who is not told again. Pure.

A rule that is true for as long as it has to be fires; people are told once. It is over when it has not been true for a
while, so that one that comes and goes is one message and not forty. What could not be found out changes nothing, and
is told itself when it stays so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from squizzle.alerts.records import AlertResult
from squizzle.notify.records import Moment
from squizzle.severity import Severity

UNREACHABLE = "cannot be reached"
"""The rule that Squizzle adds by itself: a target that does not answer."""
UNKNOWN = "could not be checked"
"""What is added to the name of a rule that could not be found out for a while."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertLimits:
    """How patient alerts are.

    Attributes:
        cool_down: So long a rule must not have been true before it is over.
        unknown_looks: So many looks in a row that found nothing out are told.
        grouped_from: So many targets for which one rule begins to fire at once are told in one message.
        most_messages: Where more than so many messages of one severity would begin at once, there is one for all.
    """

    cool_down: timedelta = timedelta(minutes=10)
    unknown_looks: int = 3
    grouped_from: int = 4
    most_messages: int = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertState:
    """One rule at one target, for as long as it is not simply false.

    Attributes:
        target: The target's name.
        rule: The rule's.
        severity: Of the rule.
        notify: Channels that the rule names.
        since: Since when its condition has been true; for a rule that could not be found out, since when it has not.
        fires_since: Since when it fires; None while it has not been true for long enough.
        last_not_false: When it was last seen to be true, or could not be found out.
        unknown: So many looks in a row did not find out.
        key: Of the message that people got, shared by everybody in it; empty while they got none.
        is_told: Whether that message was handed over.
        threads: Where that message is, by channel.
        detail: What was found, in a clause; never a row's content.
    """

    target: str
    rule: str
    severity: Severity
    since: datetime
    last_not_false: datetime
    notify: tuple[str, ...] = ()
    fires_since: datetime | None = None
    unknown: int = 0
    key: str = ""
    is_told: bool = False
    threads: Mapping[str, str] = field(default_factory=dict)
    detail: str = ""

    @property
    def name(self) -> tuple[str, str]:
        """By what it is known."""
        return self.target, self.rule


@dataclass(frozen=True, kw_only=True, slots=True)
class Silence:
    """A time in which people are not told.

    Attributes:
        id: By what it is ended.
        rule, target: Which; `*` stands for anything.
        until: Until when, not included.
        reason: Why.
        by: Who said so.
    """

    id: str
    rule: str
    target: str
    until: datetime
    reason: str
    by: str

    def covers(self, state: AlertState, now: datetime) -> bool:
        """Whether it is about this one, now."""
        return fnmatchcase(state.rule, self.rule) and self.holds_for(state.target, now)

    def holds_for(self, target: str, now: datetime) -> bool:
        """Whether it is about this target, now."""
        return now < self.until and fnmatchcase(target, self.target)


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertMessage:
    """What people are to be told about one rule, or about many that began at once.

    Attributes:
        key: The same from its beginning to its end.
        moment: Whether it begins or ends.
        rule: The rule's name; where there are many, how many alerts there are.
        severity: Of the rule.
        notify: Channels that the rule names.
        states: What it is about, by target and rule.
        threads: Where its beginning is, by channel.
    """

    key: str
    moment: Moment
    rule: str
    severity: Severity
    notify: tuple[str, ...]
    states: tuple[AlertState, ...]
    threads: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Advance:
    """What one look makes of the states.

    Attributes:
        states: All that are not over, by target and rule.
        over: Those that are, whether people had been told or not.
        messages: What people are to be told, the worst first.
        silenced: Those that fire and are not told, because somebody said so.
    """

    states: tuple[AlertState, ...]
    over: tuple[AlertState, ...] = ()
    messages: tuple[AlertMessage, ...] = ()
    silenced: tuple[AlertState, ...] = ()


def advance(
    before: Iterable[AlertState],
    looks: Mapping[str, Sequence[AlertResult]],
    now: datetime,
    *,
    silences: Sequence[Silence] = (),
    withheld: Collection[tuple[str, str]] = (),
    limits: AlertLimits = AlertLimits(),
) -> Advance:
    """The states after one look, and what people are to be told.

    Args:
        before: The states as they were kept; also of targets and rules that are no more.
        looks: What was found, by target; a target that does not answer has a result of the rule `UNREACHABLE`.
        now: By the clock that the states' times are from; one that went back leaves everything as it is.
        silences: When people are not told.
        withheld: Targets and rules of which somebody else tells people; they are kept, and not told by this look.
        limits: How patient alerts are.
    """
    known = {one.name: one for one in before}
    states: dict[tuple[str, str], AlertState] = {}
    over: list[AlertState] = []
    for target, results in looks.items():
        for result in results:
            for state in _looked_at(target, result, known, now, limits):
                if _is_over(state, now, limits):
                    over.append(state)
                else:
                    states[state.name] = state
    seen = set(states) | {one.name for one in over}
    for name, state in known.items():
        if name in seen:
            continue
        if _was_not_looked_at(state, looks):
            # Nobody knows: the target did not answer, so nothing about it is over.
            states[name] = state
        else:
            over.append(state)
    # What was not told while it was true is not told behind that.
    missed = [one.name for one in states.values() if one.last_not_false < now and not _was_not_looked_at(one, looks)]
    return _told(list(states.values()), over, now, silences, {*withheld, *missed}, limits)


def due(
    states: Iterable[AlertState],
    now: datetime,
    *,
    silences: Sequence[Silence] = (),
    withheld: Collection[tuple[str, str]] = (),
    limits: AlertLimits = AlertLimits(),
) -> Advance:
    """What people are still to be told about states that a look has left, with no other look.

    Args:
        states: Those of which nobody else has told people meanwhile.
        now: By the clock that their times are from.
        silences: When people are not told.
        withheld: As for `advance`.
        limits: How patient alerts are.
    """
    return _told(list(states), [], now, silences, set(withheld), limits)


def _looked_at(
    target: str,
    result: AlertResult,
    known: Mapping[tuple[str, str], AlertState],
    now: datetime,
    limits: AlertLimits,
) -> tuple[AlertState, ...]:
    """What is kept of one rule at one target: itself, and that it could not be found out."""
    rule = result.rule
    state = known.get((target, rule.name))
    unknown_rule = f"{rule.name}: {UNKNOWN}"
    unknown = known.get((target, unknown_rule))
    if result.is_true is None:
        fresh = AlertState(
            target=target, rule=unknown_rule, severity=_mild(rule.severity), since=now, last_not_false=now
        )
        unknown = replace(unknown or fresh, notify=rule.notify, last_not_false=now, detail=result.why)
        unknown = replace(unknown, unknown=unknown.unknown + 1)
        if unknown.fires_since is None and unknown.unknown >= limits.unknown_looks:
            unknown = replace(unknown, fires_since=now)
        kept = replace(state, last_not_false=max(now, state.last_not_false)) if state is not None else None
        return tuple(one for one in (kept, unknown) if one is not None)
    if unknown is not None:
        # It was found out: that is over at once, true or not.
        unknown = replace(unknown, last_not_false=now - limits.cool_down, unknown=0)
    if result.is_true:
        fresh = AlertState(target=target, rule=rule.name, severity=rule.severity, since=now, last_not_false=now)
        state = state or fresh
        last = max(now, state.last_not_false)
        state = replace(state, severity=rule.severity, notify=rule.notify, last_not_false=last)
        if state.fires_since is None and now - state.since >= rule.hold:
            state = replace(state, fires_since=now)
        state = replace(state, detail=result.why)
    elif state is not None and state.fires_since is None:
        # Not true for as long as it has to be: the next time counts from its beginning.
        state = replace(state, last_not_false=now - limits.cool_down)
    return tuple(one for one in (state, unknown) if one is not None)


def _mild(severity: Severity) -> Severity:
    """What could not be found out wakes nobody in the night that the rule itself would not have woken."""
    return min(severity, Severity.HIGH, key=lambda one: one.rank)


def _is_over(state: AlertState, now: datetime, limits: AlertLimits) -> bool:
    return now - state.last_not_false >= limits.cool_down


def _was_not_looked_at(state: AlertState, looks: Mapping[str, Sequence[AlertResult]]) -> bool:
    found = looks.get(state.target)
    return found is not None and [one.rule.name for one in found if one.is_true] == [UNREACHABLE]


def _told(
    states: list[AlertState],
    over: list[AlertState],
    now: datetime,
    silences: Sequence[Silence],
    withheld: Collection[tuple[str, str]],
    limits: AlertLimits,
) -> Advance:
    quiet = {one.name for one in states if any(silence.covers(one, now) for silence in silences)}
    silent = {*quiet, *withheld}
    keys = _keys([one for one in states if one.fires_since and not one.key and one.name not in silent], now, limits)
    states = [replace(one, key=keys.get(one.name, one.key)) for one in states]
    # Also what was to be told by a run that was killed before it did.
    begins = _messages(Moment.BEGINS, [one for one in states if one.key and not one.is_told and one.name not in quiet])
    open_keys = {one.key for one in states}
    ends = _messages(Moment.ENDS, [one for one in over if one.is_told and one.key not in open_keys])
    messages = sorted([*begins, *ends], key=lambda one: (-one.severity.rank, one.rule, one.states[0].target))
    return Advance(
        states=tuple(sorted(states, key=lambda one: one.name)),
        over=tuple(sorted(over, key=lambda one: one.name)),
        messages=tuple(messages),
        silenced=tuple(one for one in states if one.name in quiet and one.fires_since is not None),
    )


def _keys(fresh: Iterable[AlertState], now: datetime, limits: AlertLimits) -> dict[tuple[str, str], str]:
    """Of what nobody was told of yet, by target and rule: one key for each message, which tells of one or of many."""
    told_alike: dict[tuple[Severity, tuple[str, ...]], dict[str, list[AlertState]]] = {}
    for state in fresh:
        told_alike.setdefault((state.severity, state.notify), {}).setdefault(state.rule, []).append(state)
    keys: dict[tuple[str, str], str] = {}
    for (severity, notify), by_rule in told_alike.items():
        way = (severity.value, *notify)
        mine: dict[tuple[str, str], str] = {}
        for rule, together in by_rule.items():
            is_group = len(together) >= limits.grouped_from
            mine |= {one.name: _key(now, *way, rule, "" if is_group else one.target) for one in together}
        if len(set(mine.values())) > limits.most_messages:
            mine = dict.fromkeys(mine, _key(now, *way))
        keys |= mine
    return keys


def _messages(moment: Moment, states: Iterable[AlertState]) -> list[AlertMessage]:
    together: dict[str, list[AlertState]] = {}
    for state in states:
        together.setdefault(state.key, []).append(state)
    return [
        AlertMessage(
            key=key,
            moment=moment,
            rule=group[0].rule if len({one.rule for one in group}) == 1 else f"{len(group)} alerts",
            severity=max((one.severity for one in group), key=lambda one: one.rank),
            notify=group[0].notify,
            states=tuple(sorted(group, key=lambda one: one.name)),
            threads=group[0].threads,
        )
        for key, group in together.items()
    ]


def _key(now: datetime, *about: str) -> str:
    told = hashlib.sha256("\0".join(about).encode()).hexdigest()[:12]
    return f"alert-{told}-{now:%Y%m%dT%H%M%SZ}"
