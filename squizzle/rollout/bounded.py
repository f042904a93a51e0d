"""Many pieces of work at many places: so many at the same time in all, and so many at one place."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from queue import SimpleQueue
from typing import Generic, TypeVar

from squizzle.headway import Unit, stretch

Item = TypeVar("Item")
Result = TypeVar("Result")


def each_bounded(
    items: Iterable[Item],
    work: Callable[[Item], Result],
    *,
    place: Callable[[Item], str],
    concurrency: int,
    per_place: int,
    on_end: Callable[[], None] = lambda: None,
) -> Generator[tuple[Item, Result], None, None]:
    """Work on every item, in threads; results come as they are done.

    A place that is slow keeps no other one waiting: places take turns, and one that has `per_place` pieces under way
    is passed over. No more threads are started than can work at the same time. Whoever stops iterating stops what was
    not begun; what was is waited for.

    Args:
        items: What is to be worked on.
        work: Returns a result; what it raises is raised here, and nothing more is begun.
        place: Where an item's work is done.
        concurrency: So many at the same time in all; at least 1.
        per_place: So many at one place; at least 1.
        on_end: Called when nothing more is begun, before what is under way is waited for.

    Raises:
        Exception: Whatever `work` raised first.
    """
    turns = _Turns(items, place, per_place)
    done: SimpleQueue[tuple[Item, Result | None, BaseException | None]] = SimpleQueue()

    def run() -> None:
        while (item := turns.take()) is not None:
            try:
                done.put((item, work(item), None))
            except BaseException as exc:  # noqa: BLE001 - raised again in the thread that waits for it
                done.put((item, None, exc))
            finally:
                turns.give_back(item)

    size = min(concurrency, turns.count, turns.places * per_place)
    threads = [threading.Thread(target=run, name=f"squizzle fleet {number}") for number in range(size)]
    try:
        for thread in threads:
            thread.start()
        with stretch("going through the fleet", unit=Unit.PLACES, total=turns.count) as headway:
            for _ in range(turns.count):
                item, result, error = done.get()
                if error is not None:
                    raise error
                headway.add()
                yield item, result  # type: ignore[misc]  # there is a result where there is no error
    finally:
        turns.stop()
        on_end()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


class _Turns(Generic[Item]):
    """Who is next: places take turns, and none has more than its share."""

    def __init__(self, items: Iterable[Item], place: Callable[[Item], str], per_place: int) -> None:
        self._place = place
        self._per_place = per_place
        self._waiting: dict[str, deque[Item]] = {}
        self.count = 0
        for item in items:
            self._waiting.setdefault(place(item), deque()).append(item)
            self.count += 1
        self.places = len(self._waiting)
        self._free: deque[str] = deque(self._waiting)
        self._busy = dict.fromkeys(self._waiting, 0)
        self._changed = threading.Condition()
        self._stopped = False

    def take(self) -> Item | None:
        """The next item; None when there is none that is not begun. Waits while every place is busy."""
        with self._changed:
            while not self._stopped and self._waiting:
                if self._free:
                    return self._next_of(self._free.popleft())
                self._changed.wait()
            return None

    def _next_of(self, name: str) -> Item:
        item = self._waiting[name].popleft()
        self._busy[name] += 1
        if not self._waiting[name]:
            del self._waiting[name]
            self._changed.notify_all()
        elif self._busy[name] < self._per_place:
            self._free.append(name)
        return item

    def give_back(self, item: Item) -> None:
        """The item's work has ended, so its place has room again."""
        name = self._place(item)
        with self._changed:
            self._busy[name] -= 1
            # One below the share: nobody else has put it back since.
            if name in self._waiting and self._busy[name] == self._per_place - 1:
                self._free.append(name)
                self._changed.notify()

    def stop(self) -> None:
        """Nothing more is begun."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
