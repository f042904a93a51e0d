"""Somebody who is told how far long work is, and keeps what there was at the end of each piece."""

from __future__ import annotations

from squizzle.headway import Headway, Stretch


class Heard:
    """A watcher of `squizzle.headway.told_to`."""

    def __init__(self) -> None:
        self.begins = 0
        self.ends: list[Headway] = []

    def begun(self, stretch: Stretch) -> None:
        assert stretch.headway().done == 0
        self.begins += 1

    def ended(self, stretch: Stretch) -> None:
        self.ends.append(stretch.headway())

    def last(self, doing: str) -> Headway:
        """How it ended, by how its line begins."""
        return [one for one in self.ends if one.doing.startswith(doing)][-1]
