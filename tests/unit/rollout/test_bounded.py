"""So many at the same time in all, so many at one place, and nobody waits for a place that is not theirs."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest

from squizzle.rollout.bounded import each_bounded


class Work:
    """Counts who is at work; nobody leaves before `gate` is open."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.gate = threading.Event()
        self.full = threading.Semaphore(0)

    def __call__(self, item: str) -> str:
        with self.lock:
            self.now[item[0]] += 1
            self.most[item[0]] = max(self.most[item[0]], self.now[item[0]])
            self.most["all"] = max(self.most["all"], self.now.total())
        self.full.release()
        self.gate.wait()
        with self.lock:
            self.now[item[0]] -= 1
        return item * 2


def test_no_bound_is_passed_and_each_is_used() -> None:
    work = Work()
    items = [f"{place}{number}" for place in "abc" for number in range(20)]

    def open_when_full() -> None:
        for _ in range(5):
            work.full.acquire()
        work.gate.set()

    opener = threading.Thread(target=open_when_full)
    opener.start()
    done = dict(each_bounded(items, work, place=lambda item: item[0], concurrency=5, per_place=2))
    opener.join()

    assert done == {item: item * 2 for item in items}
    # Five at once, and no place with more than two: so the third place was not left out.
    assert (work.most.pop("all"), max(work.most.values())) == (5, 2)


def test_a_place_that_hangs_keeps_no_other_waiting() -> None:
    gate = threading.Event()

    def work(item: str) -> str:
        if item[0] == "a":
            gate.wait()
        return item

    finished = []
    for item, _ in each_bounded(
        ["a1", "a2", "a3", "b1", "b2", "b3"], work, place=lambda item: item[0], concurrency=3, per_place=2
    ):
        finished.append(item)
        if len(finished) == 3:
            gate.set()

    assert set(finished[:3]) == {"b1", "b2", "b3"}
    assert len(finished) == 6


def test_what_work_raises_is_raised_and_nothing_more_is_begun() -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 0:
            raise ValueError(item)
        time.sleep(0.001)  # so that a thread that nobody stops is at it for two seconds
        return item

    with pytest.raises(ValueError, match="0"):
        list(each_bounded(range(2000), work, place=str, concurrency=1, per_place=1))

    assert len(begun) < 2000
    assert all(not thread.name.startswith("squizzle fleet") for thread in threading.enumerate())


def test_nothing_to_do_is_done_at_once() -> None:
    assert list(each_bounded([], str, place=str, concurrency=4, per_place=4)) == []


def test_what_is_under_way_is_told_when_nobody_waits_any_more() -> None:
    ended = threading.Event()

    def work(item: str) -> str:
        if item == "b":
            assert ended.wait(60)
        return item

    results = each_bounded(["a", "b"], work, place=str, concurrency=2, per_place=1, on_end=ended.set)
    next(results)
    results.close()  # type: ignore[attr-defined]  # it is a generator

    assert ended.is_set()
