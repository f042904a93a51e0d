"""The table of disasters: what happens in each, what has to notice it, and what has to be looked at for a pass."""

from __future__ import annotations

from dataclasses import dataclass

from squizzle.drills.records import Detector, DrillScenario

UP_TO_THE_MOMENT = "the database has what was written before the moment, and nothing from behind it"
EVERY_DATABASE = "every database of the lost server is there, row by row as it was saved"
NEXT_BACKUP = "the next backup of the new server is whole"
BY_THE_LOG = "by a copy of the cluster and its archived log it comes back as it was when the last of it was archived"
NO_COPY_ARCHIVES = "the copy that was recovered wrote nothing into the archive: no timeline came that was not there"
UNTOUCHED = "nothing was touched but what the drill made itself"
"""Looked at in every drill."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """One disaster.

    Attributes:
        name: Which.
        title: What happens, for a person.
        detector: What has to notice it.
        restores: Whether a backup has to bring everything back: then copy, result, owner and privileges are compared.
            Otherwise no row may be lost, and the database is compared with its state right before the disaster.
        elsewhere: Whether everything comes back on another server: then it is compared with the backups, and nothing is
            assessed, for there is nothing left to look at.
        checks: What else has to be looked at and be so, a sentence each.
        shares: Whether it is played with the data that all of a run share, and not on servers of its own.
        in_all: Whether `all` plays it: not where it shows a refusal, which no recovery can answer.
    """

    name: DrillScenario
    title: str
    detector: Detector
    restores: bool = True
    elsewhere: bool = False
    checks: tuple[str, ...] = ()
    shares: bool = True
    in_all: bool = True


# What the modules that play them look at.
WENT_THROUGH = "the migration that hung went through"
NOBODY_WAITS = "nobody waits any more"
ONLY_THE_BLOCKER = "the forgotten transaction was ended, and nobody else"
ANSWERED_AGAIN = "clients are answered again"
INDEX_IS_BACK = "every index and every other definition is as it was"
QUICK_AGAIN = "queries are quick again"
SCHEMA_AS_BEFORE = "the schema of the wrong database is as it was before"
IN_THE_RIGHT_ONE = "the migration is applied where it belongs"
REFUSED_BY_NAME = "the same is refused where somebody says which database is meant"
SCRIPT_FAILED = "the down script failed and was given up"
BROKEN_ONE_GIVEN_UP = "the broken backup was found out and given up"
OLDER_ONE_USED = "the backup before it was used"
KEPT_OUT = "clients were kept out while it was recovered"
BACK_BY_THEMSELVES = "clients come back by themselves"

_TABLE = (
    Scenario(
        name=DrillScenario.CORRUPTED_MIGRATION,
        title="a migration spoils every row of a table, and none is missing",
        detector=Detector.FINGERPRINTS,
    ),
    Scenario(
        name=DrillScenario.LOCKED_DATABASE,
        title="a migration hangs behind a forgotten transaction, and everybody behind it",
        detector=Detector.LOCKS,
        restores=False,
        checks=(ONLY_THE_BLOCKER, WENT_THROUGH, NOBODY_WAITS, ANSWERED_AGAIN),
    ),
    Scenario(
        name=DrillScenario.PERFORMANCE_DEGRADATION,
        title="a migration loses the index that the application asks by",
        detector=Detector.QUERIES,
        restores=False,
        checks=(QUICK_AGAIN, INDEX_IS_BACK),
    ),
    Scenario(
        name=DrillScenario.WRONG_ENVIRONMENT,
        title="a migration lands on another database than was meant",
        detector=Detector.IDENTITY,
        restores=False,
        checks=(SCHEMA_AS_BEFORE, IN_THE_RIGHT_ONE, REFUSED_BY_NAME),
    ),
    Scenario(
        name=DrillScenario.CASCADING_FAILURE,
        title="a migration fails, its way back fails, the newest backup is broken, and clients keep coming back",
        detector=Detector.HISTORY,
        checks=(SCRIPT_FAILED, BROKEN_ONE_GIVEN_UP, OLDER_ONE_USED, KEPT_OUT, BACK_BY_THEMSELVES),
    ),
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
    Scenario(
        name=DrillScenario.POINT_IN_TIME,
        title="a database has to be again as it was at a random moment",
        detector=Detector.FINGERPRINTS,
        restores=False,
        shares=False,
        checks=(UP_TO_THE_MOMENT, NO_COPY_ARCHIVES),
    ),
    Scenario(
        name=DrillScenario.REGION_LOSS,
        title="a server is gone with its data, and only its store is left",
        detector=Detector.CONNECTION,
        restores=False,
        elsewhere=True,
        shares=False,
        checks=(EVERY_DATABASE, NEXT_BACKUP, BY_THE_LOG),
    ),
)
SCENARIOS = {one.name: one for one in _TABLE}
TITLES = {one.name: one.title for one in _TABLE} | {DrillScenario.ALL: "every disaster in turn"}


def scenarios_of(chosen: DrillScenario) -> tuple[Scenario, ...]:
    """What is played for a choice: one disaster, or in turn all that a recovery can answer."""
    if chosen is DrillScenario.ALL:
        return tuple(one for one in _TABLE if one.in_all)
    return (SCENARIOS[chosen],)
