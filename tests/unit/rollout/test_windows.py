"""When a rollout may work: compared with the clock on the wall, minute by minute, also while it is changed."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from squizzle.rollout.records import WEEK, Weekday, Window
from squizzle.rollout.windows import Opening, is_allowed, is_open, next_allowed
from squizzle.settings.fleets import Freeze

VIENNA = ZoneInfo("Europe/Vienna")
STEP = timedelta(minutes=15)
# Around both changes of the clock there, and any time.
MOMENTS = [datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)]
clocks = st.integers(0, 95).map(lambda number: time(number // 4, number % 4 * 15))
windows = st.builds(
    Window,
    days=st.sets(st.sampled_from(WEEK), min_size=1).map(lambda days: tuple(sorted(days, key=WEEK.index))),
    begin=clocks,
    end=clocks,
    zone=st.sampled_from([VIENNA, ZoneInfo("America/St_Johns"), ZoneInfo("UTC")]),
)
moments = st.builds(lambda begin, steps: begin + STEP * steps, st.sampled_from(MOMENTS), st.integers(0, 4 * 24 * 3))
freezes = st.builds(
    lambda begin, steps: Freeze(begin=begin, until=begin + STEP * steps, reason="r"), moments, st.integers(1, 400)
)


def window(begin: str, end: str, *days: Weekday) -> Window:
    return Window(days=days or WEEK, begin=time.fromisoformat(begin), end=time.fromisoformat(end), zone=VIENNA)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@given(moments, st.lists(windows, max_size=2), st.lists(freezes, max_size=2))
def test_the_next_moment_is_the_first_that_is_allowed(now: datetime, some: list[Window], frozen: list[Freeze]) -> None:
    opening = next_allowed(now, windows=some, freezes=frozen)

    assert opening.at is not None
    assert is_allowed(opening.at, windows=some, freezes=frozen)
    assert (opening.at == now) is (opening.why == "")
    moment = now
    while moment < opening.at:
        assert not is_allowed(moment, windows=some, freezes=frozen)
        moment += STEP


@given(moments, windows)
def test_a_window_is_open_only_while_the_clock_on_the_wall_shows_it(now: datetime, one: Window) -> None:
    local = now.astimezone(one.zone)
    minute, begin, end = (value.hour * 60 + value.minute for value in (local, one.begin, one.end))
    length = (end - begin) % 1440 or 1440
    since = (minute - begin) % 1440
    began_on = WEEK[(local.weekday() - (minute < begin)) % 7]

    assert is_open(one, now) is (since < length and began_on in one.days)


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    friday_night = window("22:00", "04:00", Weekday.FRI)

    assert is_open(friday_night, at("2026-06-06T03:59+02:00"))  # Saturday
    assert not is_open(friday_night, at("2026-06-05T03:59+02:00"))  # Friday
    assert not is_open(friday_night, at("2026-06-06T04:00+02:00"))


def test_an_hour_that_the_clock_leaves_out_opens_nothing_and_one_that_comes_twice_opens_twice() -> None:
    night = [window("02:15", "02:45")]

    spring = next_allowed(at("2026-03-29T00:00+01:00"), windows=night, freezes=())
    assert spring.at == at("2026-03-30T02:15+02:00")
    # What begins in the hour that is left out begins right after it.
    late = next_allowed(at("2026-03-29T00:00+01:00"), windows=[window("02:15", "05:00")], freezes=())
    assert late.at == at("2026-03-29T03:00+02:00")
    autumn = next_allowed(at("2026-10-25T02:50+02:00"), windows=night, freezes=())
    assert autumn.at == at("2026-10-25T02:15+01:00")
    again = next_allowed(at("2026-10-25T02:30+02:00"), windows=[window("01:00", "02:20")], freezes=())
    assert again.at == at("2026-10-25T02:00+01:00")


def test_freezes_say_why_and_until_when() -> None:
    now = at("2026-12-24T12:00+00:00")
    sales = Freeze(begin=at("2026-12-20T00:00+00:00"), until=at("2027-01-06T00:00+00:00"), reason="Christmas sales")
    audit = Freeze(begin=at("2027-01-05T00:00+00:00"), until=None, reason="audit")

    assert next_allowed(now, windows=(), freezes=[sales]) == Opening(
        at=at("2027-01-06T00:00+00:00"), why="frozen until 2027-01-06 00:00 UTC: Christmas sales"
    )
    assert next_allowed(now, windows=(), freezes=[sales, audit]).at is None
    assert next_allowed(at("2027-02-01T00:00+00:00"), windows=(), freezes=[audit]).why == (
        "frozen until further notice: audit"
    )
    assert next_allowed(at("2026-06-02T12:00+02:00"), windows=[window("22:00", "00:00", Weekday.MON)], freezes=()) == (
        Opening(at=at("2026-06-08T22:00+02:00"), why="outside of its windows (mon 22:00-24:00 Europe/Vienna)")
    )
