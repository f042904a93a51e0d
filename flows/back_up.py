"""The backup: save a database, read what was saved again, and only then let old ones go."""

from __future__ import annotations

from typing import Annotated, Literal, cast

from prefect import flow

from blocks import BackupBucket, BackupFolder, PostgresDatabase, RdsInstance
from blocks.references import refuse_inline
from flows.forms import shown
from flows.run_names import run_named
from squizzle import __version__
from squizzle.backups.order import CopyOptions
from squizzle.backups.proofs import Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.settings import Retention
from squizzle.errors import InvalidInputError, RefusedError
from squizzle.reports.backup import BackupReport
from tasks.backups import earlier_backups, prune_backups, take_backup, verify_backup
from tasks.outcome import ends_in_our_words, failed
from tasks.reporting import progress_artifact, publish_backup
from tasks.steps import keep_journal
from tasks.watched import Sign, give_sign

STEPS = 4
# Of these a database can be brought back; a point to recover to, or a schema, is no backup of it.
_SAVES_ROWS = {BackupKind.FULL, BackupKind.PHYSICAL, BackupKind.INCREMENTAL, BackupKind.RDS}

DESCRIPTION = """\
Saves a database with a manifest that proves a restored copy, reads every file again, and only then removes what is out
of date.

1. compares the database with its identity; takes an advisory lock, so that two runs exclude each other
2. removes what killed runs left, refuses when there is no room, dumps and fingerprints under one snapshot
3. reads every file again and compares it with the manifest
4. removes backups that retention lets go, only if `prune` is on and 3 passed

A snapshot of RDS is watched until it is there; a run that is started again takes over what a killed one began.

It never changes the database, never removes the newest or the newest verified backup, and never removes anything when a
manifest is damaged or missing. A run that is killed leaves nothing that could be taken for a backup.
"""

Database = Annotated[PostgresDatabase, shown(title="Database", description="Which database to save.")]
Store = Annotated[
    BackupFolder | BackupBucket, shown(title="Store", description="Where to. Not on the database's own disk.")
]
Kind = Annotated[
    Literal["full", "schema", "data", "globals", "physical", "incremental", "rds", "mark"],
    shown(
        title="Kind",
        description="full: the database. schema: definitions. data: rows. globals: roles and settings. physical: the"
        " whole cluster. incremental: what changed since the last copy of the cluster (PostgreSQL 17 and later). rds: a"
        " snapshot of the instance of Amazon RDS. mark: no rows, a point to recover or to undo to.",
    ),
]
OrMark = Annotated[
    bool,
    shown(
        title="Or a mark",
        description="A mark where the server makes no increments: before PostgreSQL 17, or with summarize_wal off.",
    ),
]
Rds = Annotated[
    RdsInstance | None,
    shown(title="Instance of RDS", description="Where the database is; for rds, and to remove old snapshots."),
]
MaxRate = Annotated[
    int | None,
    shown(
        ge=32,
        le=1024 * 1024,
        title="Max rate",
        description="physical, incremental: kilobytes a second that the server may send at most. Empty: no limit.",
    ),
]
OrFull = Annotated[
    bool, shown(title="Or full", description="incremental: a whole copy where no increment is possible.")
]
Prune = Annotated[bool, shown(title="Prune", description="Remove what is out of date after a verified backup.")]
Daily = Annotated[int, shown(ge=0, le=3660, title="Keep daily", description="Newest backups of so many days.")]
Weekly = Annotated[int, shown(ge=0, le=3660, title="Keep weekly", description="Newest backups of so many weeks.")]
Monthly = Annotated[int, shown(ge=0, le=3660, title="Keep monthly", description="Newest backups of so many months.")]


@flow(
    name="back-up",
    flow_run_name=run_named("{kind} backup of {database}"),
    description=DESCRIPTION,
    persist_result=False,
    version=__version__,
)
@ends_in_our_words
def back_up(  # noqa: PLR0913 - one argument a field of the form
    database: Database,
    store: Store,
    kind: Kind = "full",
    *,
    rds: Rds = None,
    or_mark: OrMark = False,
    max_rate_kb: MaxRate = None,
    or_full: OrFull = False,
    prune: Prune = False,
    keep_daily: Daily = 7,
    keep_weekly: Weekly = 4,
    keep_monthly: Monthly = 12,
) -> Backup:
    """Take one backup and verify its files; the database is only read.

    Args:
        database: Which database.
        store: Where to.
        kind: What to save.
        rds: The instance of RDS that the database is on; only for the kind rds, and to remove snapshots.
        or_mark: Whether a mark is made where the server makes no increments.
        max_rate_kb: Kilobytes a second that the server may send at most while the cluster is copied; None for no limit.
        or_full: Where no increment is possible, a whole copy is taken instead.
        prune: Whether what is out of date is removed afterwards.
        keep_daily: Newest backups of so many days stay.
        keep_weekly: The same for weeks.
        keep_monthly: The same for months.

    Returns:
        The backup; inside a Failed state when its files are not as they were written.
    """
    refuse_inline(database, store, rds)
    if kind == "rds" and rds is None:
        raise InvalidInputError("no instance of RDS was chosen", hint="choose an RDS Instance block in the form")
    with keep_journal(progress_artifact("backup-progress", total=STEPS + prune, what="Progress of the backup")):
        copying = CopyOptions(max_rate_kb=max_rate_kb, or_full=or_full, or_mark=or_mark)
        backup = take_backup(database, store, kind=BackupKind(kind), copying=copying, rds=rds)
        proof = verify_backup(store, backup, rds=rds)
        removed: tuple[str, ...] = ()
        kept_because = ""
        if prune and proof.verdict is not Verdict.PASS:
            kept_because = "The new backup could not be verified, so no older one was touched."
        elif prune:
            try:
                retention = Retention(daily=keep_daily, weekly=keep_weekly, monthly=keep_monthly)
                removed = prune_backups(store, retention, rds=rds)
            except RefusedError as exc:
                kept_because = exc.message
        report = BackupReport(backup=backup, proof=proof, removed=removed, kept_because=kept_because)
        publish_backup(report, earlier_backups(store, backup))
    if proof.verdict is Verdict.PASS and backup.kind in _SAVES_ROWS:
        give_sign(Sign.SAVED, f"{database.environment}/{database.database}")
    if proof.verdict is Verdict.PASS and not kept_because:
        return backup
    reason = kept_because if proof.verdict is Verdict.PASS else f"files {proof.verdict.value}: {proof.sentences[0]}"
    # A flow that returns a state ends in that state; the backup travels as its data.
    return cast("Backup", failed(reason, backup))
