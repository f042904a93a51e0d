"""Chaos: what switches it on and what does not, and that a seed strikes at the same places again."""

from __future__ import annotations

from pathlib import Path

import pytest

from squizzle.chaos.monkey import Chaos
from squizzle.chaos.settings import ALL_KINDS, ChaosKind, ChaosSettings, named_block, parse_chaos
from squizzle.errors import ChaosError, InvalidInputError


@pytest.mark.parametrize(
    "text", ["1", "true", "on", "0.1", "seed=1", "rate=often", "rate=2", "rate=0.1 kind=raise", "block:"]
)
def test_what_could_stand_there_by_accident_is_refused(text: str) -> None:
    assert named_block(text) is None
    with pytest.raises(InvalidInputError, match="chaos"):
        parse_chaos(text, new_seed=lambda: 7)


def test_it_is_off_or_as_it_says() -> None:
    assert parse_chaos(" ", new_seed=lambda: 7) is None
    assert parse_chaos("rate=0", new_seed=lambda: 7) is None
    assert parse_chaos("rate=0.1", new_seed=lambda: 7) == ChaosSettings(seed=7, rate=0.1, kinds=ALL_KINDS)
    some = ChaosSettings(seed=4, rate=0.5, kinds=frozenset({ChaosKind.CUT, ChaosKind.RAISE}))
    assert parse_chaos(some.as_text(), new_seed=lambda: 7) == some
    assert named_block("block:weekly") == "weekly"


def played(seed: int, *, armed: bool = True) -> list[str]:
    told: list[str] = []
    chaos = Chaos(
        ChaosSettings(seed=seed, rate=0.3, kinds=frozenset({ChaosKind.RAISE, ChaosKind.DISK_FULL})), told.append
    )
    if armed:
        chaos._known.add(("host", 5432, "shop"))
    for number in range(40):
        for strike in (lambda: chaos.step("Apply"), lambda: chaos.write(Path("x"))):
            try:
                strike()
            except (ChaosError, OSError):
                told.append(f"{number}")
    return told


def test_a_seed_strikes_at_the_same_places_again_and_another_one_elsewhere() -> None:
    assert played(1) == played(1)
    assert played(1) != played(2)
    assert 8 < len(played(1)) / 2 < 40
    assert "seed=1" in played(1)[0]


def test_nothing_is_struck_before_a_database_has_said_that_it_is_not_production() -> None:
    assert played(1, armed=False) == []


def test_how_often_a_step_looked_says_nothing_of_what_is_struck_in_the_next_one(tmp_path: Path) -> None:
    def strikes(looks: int) -> list[bool]:
        chaos = Chaos(ChaosSettings(seed=3, rate=0.5, kinds=frozenset({ChaosKind.DISK_FULL})), lambda _text: None)
        chaos._known.add(("host", 5432, "shop"))
        found = []
        for step, times in (("Notice", looks), ("Restore", 20), ("Notice", 20)):
            chaos.step(step)
            for number in range(times):
                try:
                    chaos.write(tmp_path / str(number))
                except OSError:
                    found.append(True)
                else:
                    found.append(False)
        return found[looks:]

    assert strikes(2) == strikes(7)
    assert strikes(2)[:20] != strikes(2)[20:]
