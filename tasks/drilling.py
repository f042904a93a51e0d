"""The stage on which a disaster is played, and what has to be looked at whatever the disaster is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic, sleep
from typing import Protocol, TypeVar

from squizzle.drills.records import Detector, DrillBook, Notice
from squizzle.drills.scenarios import Scenario
from squizzle.errors import RecoveryError
from squizzle.postgres.access import connect
from squizzle.proof.digests import compare_digests, digest_database
from squizzle.proof.records import Comparison, DatabaseDigest
from squizzle.recovery.fence import session_through_fence
from tasks.scratch import DrillPlace
from tasks.sources import DatabaseSource
from tasks.steps import now, step

R = TypeVar("R")

# What does not notice a disaster within so long does not notice it: detection looks every few minutes in earnest, and
# here as often as it can.
PATIENCE = timedelta(minutes=1)
_PAUSE_S = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """Where one disaster is played, and what is written down of it.

    Attributes:
        scenario: The disaster.
        place: The server and the database that it strikes.
        book: What is found.
        scale: Size of the example's data.
    """

    scenario: Scenario
    place: DrillPlace
    book: DrillBook
    scale: float


class Play(Protocol):
    """Plays one disaster on a stage: sets it, strikes, notices, recovers as in an emergency, and compares.

    Everything that it found is in the stage's book, also when it raises.
    """

    def __call__(self, stage: Stage, /) -> None:
        """Play it.

        Raises:
            SquizzleError: It broke off; the drill has failed.
        """


def watch_for(look: Callable[[], R | None], *, by: Detector, patience: timedelta = PATIENCE) -> R:
    """Look again and again until something is noticed.

    Args:
        look: One look; None for nothing.
        by: What looks, for the message.
        patience: After so long it counts as not noticed.

    Raises:
        RecoveryError: Nothing was noticed; the database is as the disaster left it.
    """
    ends = monotonic() + patience.total_seconds()
    while (found := look()) is None:
        if monotonic() >= ends:
            raise RecoveryError(
                f"the disaster was not noticed by {by.words}",
                hint="in an emergency nobody would have been told; find out why before anything else",
            )
        sleep(_PAUSE_S)
    return found


@step("Notice it by fingerprints", timeout=timedelta(hours=12), detail=lambda found: found.what)
def notice_by_fingerprints(database: DatabaseSource, steady: DatabaseDigest) -> Notice:
    """Compare schema and rows of the live database with how they were when all was well; nothing is changed.

    Raises:
        RecoveryError: No difference was seen.
    """

    def look() -> Notice | None:
        with connect(database.access(), database.database, purpose="digest", read_only=True) as connection:
            differences = compare_digests(steady, digest_database(connection)).sentences()
        if not differences:
            return None
        more = f", and {len(differences) - 1} more" if len(differences) > 1 else ""
        return Notice(by=Detector.FINGERPRINTS, what=f"{differences[0]}{more}", at=now())

    return watch_for(look, by=Detector.FINGERPRINTS, patience=timedelta())


def _harmed(found: Comparison) -> str:
    rows = sum(table.found_rows or 0 for table in found.tables)
    return found.row_sentences()[0] if found.different_tables else f"all {rows:,} rows are there"


@step("Compare every row with right before the disaster", timeout=timedelta(hours=12), detail=_harmed)
def compare_with_steady(database: DatabaseSource, steady: DatabaseDigest) -> Comparison:
    """Compare the database with its state right before the disaster; nothing is changed."""
    with session_through_fence(database.access(), database.database, purpose="verify") as connection:
        return compare_digests(steady, digest_database(connection))


@step("See how large it is", timeout=timedelta(minutes=1), detail=lambda size: f"{size / 1_000_000:.1f} MB")
def database_size(database: DatabaseSource) -> int:
    """How many bytes the database has."""
    with connect(database.access(), database.database, purpose="drill", read_only=True) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    return int(row[0]) if row else 0
