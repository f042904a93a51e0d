"""One bit after the other is changed in something that lies on a disk, and whoever reads it has to notice."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from squizzle.errors import SquizzleError
from tests.support.tally import Kind, note_strike


class Noticed(Exception):  # noqa: N818 - it is what shall happen
    """What was changed has been noticed without an exception of the product."""


@dataclass(frozen=True)
class Artefact:
    """Something whose bits are changed.

    Attributes:
        name: What it is, for the page.
        files: Where it lies.
        read: Reads it as a recovery does, and gives what was read, without times; raises where it notices something.
        times: How many bits are changed, one after the other.
    """

    name: str
    files: tuple[Path, ...]
    read: Callable[[], object]
    times: int


def flip(path: Path, at: int, bit: int) -> None:
    """Change it as a disk does, which changes no time."""
    times = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        (old,) = file.read(1)
        file.seek(at)
        file.write(bytes([old ^ (1 << bit)]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def flip_everywhere(artefact: Artefact, chance: Random) -> list[str]:
    """Change one bit after the other, each put back before the next; says what nobody noticed."""
    whole = artefact.read()
    # Every file is met, however small: half of the bits are chosen by file, half by byte.
    sizes = [path.stat().st_size for path in artefact.files]
    told = []
    for number in range(artefact.times):
        weights = sizes if number % 2 else [min(size, 1) for size in sizes]
        (path,) = chance.choices(artefact.files, weights)
        at, bit = chance.randrange(path.stat().st_size), chance.randrange(8)
        flip(path, at, bit)
        violation = ""
        try:
            if artefact.read() != whole:
                violation = "read as if it were whole, and it is something else"
        except (SquizzleError, Noticed):
            """As it has to be."""
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is no answer for a person at night
            violation = f"not noticed, but stumbled over: {exc!r}"
        flip(path, at, bit)
        where = f"{path.name}, byte {at}, bit {bit}"
        note_strike(Kind.FLIP, artefact.name, path.suffix or path.name, cell=where, violation=violation)
        told += [f"{where}: {violation}"] if violation else []
    assert artefact.read() == whole
    return told
