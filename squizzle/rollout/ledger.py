"""Which rollout of a fleet is under way, kept in one database of it: its versions, and who is migrated when.

Only what cannot be told from the targets is here; what was applied where is in their histories.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from squizzle.errors import LockTimeoutError, RefusedError
from squizzle.later_keys import known_keys
from squizzle.migrations.session import lock_holder
from squizzle.postgres.access import Connection
from squizzle.postgres.own_scripts import OwnTables
from squizzle.postgres.own_tables import ensure_tables, find_tables
from squizzle.postgres.translation import translate_error
from squizzle.rollout.records import PlannedVersion
from squizzle.settings.fleet_labels import Labels, label_words

# The advisory lock "a rollout of this fleet works": "SQZF" in ASCII, and a hash of the fleet's name.
_LOCK = 0x53515A46
_TABLES = OwnTables(package="squizzle.rollout", script="rollout_table")
_NEEDS = "CREATE on the database; or where squizzle.rollout is there already, SELECT, INSERT and UPDATE on it"


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutRow:
    """One row of `squizzle.rollout` that has not ended.

    Attributes:
        id: What the histories of targets call it.
        fleet: The fleet's name.
        versions: What it brings, oldest first.
        stage_of: The stage of every target, both by name.
        started_at: By the server's clock.
        started_by: Who began it.
        failed_stage: The stage that is being taken back; empty when none is.
        failure: Why; empty when none is.
        takes_all: Whether the stages before it are taken back with it.
        only: Labels that its targets have; empty for all targets.
    """

    id: str
    fleet: str
    versions: tuple[PlannedVersion, ...]
    stage_of: Mapping[str, str]
    started_at: datetime
    started_by: str
    failed_stage: str = ""
    failure: str = ""
    takes_all: bool = False
    only: Labels = ()


def find_rollout(connection: Connection, fleet: str) -> RolloutRow | None:
    """The rollout of a fleet that has not ended; None when there is none. Nothing is changed.

    Raises:
        DatabaseError: No right to read it, or the session was lost.
    """
    try:
        found = find_tables(connection, _TABLES)
        if found is None:
            return None
        query = sql.SQL(
            "SELECT id, fleet, versions, stage_of, started_at, started_by, failed_stage, failure, takes_all, labels"
            " FROM {} WHERE fleet = %s AND ended_at IS NULL ORDER BY started_at DESC LIMIT 1"
        ).format(found.source("squizzle.rollout", "r"))
        row = connection.execute(query, (fleet,)).fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="look for a rollout that has begun", needs=_NEEDS) from exc
    if row is None:
        return None
    rollout_id, name, versions, stage_of, started_at, started_by, failed_stage, failure, takes_all, labels = row
    return RolloutRow(
        id=rollout_id,
        fleet=name,
        versions=tuple(PlannedVersion(**known_keys(one, PlannedVersion)) for one in versions),
        stage_of=stage_of,
        started_at=started_at,
        started_by=started_by,
        failed_stage=failed_stage,
        failure=failure,
        takes_all=takes_all,
        only=tuple(sorted(labels.items())),
    )


def begin_rollout(connection: Connection, row: RolloutRow) -> RolloutRow:
    """Write down that a rollout begins; one of the fleet that had not ended is over. The caller holds the fleet's lock.

    Args:
        connection: A session in the control database.
        row: The rollout; when it begins is what the server's clock says.

    Raises:
        DatabaseError: It cannot be written, so nothing may be done.
    """
    try:
        with connection.transaction():
            ensure_tables(connection, _TABLES)
            connection.execute(
                "UPDATE squizzle.rollout SET ended_at = clock_timestamp(), outcome = %s"
                " WHERE fleet = %s AND ended_at IS NULL",
                (f"replaced by {row.id}", row.fleet),
            )
            connection.execute(
                "INSERT INTO squizzle.rollout (id, fleet, versions, stage_of, labels, started_by)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                (
                    row.id,
                    row.fleet,
                    _documents(row.versions),
                    Jsonb(dict(row.stage_of)),
                    Jsonb(dict(row.only)),
                    row.started_by,
                ),
            )
        found = find_rollout(connection, row.fleet)
    except psycopg.Error as exc:
        raise translate_error(exc, doing="write down that a rollout begins", needs=_NEEDS) from exc
    if found is None:
        raise AssertionError("a row is gone that was just written")
    return found


def renew_rollout(connection: Connection, row: RolloutRow) -> None:
    """Write down the versions of a rollout that is under way anew. The caller holds the fleet's lock.

    Raises:
        DatabaseError: It cannot be written, so nothing may be done.
    """
    try:
        connection.execute(
            "UPDATE squizzle.rollout SET versions = %s WHERE id = %s", (_documents(row.versions), row.id)
        )
    except psycopg.Error as exc:
        raise translate_error(exc, doing="write down a rollout's scripts", needs=_NEEDS) from exc


def _documents(versions: Iterable[PlannedVersion]) -> Jsonb:
    return Jsonb([{"version": one.version, "checksum": one.checksum, "batched": one.batched} for one in versions])


def note_taking_back(connection: Connection, rollout_id: str, *, stage: str, why: str, takes_all: bool = False) -> None:
    """Write down that a stage is being taken back, so that a run that is killed meanwhile is gone on with there.

    Args:
        connection: A session in the database where the rollout is written down.
        rollout_id: Which.
        stage: The stage that failed; empty when it has been taken back as far as it can be.
        why: What failed.
        takes_all: Whether the stages before it are taken back with it.

    Raises:
        DatabaseError: It cannot be written.
    """
    ensure_tables(connection, _TABLES)
    try:
        connection.execute(
            "UPDATE squizzle.rollout SET failed_stage = %s, failure = %s, takes_all = %s WHERE id = %s",
            (stage, why, takes_all, rollout_id),
        )
    except psycopg.Error as exc:
        raise translate_error(exc, doing="write down that a stage is taken back", needs=_NEEDS) from exc


def end_rollout(connection: Connection, rollout_id: str, outcome: str) -> None:
    """Write down how a rollout ended; the next run of the same begins a new one.

    Raises:
        DatabaseError: It cannot be written.
    """
    try:
        connection.execute(
            "UPDATE squizzle.rollout SET ended_at = clock_timestamp(), outcome = %s WHERE id = %s AND ended_at IS NULL",
            (outcome, rollout_id),
        )
    except psycopg.Error as exc:
        raise translate_error(exc, doing="write down how a rollout ended", needs=_NEEDS) from exc


class FleetLock:
    """Nobody else rolls out to this fleet while it is held; it goes with its session, so also with its process."""

    def __init__(self, opens: Callable[[], Connection], fleet: str) -> None:
        self._opens = opens
        self._fleet = fleet
        self._connection: Connection | None = None

    def hold(self) -> None:
        """Take it, or take it again when its session was lost (a person may have taken hours to decide).

        Raises:
            LockTimeoutError: Somebody else has it.
            ConnectionFailedError: The database cannot be reached.
        """
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.execute("SELECT 1")
                return
            self._connection.close()
        self._connection = self._opens()
        try:
            taken, number = self._connection.execute(
                "SELECT pg_try_advisory_lock(%(lock)s, number), number FROM hashtext(%(fleet)s) number",
                {"lock": _LOCK, "fleet": self._fleet},
            ).fetchone() or (False, 0)
            holder = None if taken else lock_holder(self._connection, (_LOCK, number))
        except psycopg.Error as exc:
            raise translate_error(exc, doing="take the lock of the fleet") from exc
        if not taken:
            self.let_go()
            raise LockTimeoutError(
                f"somebody else rolls out to {self._fleet} now: {holder or 'that run ended a moment ago'}",
                hint="wait until that run ends, or cancel it (where its machine is gone: end that session by"
                " `SELECT pg_terminate_backend(PID)`); then run the same again",
            )

    def let_go(self) -> None:
        """Close the session, which lets go of the lock."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@contextmanager
def fleet_lock(opens: Callable[[], Connection], fleet: str) -> Iterator[FleetLock]:
    """Hold the lock of a fleet for the length of the block; see `FleetLock.hold`."""
    lock = FleetLock(opens, fleet)
    try:
        lock.hold()
        yield lock
    finally:
        lock.let_go()


def refuse_other_labels(row: RolloutRow, only: Labels) -> None:
    """Refuse to go on with a rollout with other targets than it began with.

    Raises:
        RefusedError: It was begun with other labels, or with none. Nothing was changed.
    """
    if row.only == only:
        return
    options = " ".join(f"--label {name}={value}" for name, value in row.only)
    has, now = (f"targets with {label_words(one)}" if one else "all targets" for one in (row.only, only))
    raise RefusedError(
        f"the rollout {row.id} that is under way is of {has}, this one would be of {now}",
        hint=f"bring it to its end, or take it back (go back), with {options or 'no label'}; then begin the other one",
    )


def with_scripts(row: RolloutRow, on_disk: Mapping[str, PlannedVersion], had: Collection[str]) -> RolloutRow:
    """The rollout with its scripts as they are now: one that nobody has yet may be mended before it is gone on with.

    Args:
        row: The rollout that has not ended.
        on_disk: What is on disk, by version.
        had: The versions that some target has, or may have.

    Raises:
        RefusedError: A script that some target has is another one now, or one is gone.
    """
    changed = [one.version for one in row.versions if on_disk.get(one.version) != one]
    wrong = [version for version in changed if version in had or version not in on_disk]
    if wrong:
        raise RefusedError(
            f"the rollout {row.id} brought other scripts to some targets: {', '.join(wrong)}",
            hint="restore the files as they were and go on, or take the rollout back (go back), then begin anew",
        )
    return replace(row, versions=tuple(on_disk[one.version] for one in row.versions))
