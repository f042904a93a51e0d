"""What travels about rollouts: targets, stages, plans. No secret is ever in here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from squizzle.settings.fleet_labels import Labels, label_words
from squizzle.settings.fleets import FleetServer


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetTarget:
    """One database of a fleet, or one schema of one. There may be ten thousand, so it holds nothing but words.

    Attributes:
        name: What people call it; unique in its fleet, and what its place in a rollout is computed from.
        server: The name of its server in the fleet.
        database: The database's exact name.
        schema: The schema that migrations work in and that holds the history.
        tier: How much depends on it; lower ones go first.
        size: How big it is, in any one unit that is used for the whole fleet; None when that is not known.
        pinned: Whether it goes before all others.
        labels: Name and value of each, ordered by name.
    """

    name: str
    server: str
    database: str
    schema: str = "public"
    tier: int = 0
    size: int | None = None
    pinned: bool = False
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ExcludedTarget:
    """A target that takes no part, and why.

    Attributes:
        target: Which.
        reason: In a person's words.
    """

    target: FleetTarget
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class UnreachableServer:
    """A server that could not be asked which targets it has, so some may be missing.

    Attributes:
        server: Its name in the fleet.
        why: What came instead of an answer; never a password.
    """

    server: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Fleet:
    """The targets of a fleet, as found at one moment.

    Attributes:
        name: The section's.
        environment: Which every target should belong to; None when that is not said.
        servers: How each is reached, by name; references to secrets, never secrets.
        targets: Those that take part, ordered by name.
        excluded: Those that do not.
        unreachable: Servers that could not be asked.
        only: Labels that were asked for; empty for all targets.
        not_chosen: Targets that have others, ordered by name.
        remarks: What a person should know: an exclusion or a pin that fits nothing any more.
    """

    name: str
    environment: str | None
    servers: Mapping[str, FleetServer]
    targets: tuple[FleetTarget, ...]
    excluded: tuple[ExcludedTarget, ...] = ()
    unreachable: tuple[UnreachableServer, ...] = ()
    only: Labels = ()
    not_chosen: tuple[FleetTarget, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def left_out(self) -> tuple[ExcludedTarget, ...]:
        """Everybody who takes no part, those of other labels last."""
        why = f"has not {label_words(self.only)}"
        return (*self.excluded, *(ExcludedTarget(target=one, reason=why) for one in self.not_chosen))


class TargetState(StrEnum):
    """What a look at a target found.

    `ready`: it answered and is who it should be. `unreachable`: no answer, or not let in. `other environment`: it is
    another database than was meant. `unusable`: it answered, but nothing could be migrated there (a standby, no such
    schema, a history that may not be read).
    """

    READY = "ready"
    UNREACHABLE = "unreachable"
    OTHER_ENVIRONMENT = "other environment"
    UNUSABLE = "unusable"


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetReport:
    """What a look at one target found.

    Attributes:
        target: Which.
        state: In a word.
        version: The highest applied version; None on an empty one, or when that is not known.
        pending: Versions that are on disk and not there, oldest first; all targets with the same share one tuple.
        failed: Versions whose last run failed or has not ended.
        partly: Pending versions of which a share of the rows is done, as was meant, or more than that share.
        place: The same for two targets that are one and the same database and schema; empty when it is not known.
        detail: What is wrong, in a sentence; empty when nothing is.
    """

    target: FleetTarget
    state: TargetState
    version: str | None = None
    pending: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    partly: tuple[PartlyApplied, ...] = ()
    place: str = ""
    detail: str = ""

    def lacks(self, versions: Iterable[str], share: RowShare | None = None) -> bool:
        """Whether one of some versions is not wholly there, or of another one not so much of its rows."""
        if set(versions) & set(self.pending):
            return True
        if share is None or share.version not in self.pending:
            return False
        return all(one.version != share.version or one.pct < share.until_pct for one in self.partly)


@dataclass(frozen=True, kw_only=True, slots=True)
class PartlyApplied:
    """A version of which a share of the rows is done at a target, as was meant.

    Attributes:
        version: Which.
        pct: So much of its rows.
        detail: How many of how many, in a clause.
    """

    version: str
    pct: int
    detail: str


class Weekday(StrEnum):
    """As in a stages file."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


WEEK = tuple(Weekday)


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """When a stage may work, by the clock on a wall in its time zone.

    Attributes:
        days: On which it begins; one that goes over midnight belongs to the day on which it begins.
        begin: From when, included.
        end: Until when, not included; at or before `begin` it is a time of the next day.
        zone: Whose clock.
    """

    days: tuple[Weekday, ...] = WEEK
    begin: time = time()
    end: time = time()
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One stage of a stages file.

    Attributes:
        name: Unique in the file.
        percentage: So much of the fleet has been migrated when the stage ends, those of the stages before included.
        duration: How long its targets are watched afterwards.
        rollback_on_error: Whether a failure takes the stage back; without it a failure only stops.
        approval_required: Whether a person must say yes before it begins.
        max_failures: So many targets may fail before the stage counts as failed.
        concurrency: So many targets at the same time; None for what the fleet says.
        per_server: So many of them on one server; None for what the fleet says.
        windows: When it may work; empty for always.
        wait_for: How long it may wait for a window, or for a freeze to end; None for as long as it takes.
    """

    name: str
    percentage: int
    duration: timedelta = timedelta()
    rollback_on_error: bool = False
    approval_required: bool = False
    max_failures: int = 0
    concurrency: int | None = None
    per_server: int | None = None
    windows: tuple[Window, ...] = ()
    wait_for: timedelta | None = None


class RolloutKind(StrEnum):
    """How stages divide the work.

    `targets`: a stage is some of the fleet's targets. `rows`: there is one target only; the rehearsal is its canary,
    and a stage is a share of the rows that a batched migration changes.
    """

    TARGETS = "targets"
    ROWS = "rows"


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedVersion:
    """A migration of a rollout.

    Attributes:
        version: Its version.
        checksum: SHA-256 of its script, as in `Migration`.
        batched: Whether it changes rows in batches, so that it can be stopped at a share of them.
    """

    version: str
    checksum: str
    batched: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RowShare:
    """A migration, or a part of a batched one.

    Attributes:
        version: Which.
        from_pct: So much of its rows is done before.
        until_pct: So much is done afterwards.
    """

    version: str
    from_pct: int = 0
    until_pct: int = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class StagePlan:
    """What one stage does.

    Attributes:
        stage: As the file says.
        targets: Whom it migrates, in their order; empty where the fleet is smaller than the number of stages.
        work: Where there is one target only: which migrations, and how much of their rows.
    """

    stage: Stage
    targets: tuple[FleetTarget, ...] = ()
    work: tuple[RowShare, ...] = ()

    @property
    def share(self) -> RowShare | None:
        """The version of which more rows are still to be done when the stage ends; None when there is none."""
        return next((one for one in self.work if one.until_pct < _WHOLE), None)


_WHOLE = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutPlan:
    """Who is migrated when.

    Attributes:
        fleet: The fleet's name.
        kind: How stages divide the work.
        seed: What the order of equals was computed from.
        versions: What is rolled out, oldest first.
        stages: In order.
        digest: SHA-256 over versions and checksums, stages, targets in them, and policy: an approval holds for it.
        remarks: What a person should know before they say yes.
        only: Labels that its targets have; no other one of the fleet is in it. Empty for all targets.
    """

    fleet: str
    kind: RolloutKind
    seed: str
    versions: tuple[PlannedVersion, ...]
    stages: tuple[StagePlan, ...]
    digest: str
    remarks: tuple[str, ...] = ()
    only: Labels = ()

    @property
    def stage_of(self) -> dict[str, str]:
        """The stage of every target, both by name."""
        return {target.name: one.stage.name for one in self.stages for target in one.targets}
