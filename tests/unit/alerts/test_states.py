"""From one look to the next: who is told what, and who is not told again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from squizzle.alerts.records import AlertResult, AlertRule
from squizzle.alerts.states import UNKNOWN, UNREACHABLE, Advance, AlertLimits, AlertState, Silence, advance, due
from squizzle.alerts.telling import notification_of
from squizzle.notify.records import Moment
from squizzle.severity import Severity

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FAILED = AlertRule(name="migration_failed", condition="SELECT true", severity=Severity.CRITICAL, notify=("pagerduty",))
SLOW = AlertRule(name="slow", condition="SELECT true", severity=Severity.MEDIUM, hold=timedelta(minutes=10))
DOWN = AlertRule(name=UNREACHABLE, condition="", severity=Severity.HIGH)
EVERY = timedelta(minutes=5)
PATIENT = AlertLimits()


class Sweeps:
    """Looks, five minutes apart, each going on from what the last one kept."""

    def __init__(self, *, silences: Sequence[Silence] = (), limits: AlertLimits = PATIENT) -> None:
        self.now = NOON
        self.states: tuple[AlertState, ...] = ()
        self.silences = silences
        self.limits = limits
        self.hears = True

    def look(self, found: Mapping[str, Mapping[AlertRule, bool | None]]) -> Advance:
        looks = {
            target: [
                AlertResult(rule=rule, is_true=value, why="" if value is not None else "timeout")
                for rule, value in one.items()
            ]
            for target, one in found.items()
        }
        done = advance(self.states, looks, self.now, silences=self.silences, limits=self.limits)
        told = {message.key for message in done.messages}
        self.states = tuple(
            replace(one, is_told=True) if self.hears and one.key in told else one for one in done.states
        )
        self.now += EVERY
        return done

    def says(self, **found: bool | None) -> list[str]:
        """A look at one rule at some targets; what was said."""
        done = self.look({target: {FAILED: value} for target, value in found.items()})
        return said(done)


def said(done: Advance) -> list[str]:
    return [f"{one.moment.value} {one.rule} {','.join(state.target for state in one.states)}" for one in done.messages]


def test_people_are_told_once_that_it_begins_and_once_that_it_is_over() -> None:
    sweeps = Sweeps()
    assert sweeps.says(a=True) == ["begins migration_failed a"]
    assert sweeps.says(a=True) == []
    assert sweeps.says(a=False) == []
    assert sweeps.says(a=False) == ["ends migration_failed a"]
    assert sweeps.states == ()
    assert sweeps.says(a=False) == []


def test_its_end_has_the_key_of_its_beginning() -> None:
    sweeps = Sweeps()
    (begin,) = sweeps.look({"a": {FAILED: True}}).messages
    sweeps.look({"a": {FAILED: False}})
    (end,) = sweeps.look({"a": {FAILED: False}}).messages
    assert (begin.key, begin.notify) == (end.key, ("pagerduty",))
    sweeps.look({"a": {FAILED: True}})
    assert {one.key for one in sweeps.states} != {begin.key}


def test_what_comes_and_goes_is_one_message() -> None:
    sweeps = Sweeps()
    told = [line for value in [True, False] * 10 for line in sweeps.says(a=value)]
    assert told == ["begins migration_failed a"]


def test_a_rule_has_to_hold_for_as_long_as_it_says_without_a_break() -> None:
    sweeps = Sweeps()
    told = [said(sweeps.look({"a": {SLOW: value}})) for value in (True, True, False, True, True, True)]
    assert told == [[], [], [], [], [], ["begins slow a"]]


def test_what_could_not_be_found_out_ends_nothing_and_is_told_when_it_stays_so() -> None:
    sweeps = Sweeps()
    sweeps.says(a=True)
    told = [sweeps.says(a=None) for _ in range(4)]
    assert told == [[], [], [f"begins migration_failed: {UNKNOWN} a"], []]
    assert sweeps.says(a=True) == [f"ends migration_failed: {UNKNOWN} a"]
    assert [one.rule for one in sweeps.states] == ["migration_failed"]


def test_a_target_that_does_not_answer_keeps_what_it_had() -> None:
    sweeps = Sweeps()
    sweeps.look({"a": {DOWN: False, FAILED: True}})
    done = [sweeps.look({"a": {DOWN: True}}) for _ in range(5)]
    assert [said(one) for one in done] == [[f"begins {UNREACHABLE} a"], [], [], [], []]
    back = [sweeps.look({"a": {DOWN: False, FAILED: False}}) for _ in range(2)]
    assert said(back[0]) == ["ends migration_failed a"]
    assert said(back[1]) == [f"ends {UNREACHABLE} a"]


def test_many_targets_at_once_are_one_message_that_ends_with_the_last_of_them() -> None:
    sweeps = Sweeps()
    many = [f"t{number:03}" for number in range(200)]
    (begin,) = sweeps.look({one: {FAILED: True} for one in many}).messages
    assert len(begin.states) == 200
    text = notification_of(begin, fleet="shops", now=NOON)
    assert text.title == "migration_failed: 200 targets"
    assert dict(text.facts)["targets"].endswith("t019, and 180 more")
    for _ in range(2):
        assert sweeps.look({one: {FAILED: one == "t007"} for one in many}).messages == ()
    sweeps.look({one: {FAILED: False} for one in many})
    (end,) = sweeps.look({one: {FAILED: False} for one in many}).messages
    assert (end.moment, end.key) == (Moment.ENDS, begin.key)


def test_a_storm_of_many_rules_is_one_message_for_each_severity_that_ends_with_the_last_of_them() -> None:
    rules = [
        AlertRule(name=f"r{number:02}", condition="", severity=Severity.HIGH if number % 2 else Severity.LOW)
        for number in range(66)
    ]
    sweeps = Sweeps()
    storm: dict[str, dict[AlertRule, bool | None]] = {one: dict.fromkeys(rules, True) for one in ("a", "b", "c")}
    high, low = sweeps.look(storm).messages
    assert [(one.severity, one.rule, len(one.states)) for one in (high, low)] == [
        (Severity.HIGH, "99 alerts", 99),
        (Severity.LOW, "99 alerts", 99),
    ]
    text = notification_of(high, fleet="shops", now=NOON)
    assert text.title == "99 alerts: 3 targets"
    assert dict(text.facts)["targets"] == "a, b, c"
    assert dict(text.facts)["alert"].endswith("r39, and 13 more")
    # One more is a message of its own, and does not end with them.
    storm["d"] = {FAILED: True}
    assert said(sweeps.look(storm)) == ["begins migration_failed d"]
    storm |= {one: dict.fromkeys(rules, False) for one in ("a", "b")}
    assert [said(sweeps.look(storm)) for _ in range(3)] == [[], [], []]
    storm["c"] = dict.fromkeys(rules, False)
    ends = [one for _ in range(2) for one in sweeps.look(storm).messages]
    assert {one.key for one in ends} == {high.key, low.key}


def test_what_somebody_else_tells_is_kept_and_told_only_where_nobody_did() -> None:
    held = [("a", FAILED.name)]
    before = advance((), {"a": [AlertResult(rule=FAILED, is_true=True)]}, NOON, withheld=held)
    assert (said(before), [one.target for one in before.states]) == ([], ["a"])
    assert said(due(before.states, NOON + EVERY)) == ["begins migration_failed a"]
    # It was told otherwise, and is over: nobody hears that it begins.
    after = advance(before.states, {"a": [AlertResult(rule=FAILED, is_true=False)]}, NOON + EVERY)
    assert (said(after), [one.target for one in after.states]) == ([], ["a"])
    again = advance(after.states, {"a": [AlertResult(rule=FAILED, is_true=True)]}, NOON + 2 * EVERY)
    assert said(again) == ["begins migration_failed a"]


def test_a_silence_is_for_what_it_names_and_until_it_ends() -> None:
    silence = Silence(
        id="s", rule="migration_*", target="a*", until=NOON + 3 * EVERY, reason="restored by hand", by="ada"
    )
    sweeps = Sweeps(silences=[silence])
    done = sweeps.look({"a1": {FAILED: True}, "b1": {FAILED: True}})
    assert said(done) == ["begins migration_failed b1"]
    assert [one.target for one in done.silenced] == ["a1"]
    assert sweeps.says(a1=True, b1=True) == []
    assert sweeps.says(a1=True, b1=True) == []
    assert sweeps.says(a1=True, b1=True) == ["begins migration_failed a1"]


def test_what_was_silenced_from_its_beginning_to_its_end_is_never_told() -> None:
    silence = Silence(id="s", rule="*", target="*", until=NOON + 9 * EVERY, reason="move", by="ada")
    sweeps = Sweeps(silences=[silence])
    assert [sweeps.says(a=value) for value in (True, False, False, False)] == [[], [], [], []]


def test_people_who_were_not_told_because_the_run_died_are_told_by_the_next() -> None:
    sweeps = Sweeps()
    sweeps.hears = False
    (first,) = sweeps.look({"a": {FAILED: True}}).messages
    sweeps.hears = True
    (second,) = sweeps.look({"a": {FAILED: True}}).messages
    assert first.key == second.key


def test_a_rule_or_a_target_that_is_no_more_is_over() -> None:
    sweeps = Sweeps()
    sweeps.look({"a": {FAILED: True}, "b": {FAILED: True}})
    assert said(sweeps.look({"a": {SLOW: False}})) == ["ends migration_failed a", "ends migration_failed b"]


def test_the_worst_is_told_first() -> None:
    loud = replace(SLOW, name="aaa", severity=Severity.LOW, hold=timedelta())
    done = Sweeps().look({"a": {loud: True, FAILED: True}})
    assert [one.severity for one in done.messages] == [Severity.CRITICAL, Severity.LOW]


def test_a_clock_that_goes_back_ends_and_repeats_nothing() -> None:
    sweeps = Sweeps()
    sweeps.says(a=True)
    sweeps.now -= timedelta(hours=3)
    assert sweeps.says(a=True) == []
    assert sweeps.says(a=False) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([True, False, None]), min_size=1), max_size=25)
)
def test_every_beginning_has_at_most_one_end_and_every_end_a_beginning(looks: list[dict[str, bool | None]]) -> None:
    sweeps = Sweeps(limits=AlertLimits(cool_down=timedelta(minutes=10), grouped_from=3))
    open_keys: set[str] = set()
    for found in looks:
        for message in sweeps.look({target: {FAILED: value} for target, value in found.items()}).messages:
            if message.moment is Moment.BEGINS:
                assert message.key not in open_keys
                open_keys.add(message.key)
            else:
                open_keys.remove(message.key)
    assert open_keys == {one.key for one in sweeps.states if one.is_told}
