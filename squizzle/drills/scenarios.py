"""The table of disasters: what happens in each, what has to notice it, and what has to be looked at for a pass."""

from __future__ import annotations

from dataclasses import dataclass

from squizzle.drills.records import Detector, DrillScenario


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """One disaster.

    Attributes:
        name: Which.
        title: What happens, for a person.
        detector: What has to notice it.
        restores: Whether a backup has to bring everything back: then copy, result, owner and privileges are compared.
            Otherwise no row may be lost, and the database is compared with its state right before the disaster.
        checks: What else has to be looked at and be so, a sentence each.
        in_all: Whether `all` plays it: not where it shows a refusal, which no recovery can answer.
    """

    name: DrillScenario
    title: str
    detector: Detector
    restores: bool = True
    checks: tuple[str, ...] = ()
    in_all: bool = True


_TABLE = (
    Scenario(
        name=DrillScenario.DATA_LOSS,
        title="a migration drops the users table with CASCADE",
        detector=Detector.FINGERPRINTS,
    ),
    Scenario(
        name=DrillScenario.BROKEN_BACKUP,
        title="a migration drops the users table, and one byte of the backup is flipped",
        detector=Detector.FINGERPRINTS,
        in_all=False,
    ),
)
SCENARIOS = {one.name: one for one in _TABLE}
TITLES = {one.name: one.title for one in _TABLE} | {DrillScenario.ALL: "every disaster in turn"}


def scenarios_of(chosen: DrillScenario) -> tuple[Scenario, ...]:
    """What is played for a choice: one disaster, or in turn all that a recovery can answer."""
    if chosen is DrillScenario.ALL:
        return tuple(one for one in _TABLE if one.in_all)
    return (SCENARIOS[chosen],)
