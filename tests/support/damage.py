"""What disks, networks and hands do to a file of a backup; undone afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Damage(Protocol):
    """One way to lose a file's content."""

    def apply(self, content: bytes) -> bytes | None:
        """What is left; None for no file."""


@dataclass(frozen=True)
class Flipped:
    """One byte is another one."""

    offset: int
    mask: int

    def apply(self, content: bytes) -> bytes:
        return content[: self.offset] + bytes([content[self.offset] ^ self.mask]) + content[self.offset + 1 :]


@dataclass(frozen=True)
class Cut:
    """Only the beginning is there."""

    length: int

    def apply(self, content: bytes) -> bytes:
        return content[: self.length]


@dataclass(frozen=True)
class Removed:
    """The file is gone."""

    def apply(self, content: bytes) -> None:
        """Nothing is left."""


WAYS = ("flip", "flip", "flip", "cut", "remove")
"""To choose from; most of them flips."""


def damage_of(way: str, size: int, *, place: float, mask: int) -> Damage:
    """A damage of a file of so many bytes.

    Args:
        way: One of `WAYS`.
        size: The file's, in bytes.
        place: Where in it, from 0 to below 1.
        mask: Which bits of a byte change, 1 to 255.
    """
    if way == "remove" or not size:
        return Removed()
    at = int(place * size)
    return Cut(at) if way == "cut" else Flipped(at, mask)


@contextmanager
def damaged(path: Path, damage: Damage, aside: Path) -> Iterator[None]:
    """The file as the damage leaves it, for the length of the block.

    Args:
        path: The file.
        damage: What happens to it.
        aside: A folder on the same disk where the intact file waits.
    """
    intact = path.rename(aside / path.name)
    try:
        left = damage.apply(intact.read_bytes())
        if left is not None:
            path.write_bytes(left)
        yield
    finally:
        path.unlink(missing_ok=True)
        intact.rename(path)
