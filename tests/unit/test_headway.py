"""How far long work is: who is told, what is told, and what is not claimed."""

from __future__ import annotations

import threading
import time
from contextvars import copy_context
from datetime import timedelta
from io import StringIO

import pytest
from rich.console import Console

from squizzle.headway import Headway, Onlooker, Stretch, Unit, counted, is_told, stretch, told_to
from squizzle.reports.headway import bars, headway_words, shown_at_terminal
from tests.support.heard import Heard


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def saving(clock: Clock, *, total: int = 100, is_estimate: bool = True) -> Stretch:
    return Stretch("saving shop", unit=Unit.BYTES, total=total, is_estimate=is_estimate, clock=clock)


def test_the_time_left_follows_the_pace_of_the_last_minute(clock: Clock) -> None:
    work = saving(clock, total=1000)
    for second in range(1, 101):
        clock.now = second
        work.at(second)
    assert work.headway().left == timedelta(seconds=900)
    for second in range(101, 181):
        clock.now = second
        work.at(100 + 5 * (second - 100))

    assert work.headway().done == 500
    assert work.headway().left == timedelta(seconds=100)
    assert work.headway().elapsed == timedelta(seconds=180)


def test_nothing_is_said_of_the_time_left_before_anything_is_done_or_known(clock: Clock) -> None:
    unknown, untouched = saving(clock, total=0), saving(clock)
    clock.now = 10.0
    unknown.at(50)
    untouched.at(0)

    assert (unknown.headway().left, unknown.headway().share) == (None, None)
    assert untouched.headway().left is None


def test_work_that_stands_still_takes_ever_longer(clock: Clock) -> None:
    work = saving(clock)
    clock.now = 10.0
    work.at(50)
    assert work.headway().left == timedelta(seconds=10)
    clock.now = 100.0

    assert work.headway().done == 50
    assert work.headway().left == timedelta(seconds=100)


def test_inside_a_piece_that_says_nothing_it_goes_on_as_fast_as_before_and_never_beyond_its_end(clock: Clock) -> None:
    work = saving(clock)
    clock.now = 10.0
    work.at(20, until=60)
    clock.now = 15.0
    assert work.headway().done == 30
    clock.now = 500.0

    assert work.headway().done == 60


def test_what_becomes_more_than_was_expected_is_no_share_any_more(clock: Clock) -> None:
    work = saving(clock)
    clock.now = 10.0
    work.at(130)

    assert work.headway().share is None
    assert headway_words(work.headway()) == "saving shop: 0.1 kB, about 0.1 kB were expected; 10 s so far"


@pytest.mark.parametrize(
    ("unit", "done", "total", "is_estimate", "left", "said"),
    [
        (Unit.BYTES, 3 * 10**9, 12 * 10**9, True, 125, "25 % of about 12.0 GB, about 2 min left"),
        (Unit.BYTES, 3 * 10**9, 12 * 10**9, False, 125, "25 % of 12.0 GB, about 2 min left"),
        (Unit.ROWS, 5000, 0, False, None, "5,000 rows, 1 min 5 s so far"),
        (Unit.FILES, 1, 3, False, None, "33 % of 3 files, 1 min 5 s"),
        (Unit.FILES, 3, 3, False, None, "all of 3 files, 1 min 5 s"),
        (Unit.TIME, 0, 0, False, None, "1 min 5 s so far"),
    ],
)
def test_a_line_says_what_is_known_and_no_more(
    *, unit: Unit, done: int, total: int, is_estimate: bool, left: int | None, said: str
) -> None:
    headway = Headway(
        doing="it",
        unit=unit,
        done=done,
        total=total,
        is_estimate=is_estimate,
        elapsed=timedelta(seconds=65),
        left=None if left is None else timedelta(seconds=left),
    )

    assert headway_words(headway) == f"it: {said}"
    file = StringIO()
    Console(file=file, width=120, color_system=None).print(bars((headway,)))
    assert file.getvalue().startswith("it ")
    assert said in file.getvalue()


def fail_behind_two_rows() -> None:
    with stretch("it", unit=Unit.ROWS, total=3) as work:
        work.add(2)
        raise ValueError("broken")


def test_whoever_is_named_hears_of_it_from_its_beginning_to_its_end_also_when_it_fails() -> None:
    outer, inner = Heard(), Heard()
    with told_to(outer):
        with told_to(inner), pytest.raises(ValueError, match="broken"):
            fail_behind_two_rows()
        with told_to(inner, alone=True), stretch("that"):
            pass
        assert list(counted("abc", "these", unit=Unit.FILES)) == ["a", "b", "c"]

    assert not is_told()
    assert [(one.doing, one.done) for one in outer.ends] == [("it", 2), ("these", 3)]
    assert [(one.doing, one.done) for one in inner.ends] == [("it", 2), ("that", 0)]
    assert (outer.begins, inner.begins) == (2, 2)


def test_another_thread_is_heard_where_it_was_given_the_context() -> None:
    heard = Heard()

    def work() -> None:
        with stretch("it"):
            pass

    with told_to(heard):
        threads = [threading.Thread(target=work), threading.Thread(target=copy_context().run, args=(work,))]
        for thread in threads:
            thread.start()
            thread.join()

    assert heard.begins == 1


class Looks(Onlooker):
    """Looks after a tenth of a second, and keeps what it saw."""

    def __init__(self) -> None:
        super().__init__(first=timedelta(seconds=0.1), every=timedelta(seconds=0.02))
        self.seen: list[list[str]] = []
        self.closed = 0

    def look(self, going: tuple[Headway, ...]) -> None:
        self.seen.append([one.doing for one in going])

    def close(self) -> None:
        self.closed += 1


def test_many_short_pieces_are_looked_at_as_one_long_one_and_a_short_one_alone_never() -> None:
    looks = Looks()
    with told_to(looks):
        with stretch("short"):
            pass
        assert (looks.seen, looks.closed) == ([], 0)
        with stretch("all"):
            for _ in range(2):
                with stretch("each"):
                    time.sleep(0.08)
    assert looks.seen[-1] == ["all", "each"]
    assert looks.closed == 1
    assert "squizzle headway" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize(
    ("as_json", "is_terminal", "term", "shown"),
    [
        (False, True, "xterm", True),
        (True, True, "xterm", False),
        (False, False, "xterm", False),
        (False, True, "dumb", False),
    ],
)
def test_bars_are_for_a_terminal_that_can_draw_and_never_beside_json(
    monkeypatch: pytest.MonkeyPatch, *, as_json: bool, is_terminal: bool, term: str, shown: bool
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal)
    monkeypatch.setenv("TERM", term)

    with shown_at_terminal(as_json=as_json):
        assert is_told() is shown
