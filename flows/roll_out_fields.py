"""The form of a rollout: what is chosen each time, and groups of what is chosen once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from blocks import BackupBucket, BackupFolder, Fleet, PostgresDatabase
from flows.forms import Group, shown
from squizzle.rollout.unwinding import Recovers
from tasks.rollout_case import Secured, Spread, TakenBack, Unapproved

FleetName = Annotated[
    str, shown(title="Fleet", description="A section [fleets.NAME] of squizzle.toml. Empty where a block is chosen.")
]
FleetBlock = Annotated[Fleet | None, shown(title="Fleet block", description="Instead of a section of squizzle.toml.")]
Labels = Annotated[
    list[str], shown(title="Labels", description="NAME=VALUE: only targets that have all of these. Empty: all targets.")
]
Stages = Annotated[Path, shown(title="Stages", description="The stages file (YAML), on the worker.")]
Section = Annotated[str, shown(title="Section", description="Of the stages file, where it has several.")]
Config = Annotated[Path, shown(title="Configuration", description="squizzle.toml on the worker: fleets, migrations.")]
Version = Annotated[str, shown(title="Version", description="The last version to roll out. Empty: everything.")]
Store = Annotated[
    BackupFolder | BackupBucket | None,
    shown(title="Store", description="Backups and certificates. Empty: [backups] store of squizzle.toml."),
]
Control = Annotated[
    PostgresDatabase | None,
    shown(title="Control database", description="Where decisions are written down. Empty: one of the fleet's own."),
]
Backups = Annotated[Secured, shown(title="Backups", description="Which targets of a stage are backed up before it.")]
Scope = Annotated[TakenBack, shown(title="A failure takes back", description="Where the stage says that it does.")]
Recover = Annotated[
    Recovers,
    shown(
        title="What cannot be taken back is recovered",
        description="safe: at once where that loses nothing, or is"
        " proven and nobody else is at work there, else a person is asked; ask: a person is always asked; never.",
    ),
]
OnTimeout = Annotated[
    Unapproved,
    shown(title="When nobody decides", description="What is migrated stays (stop), or is taken back (take-back)."),
]
OnRejection = Annotated[
    Unapproved, shown(title="When somebody rejects", description="The same, when a stage is not approved.")
]
Checks = Annotated[
    Path | None, shown(title="Checks", description="A file of SQL that must hold while targets are watched.")
]
Alerts = Annotated[
    tuple[str, ...],
    shown(
        title="Alerts",
        description="Files of alert rules that must not fire while targets are watched, besides"
        " those of squizzle.toml. guide: those that come with Squizzle.",
    ),
]
Every = Annotated[
    int,
    shown(ge=1, le=3600, title="Watch every (seconds)", description="From one look at what was migrated to the next."),
]
Hours = Annotated[
    int, shown(ge=1, le=336, title="Approval (hours)", description="So long may a person take to decide.")
]
People = Annotated[tuple[str, ...], shown(title="Who may approve", description="Names of people. Empty: anybody.")]
TwoPeople = Annotated[
    bool, shown(title="Two people", description="An approval takes two, neither of whom started the rollout.")
]
Where = Annotated[
    Spread, shown(title="Who works on the targets", description="This run's process (here), or a Dask cluster (dask).")
]
Reason = Annotated[str, shown(title="Why", description="Why it goes to production unproven. Empty: it does not.")]
Approver = Annotated[str, shown(title="Who answers for that", description="Their name; it is recorded.")]
DryRun = Annotated[
    bool, shown(title="Dry run", description="On: look, check and plan; nothing is changed. Off: roll out.")
]
GoBack = Annotated[
    bool, shown(title="Go back", description="Take back what the rollout that is under way brought, and nothing else.")
]


class Failure(Group):
    """What becomes of targets where something fails."""

    takes_back: Scope = TakenBack.STAGE
    recovers: Recover = Recovers.SAFE


class Watching(Group):
    """How what was migrated is looked at, for as long as the stages file says."""

    checks: Checks = None
    alerts: Alerts = ()
    watch_every_s: Every = 30


class Approval(Group):
    """Who decides about stages that ask, and what becomes of one that nobody approves."""

    approvers: People = ()
    two_people: TwoPeople = False
    approval_hours: Hours = 8
    on_timeout: OnTimeout = Unapproved.STOP
    on_rejection: OnRejection = Unapproved.STOP


class Unproven(Group):
    """Going to production without certificates, on a person's word."""

    without_certificates: Reason = ""
    approver: Approver = ""


WhenFailed = Annotated[Failure, shown(title="When something fails", description="What becomes of its targets.")]
Watched = Annotated[
    Watching, shown(title="Watch", description="What must hold at targets that were migrated, before it goes on.")
]
Approved = Annotated[Approval, shown(title="Approvals", description="Of stages that the stages file lets ask.")]
OnAWord = Annotated[
    Unproven, shown(title="Without certificates", description="Only for an emergency; leave both fields empty.")
]
