"""The stage on which a disaster is played, and what has to be looked at whatever the disaster is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Protocol, TypeVar

import psycopg

from blocks import PostgresDatabase
from squizzle.drills.records import EXAMPLE_COMPANY, Detector, DrillBook, Notice
from squizzle.drills.scenarios import Scenario
from squizzle.drills.victims import LostIndex, Victim, find_index, find_victim
from squizzle.errors import IdentityMismatchError, MigrationFailedError, RecoveryError
from squizzle.health.lock_tree import lock_tree
from squizzle.health.queries import find_regressions, read_baseline, read_query_stats
from squizzle.health.reading import read_locks
from squizzle.migrations.history import read_history
from squizzle.migrations.operations import apply_versions
from squizzle.migrations.records import RowState
from squizzle.postgres.access import connect
from squizzle.postgres.identity import Target, check_identity, read_identity
from squizzle.postgres.translation import translate_error
from squizzle.proof.comparison import compare_digests
from squizzle.proof.digests import digest_database
from squizzle.proof.records import Comparison, DatabaseDigest
from squizzle.recovery.fence import session_through_fence
from squizzle.reports.locks import row_words, summary
from squizzle.settings.health import HealthLimits
from squizzle.sweep.own_rules import FAILED_RULE, own_results
from squizzle.sweep.slower_queries import slower_queries
from tasks.folders import read_folders
from tasks.scratch import MIGRATIONS, DrillPlace
from tasks.sources import DatabaseSource
from tasks.steps import now, step

R = TypeVar("R")

# What does not notice a disaster within so long does not notice it: detection looks every few minutes in earnest, and
# here as often as it can.
PATIENCE = timedelta(minutes=1)
_PAUSE_S = 0.02
# How often the application's question is asked for one measurement; the rule wants ten at least.
_QUESTIONS = 15
_FEW, _LONG_MS = 3, 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """The data that disasters are played with: a database in which nobody is, and of which each gets a copy.

    Attributes:
        database: Its name.
        source: Whose data it is, in words.
        migrations: Folders of the migrations that it has; none where only its backup is known.
        is_example: Whether it is the example company, whose application goes on writing.
    """

    database: str
    source: str = EXAMPLE_COMPANY
    migrations: tuple[Path, ...] = (MIGRATIONS,)
    is_example: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """Where one disaster is played, and what is written down of it.

    Attributes:
        scenario: The disaster.
        place: The server and the database that it strikes.
        book: What is found.
        scale: Size of the example's data, for those that make it on servers of their own.
        base: The data that the others are played with; None where all of a run make their own.
        seed: Draws whatever is random, so that the same can be played again.
    """

    scenario: Scenario
    place: DrillPlace
    book: DrillBook
    scale: float
    base: Base | None = None
    seed: int = 0

    @property
    def data(self) -> Base:
        """The data that it is played with."""
        if self.base is None:
            raise AssertionError(f"{self.scenario.name} is played with data that nobody made")
        return self.base

    @property
    def migrations(self) -> tuple[Path, ...]:
        """Folders of the migrations that the database has; none where only its backup is known."""
        return self.data.migrations


class Play(Protocol):
    """Plays one disaster on a stage: sets it, strikes, notices, recovers as in an emergency, and compares.

    Everything that it found is in the stage's book, also when it raises.
    """

    def __call__(self, stage: Stage, /) -> None:
        """Play it.

        Raises:
            SquizzleError: It broke off; the drill has failed.
        """


def watch_for(look: Callable[[], R | None], *, by: Detector, patience: timedelta | None = None) -> R:
    """Look again and again until something is noticed.

    Args:
        look: One look; None for nothing.
        by: What looks, for the message.
        patience: After so long it counts as not noticed; None for `PATIENCE`.

    Raises:
        RecoveryError: Nothing was noticed; the database is as the disaster left it.
    """
    ends = monotonic() + (PATIENCE if patience is None else patience).total_seconds()
    while (found := look()) is None:
        if monotonic() >= ends:
            raise not_noticed(by)
        sleep(_PAUSE_S)
    return found


def not_noticed(by: Detector) -> RecoveryError:
    """What a drill ends with where nothing notices the disaster."""
    return RecoveryError(
        f"the disaster was not noticed by {by.words}",
        hint="in an emergency nobody would have been told; find out why before anything else",
    )


@step("Choose what is broken", timeout=timedelta(minutes=5), detail=lambda found: found.name)
def choose_victim(database: PostgresDatabase) -> Victim:
    """The largest table with a column that can be damaged without the server noticing; nothing is changed."""
    with connect(database.access(), database.database, purpose="drill", read_only=True) as connection:
        return find_victim(connection, schema=database.schema_name)


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


@step("Notice who waits for whom", timeout=2 * PATIENCE, detail=lambda found: found.what)
def notice_locks(database: DatabaseSource, *, blocker: int, waiter: int) -> Notice:
    """Look at the tree of who waits for whom until a session stands behind another one; nothing is changed.

    Args:
        database: The locked one.
        blocker: Who has to be seen at the root, by the number of the server process.
        waiter: Who has to be seen behind it.

    Raises:
        RecoveryError: It was not seen.
    """

    def look() -> Notice | None:
        with connect(database.access(), database.database, purpose="locks", read_only=True) as connection:
            picture = read_locks(connection)
        tree = {row.session.pid: row for row in lock_tree(picture) if row.session}
        root, behind = tree.get(blocker), tree.get(waiter)
        if root is None or behind is None or not root.is_root or behind.is_root:
            return None
        return Notice(by=Detector.LOCKS, what=f"{summary(picture)}: {row_words(root, picture)}", at=now())

    return watch_for(look, by=Detector.LOCKS)


@step("Let the server count queries", timeout=timedelta(minutes=5))
def count_queries(database: DatabaseSource) -> None:
    """Make the extension that counts them, where it is not there yet.

    Raises:
        CouldNotVerifyError: This server does not count them; the hint has the commands.
        DatabaseError: The extension may not be made.
    """
    with connect(database.access(), database.database, purpose="queries") as connection:
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        except psycopg.Error as exc:
            raise translate_error(exc, doing="let the server count queries") from exc
        read_query_stats(connection)


@step("Choose the index that is lost", timeout=timedelta(minutes=5), detail=lambda found: found[0].index)
def choose_index(database: PostgresDatabase) -> tuple[LostIndex, list[object]]:
    """An index of the largest table that can be lost, and values that are looked up by it; nothing is changed."""
    with connect(database.access(), database.database, purpose="drill", read_only=True) as connection:
        return find_index(connection, schema=database.schema_name)


@step("Ask as the application asks", timeout=timedelta(minutes=10), detail=lambda found: f"{found:,.2f} ms")
def measure_queries(database: DatabaseSource, lost: LostIndex, values: list[object]) -> float:
    """Ask what the index is for, some times; returns the quickest in milliseconds, for a busy machine adds."""
    took: list[float] = []
    with connect(database.access(), database.database, purpose="application", read_only=True) as connection:
        # What takes long is told well by a few.
        while len(took) < _QUESTIONS and (len(took) < _FEW or sum(took) < _LONG_MS):
            began = monotonic()
            connection.execute(lost.query.encode(), (values,))
            took.append((monotonic() - began) * 1000)
    return min(took)


@step("Notice that queries became slower", timeout=20 * PATIENCE, detail=lambda found: found.what)
def notice_slower_queries(database: DatabaseSource, lost: LostIndex, values: list[object]) -> Notice:
    """Go on asking as the application does, until the sweep's rule about slower queries fires.

    Raises:
        RecoveryError: It did not.
    """
    with (
        connect(database.access(), database.database, purpose="application", read_only=True) as application,
        connect(database.access(), database.database, purpose="sweep", read_only=True) as sweep,
    ):

        def look() -> Notice | None:
            application.execute(lost.query.encode(), (values,))
            fired = next((one for one in slower_queries(sweep) if one.is_true), None)
            if fired is None:
                return None
            # The rule fires for whatever became slower; this drill is about the question that lost its index.
            slower = find_regressions(read_baseline(sweep), read_query_stats(sweep))
            if not any(one.query.startswith(lost.query_begins) for one in slower):
                return None
            return Notice(by=Detector.QUERIES, what=f"{fired.rule.name}: {fired.why}", at=now())

        # The rule wants ten questions, each of which reads a whole table now.
        return watch_for(look, by=Detector.QUERIES, patience=10 * PATIENCE)


@step("Notice that it is another database", timeout=timedelta(minutes=5), detail=lambda found: found.what)
def notice_by_identity(reached: PostgresDatabase, meant: PostgresDatabase) -> Notice:
    """Compare who a database says it is with who was meant, as every verb does that names an environment.

    Raises:
        RecoveryError: It is let through.
    """
    with connect(reached.access(), reached.database, purpose="status", read_only=True) as connection:
        try:
            check_identity(read_identity(connection), meant.target().expected, database=reached.database)
        except IdentityMismatchError as exc:
            return Notice(by=Detector.IDENTITY, what=exc.message, at=now())
    raise not_noticed(Detector.IDENTITY)


@step("Try the same again by its name", timeout=timedelta(minutes=30), detail=lambda found: found or "let through")
def refusal_of_identity(reached: PostgresDatabase, meant: PostgresDatabase, *folders: Path) -> str:
    """Apply a migration to a database that is another one than was meant; returns the refusal, empty for none."""
    target = Target(database=reached.database, schema=reached.schema_name, expected=meant.target().expected)
    with connect(reached.access(), reached.database, purpose="migration") as connection:
        try:
            apply_versions(connection, target, read_folders(*folders))
        except IdentityMismatchError as exc:
            return exc.message
    return ""


@step("Disaster: apply a migration that fails", timeout=timedelta(minutes=30), detail=str)
def play_failing_migration(database: PostgresDatabase, *folders: Path) -> str:
    """Apply a migration that cannot go through; returns how it failed.

    Raises:
        RecoveryError: It went through, so this is no disaster.
    """
    target = database.target()
    with connect(database.access(), target.database, purpose="migration") as connection:
        try:
            apply_versions(connection, target, read_folders(*folders))
        except MigrationFailedError as exc:
            return exc.message
    raise RecoveryError("the migration that was meant to fail went through", hint="this drill has to be mended")


@step("Notice that a migration failed", timeout=2 * PATIENCE, detail=lambda found: found.what)
def notice_failed_migration(database: PostgresDatabase) -> Notice:
    """Look at the history until the sweep's rule about failed migrations fires; nothing is changed.

    Raises:
        RecoveryError: It does not.
    """

    def look() -> Notice | None:
        with connect(database.access(), database.database, purpose="sweep", read_only=True) as connection:
            failed = read_history(connection, database.schema_name).in_state(RowState.FAILED)
        results = own_results({}, [row.version for row in failed], HealthLimits())
        fired = next((one for one in results if one.rule is FAILED_RULE and one.is_true), None)
        return Notice(by=Detector.HISTORY, what=f"{fired.rule.name}: {fired.why}", at=now()) if fired else None

    return watch_for(look, by=Detector.HISTORY)


def _harmed(found: Comparison) -> str:
    rows = sum(table.found_rows or 0 for table in found.tables)
    return found.row_sentences()[0] if found.different_tables else f"all {rows:,} rows are there"


@step("Compare every row with right before the disaster", timeout=timedelta(hours=12), detail=_harmed)
def compare_with_steady(database: DatabaseSource, steady: DatabaseDigest) -> Comparison:
    """Compare the database with its state right before the disaster; nothing is changed."""
    with session_through_fence(database.access(), database.database, purpose="verify") as connection:
        return compare_digests(steady, digest_database(connection))


@step("Note how it is when all is well", timeout=timedelta(hours=12), detail=lambda found: f"{found.rows:,} rows")
def note_steady(database: DatabaseSource) -> DatabaseDigest:
    """Fingerprint schema and rows; nothing is changed."""
    with connect(database.access(), database.database, purpose="digest", read_only=True) as connection:
        return digest_database(connection)


@step("See how large it is", timeout=timedelta(minutes=1), detail=lambda size: f"{size / 1_000_000:.1f} MB")
def database_size(database: DatabaseSource) -> int:
    """How many bytes the database has."""
    with connect(database.access(), database.database, purpose="drill", read_only=True) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    return int(row[0]) if row else 0
