"""Whether the targets of a fleet are together, and what it takes until they are."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from squizzle.backups.records import Backup
from squizzle.rollout.reconciling import FleetState, Reconciliation
from squizzle.rollout.records import FleetTarget
from squizzle.rollout.standing import Standing, Stands
from tests.support.certificates import certificate_of

ALL, NONE, NOT_SEEN = Stands.ALL, Stands.NONE, Stands.NOT_SEEN


def fleet(*words: Stands) -> Reconciliation:
    def standing(number: int, word: Stands) -> Standing:
        target = FleetTarget(name=f"{number}", server="s", database=f"d{number}")
        has = word is ALL
        return Standing(
            target=target,
            stands=word,
            lacking=() if has else ("1",),
            brought=("1",) if has else (),
            forth=timedelta(seconds=2) if has else None,
        )

    standings = tuple(standing(number, word) for number, word in enumerate(words))
    return Reconciliation(fleet="f", row=None, versions=("1",), standings=standings, servers={}, concurrency=2)


@pytest.mark.parametrize(
    ("words", "state"),
    [
        ((ALL, ALL), FleetState.WHOLE),
        ((NONE, NONE), FleetState.WHOLE),
        ((ALL, NONE), FleetState.HALF_MIGRATED),
        ((ALL, Stands.HALF_DONE), FleetState.HALF_MIGRATED),
        ((ALL, NOT_SEEN), FleetState.NOT_ALL_SEEN),
        ((ALL, NONE, NOT_SEEN), FleetState.HALF_MIGRATED),
    ],
)
def test_a_fleet_is_whole_when_all_have_the_same_and_everybody_was_seen(
    words: tuple[Stands, ...], state: FleetState
) -> None:
    assert fleet(*words).state is state


def test_times_are_those_of_targets_that_have_been_there_else_of_the_rehearsal(backup: Backup) -> None:
    found = fleet(ALL, NONE, NONE, NONE)
    # Three that take two seconds each, two at the same time.
    assert (found.on.targets, found.on.takes) == (3, timedelta(seconds=4))
    assert (found.back.targets, found.back.takes) == (1, None)

    lossy = replace(certificate_of(backup), id="c1")
    recovered = replace(found, certificates={"1": lossy}).backward(found.standings[0])
    assert recovered is not None
    assert recovered.takes == timedelta(seconds=41)
    assert recovered.measured_by == "restore beside in certificate c1"
    assert recovered.command == "squizzle recover --url URL-OF-d0"
    tried = replace(found.standings[0], back=timedelta(seconds=3))
    assert replace(found, standings=(tried,)).back.takes == timedelta(seconds=3)
