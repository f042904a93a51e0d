"""What was done to the product on purpose, put down where `make chaos` counts it.

One JSON line for each strike, in a file that the environment names, so every process can write; without that name nothing
is put down.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from random import Random

FILE = "SQUIZZLE_TALLY"
SEED = "SQUIZZLE_CHAOS_TEST_SEED"


class Kind(StrEnum):
    """What was done."""

    KILL = "kill"
    FLIP = "byte flip"
    FULL_DISK = "full disk"
    NETWORK = "network fault"
    LOG = "damaged log"
    DICE = "chaos"
    HISTORY = "random history"


@dataclass(frozen=True, kw_only=True)
class Strike:
    """One of them.

    Attributes:
        kind: What was done.
        procedure: What was going on, or what was damaged: a flow, a procedure, an artefact.
        whom: Who was struck: a process, a server, a file.
        cell: Where in the procedure.
        violation: What was broken afterwards that must never be; empty when nothing was.
        test: The test that did it.
    """

    kind: Kind
    procedure: str
    whom: str
    cell: str = ""
    violation: str = ""
    test: str = ""


def note_strike(kind: Kind, procedure: str, whom: str, *, cell: object = "", violation: str = "") -> None:
    """Put one strike down.

    Args:
        kind: What was done.
        procedure: What was going on.
        whom: Who was struck.
        cell: Where in the procedure; two strikes with one cell are the same one twice.
        violation: What must never be, and was.
    """
    if not (place := os.environ.get(FILE)):
        return
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    strike = Strike(kind=kind, procedure=procedure, whom=whom, cell=str(cell), violation=violation, test=test)
    # One write for a whole line: several processes append to the file.
    with open(place, "ab", buffering=0) as file:  # noqa: PTH123 - as it is
        file.write(json.dumps(asdict(strike)).encode() + b"\n")


def read_tally(path: Path) -> tuple[Strike, ...]:
    """Every strike that was put down, in order."""
    if not path.exists():
        return ()
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(_strike(json.loads(line)) for line in lines)


def _strike(found: Mapping[str, str]) -> Strike:
    return Strike(**{**found, "kind": Kind(found["kind"])})  # type: ignore[arg-type]


def chosen_seed() -> int:
    """The seed that the environment names; otherwise any, which the run has to print."""
    return int(os.environ.get(SEED) or secrets.randbelow(1 << 31))


def dice(*what: object) -> Random:
    """Chance for one piece of work, the same with the same seed however the work is spread over processes."""
    return Random(f"{chosen_seed()} {' '.join(map(str, what))}")  # noqa: S311 - to be played again, not to be secret
