"""The fields of the form of a rollout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from blocks import BackupBucket, BackupFolder, Fleet, PostgresDatabase
from flows.forms import shown
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
Section = Annotated[str, shown(title="Section", description="Which section of it, where it has several. Empty: any.")]
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
    list[str],
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
People = Annotated[list[str], shown(title="Who may approve", description="Names of people. Empty: anybody.")]
TwoPeople = Annotated[
    bool, shown(title="Two people", description="An approval takes two, neither of whom started the rollout.")
]
Where = Annotated[
    Spread, shown(title="Who works on the targets", description="This run's process (here), or a Dask cluster (dask).")
]
Reason = Annotated[
    str, shown(title="Without certificates", description="Why it goes to production unproven. Empty: it does not.")
]
Approver = Annotated[str, shown(title="Who answers for that", description="For going without certificates.")]
DryRun = Annotated[
    bool, shown(title="Dry run", description="On: look, check and plan; nothing is changed. Off: roll out.")
]
GoBack = Annotated[
    bool, shown(title="Go back", description="Take back what the rollout that is under way brought, and nothing else.")
]
