"""What travels between finding out what there is to recover with, and deciding what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from squizzle.backups.proofs import Proof
from squizzle.backups.records import Backup


class Way(StrEnum):
    """A way back, in the order in which they are considered where they cost and lose the same."""

    ROLL_BACK = "roll_back"
    UNDO = "undo"
    SWAP = "swap"
    RESTORE_BESIDE = "restore_beside"
    POINT_IN_TIME = "point_in_time"
    CLOUD = "cloud"

    @property
    def words(self) -> str:
        """What a person calls it: `restore beside`."""
        return self.value.replace("_", " ")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptMeans:
    """What is known about rolling one version back.

    Attributes:
        version: The version.
        has_down: Whether it has a down script on disk.
        took: How long its last rollback took, else how long it took to apply; None when neither is recorded.
        rolled_back_at: When it was last rolled back here for real; None never.
    """

    version: str
    has_down: bool
    took: timedelta | None = None
    rolled_back_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class UndoMeans:
    """What the change log can take back.

    Attributes:
        since: From when on it has every change of the tables it covers.
        tables: Schema and name of those tables, by their names as they are quoted.
    """

    since: datetime
    tables: Mapping[str, tuple[str, str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class CopyMeans:
    """A copy of the database on the same server, made before the disaster.

    Attributes:
        name: Of the database.
        made_at: When it was copied.
    """

    name: str
    made_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupMeans:
    """One backup of the database.

    Attributes:
        backup: Its manifest; None when that is damaged.
        id: Its id.
        restored: The last time that it was restored and compared.
        verified: The last time that its files were read.
        problems: What makes it unusable.
    """

    id: str
    backup: Backup | None
    restored: Proof | None = None
    verified: Proof | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class PointMeans:
    """A point in time that can be recovered to on another cluster, or why it cannot.

    Attributes:
        backup_id: The copy of the cluster to begin with; empty for none.
        target: The point, right before the disaster.
        problem: Why it cannot be reached; empty when it can.
        took: How long such a recovery took when it was last done; None when never.
        proven_at: When that was.
    """

    backup_id: str
    target: datetime
    problem: str = ""
    took: timedelta | None = None
    proven_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CloudMeans:
    """A snapshot or a point in time that the provider keeps.

    Attributes:
        name: The snapshot, or the instance with the time.
        at: The state of the data that it brings back.
        problem: Why it cannot be used; empty when it can.
        took: How long such a restore took when it was last done; None when never.
        backup_id: The manifest of the snapshot; empty for a moment.
        resource_id: Of a moment: the instance, by the id that stays.
    """

    name: str
    at: datetime
    problem: str = ""
    took: timedelta | None = None
    backup_id: str = ""
    resource_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class DrilledWay:
    """What a way back took in a drill, from noticing to letting clients in again.

    Attributes:
        way: Which.
        took: How long.
        rows: How many rows the database had; None where they were not counted.
    """

    way: Way
    took: timedelta
    rows: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """Everything there is to recover with, and what drills took, which is known where nothing else is."""

    scripts: tuple[ScriptMeans, ...] = ()
    undo: UndoMeans | None = None
    copies: tuple[CopyMeans, ...] = ()
    backups: tuple[BackupMeans, ...] = ()
    point: PointMeans | None = None
    cloud: tuple[CloudMeans, ...] = ()
    drilled: tuple[DrilledWay, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class WayBack:
    """One way back, what it would take, and what it would lose.

    Attributes:
        way: Which.
        name: What it uses: versions, a copy, a backup, a point.
        possible: Whether it can be taken.
        why: Why it can, or why not; a sentence.
        rto: How long until clients are let in again, by what was measured; None when nothing was.
        rpo: What was written for that long is lost; zero when nothing is.
        proven_at: When it was last carried out for real; None never.
        measured_by: What `rto` rests on; empty for nothing.
    """

    way: Way
    name: str
    possible: bool
    why: str
    rto: timedelta | None = None
    rpo: timedelta = timedelta()
    proven_at: datetime | None = None
    measured_by: str = ""

    @property
    def loses_data(self) -> bool:
        """Whether anything that was written is lost."""
        return self.rpo > timedelta()


@dataclass(frozen=True, kw_only=True, slots=True)
class RecoveryPolicy:
    """What may be done without asking, and what may not be done at all.

    Attributes:
        max_rto: A way that is known to take longer is not taken; None for any.
        max_rpo: A way that loses more is not taken; None for any.
        may_lose_data: Whether a way that loses data may be taken without a person's yes.
        ways: Only these; all of them by default.
        only: Only what has one of these names (`WayBack.name`); empty for anything.
        ruled_out: Ways that are not taken, and why.
    """

    max_rto: timedelta | None = None
    max_rpo: timedelta | None = None
    may_lose_data: bool = False
    ways: frozenset[Way] = frozenset(Way)
    only: frozenset[str] = frozenset()
    ruled_out: Mapping[Way, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class RecoveryPlan:
    """The ways back in the order in which they should be tried.

    Attributes:
        ways: The best first; those that are impossible, or against policy, at the end with the reason.
        chosen: The one to take now; None when there is nothing to do, or no way is left.
        is_needed: Whether there is anything to recover.
        approval: What a person must agree to before `chosen` is taken; empty when nobody need be asked.
        tried: What failed so far and why, by way and name.
    """

    ways: tuple[WayBack, ...]
    chosen: WayBack | None
    is_needed: bool
    approval: str = ""
    tried: Mapping[tuple[Way, str], str] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """Why this and no other, in a sentence."""
        if not self.is_needed:
            return "nothing that the backup has is missing"
        if self.chosen is None:
            return "no way back is left: " + "; ".join(f"{one.way.words}: {one.why}" for one in self.ways)
        return self.chosen.why
