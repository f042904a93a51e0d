"""The restore: a backup, or a database as it was at a point in time, beside the others or in the place of one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Literal, cast

from prefect import flow

from blocks import BackupBucket, BackupFolder, PostgresDatabase
from blocks.references import refuse_inline
from flows.forms import shown
from flows.run_names import run_named
from squizzle import __version__
from squizzle.errors import RefusedError
from squizzle.recovery.restore_run import RestoreReport
from squizzle.reports.restore import restore_question, restore_summary
from tasks.approval import gate
from tasks.outcome import ends_in_our_words, failed
from tasks.reporting import progress_artifact, publish_restore
from tasks.restoring import RestoreCase, decisions_beside, find_restore, restore_it, swap_it_in, target_of
from tasks.steps import keep_journal, now

STEPS = 7

DESCRIPTION = """\
Brings a backup back as a new database, compared row by row, and puts it in the place of the damaged one if you say so.

1. finds the backup; for a point in time the newest copy of the cluster before it, and whether the log reaches it
2. restores it under the new name; for a point in time a scratch cluster on the worker replays the log first
3. compares schema, rows and sequences with the fingerprints; different: it stays closed, and the run fails
4. with *Switch over*: takes the place of the database, which is kept as `<name>__old_<time>`; in production a person
   decides first

Nothing is dropped. A run that was killed is started again: it replaces what it left.
"""

Database = Annotated[
    PostgresDatabase, shown(title="Database", description="Which one, by the name that clients use, on which server.")
]
Store = Annotated[
    BackupFolder | BackupBucket, shown(title="Store", description="Where its backups are, and the archived log.")
]
Into = Annotated[
    str, shown(title="New name", min_length=1, max_length=63, description="The new database's name; not one in use.")
]
BackupId = Annotated[
    str,
    shown(
        title="Backup",
        description="Its id, or that of a mark. Empty: the newest verified one, or the newest copy before the point.",
    ),
]
PointKind = Annotated[
    Literal["none", "name", "lsn", "time", "latest"],
    shown(title="Point in time", description="none: the backup itself. latest: the end of the archived log."),
]
PointText = Annotated[
    str,
    shown(
        title="Point",
        description="The restore point's name, a position such as 0/3000148, or a time with its offset from UTC.",
    ),
]
Tables = Annotated[
    list[str], shown(title="Tables", description="With a point: only these get their rows, as schema.table. None: all.")
]
SwitchOver = Annotated[
    bool, shown(title="Switch over", description="Put it in the place of the database. Off: both stay side by side.")
]
DryRun = Annotated[bool, shown(title="Dry run", description="Only say what would be restored, and whether it can be.")]
Patience = Annotated[
    int, shown(ge=1, le=1440, title="Approval minutes", description="After so long without an answer the run ends.")
]


@flow(
    name="restore-backup",
    flow_run_name=run_named("restore {database} → {into}"),
    description=DESCRIPTION,
    persist_result=False,
    version=__version__,
)
@ends_in_our_words
def restore_backup(  # noqa: PLR0913 - each is a field of the form
    database: Database,
    store: Store,
    into: Into,
    backup_id: BackupId = "",
    point_kind: PointKind = "none",
    point: PointText = "",
    *,
    tables: Tables = [],  # noqa: B006 - a form needs a default; nobody changes it
    switch_over: SwitchOver = False,
    dry_run: DryRun = True,
    approval_minutes: Patience = 240,
) -> RestoreReport:
    """Restore a backup beside the databases of a server, compare it, and swap it in if that is asked for.

    Args:
        database: Which database, by the name that clients use, on which server.
        store: Where its backups are, and the archived log.
        into: The new database's name; not one that is in use.
        backup_id: Its id, or that of a mark. Empty: the newest verified backup, or the newest copy before the point.
        point_kind: none for the backup itself; latest for the end of the archived log; else how the point is said.
        point: A restore point's name, a position (0/3000148), or a time with its offset (2027-01-31 02:00:00+01:00).
        tables: With a point: only these get their rows, as schema.table. None for all.
        switch_over: Put it in the place of the database, which is kept; in production a person decides first.
        dry_run: Only say what would be restored, and whether it can be. Begin with this.
        approval_minutes: How long to wait for a person. Without an answer both databases stay as they are.

    Returns:
        The report; inside a Failed state when what was restored is not what was saved.
    """
    refuse_inline(database, store)
    started_at = now()
    case = RestoreCase(
        database=database,
        store=store,
        backup_id=backup_id,
        target=target_of(point_kind, point),
        into=into,
        tables=tuple(tables),
        switch_over=switch_over,
    )
    with keep_journal(progress_artifact("restore-progress", total=STEPS, what="Progress of the restore")) as journal:
        plan = find_restore(case)
        report = RestoreReport(plan=plan, started_at=started_at, dry_run=dry_run)
        if not dry_run:
            report = _restore(case, report, patience=timedelta(minutes=approval_minutes))
        report = replace(report, steps=journal.steps, duration=now() - started_at)
        publish_restore(report)
    if report.is_done:
        return report
    # A flow that returns a state ends in that state; the report travels as its data.
    return cast("RestoreReport", failed(report.refused or restore_summary(report), report))


def _restore(case: RestoreCase, report: RestoreReport, *, patience: timedelta) -> RestoreReport:
    plan = report.plan
    report = replace(report, restored=restore_it(case, plan))
    if not (report.is_equal and plan.switch_over):
        return report
    if plan.needs_approval:
        try:
            gate(restore_question(report), database=decisions_beside(case.database), timeout=patience)
        except RefusedError as exc:
            return replace(report, refused=exc.message)
    return replace(report, kept_as=swap_it_in(case, plan).kept_as)
