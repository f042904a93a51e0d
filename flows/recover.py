"""The recovery of a database: find out what is damaged, take the cheapest way back that works, and prove it."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, cast

from prefect import flow
from prefect.states import Failed
from pydantic import Field

from blocks import BackupBucket, BackupFolder, PostgresDatabase
from blocks.references import refuse_inline
from squizzle.backups.records import Backup
from squizzle.errors import RecoveryError, RefusedError, SquizzleError
from squizzle.postgres.database_properties import DatabaseProperties
from squizzle.recovery.assess import Assessment
from squizzle.recovery.decide import decide_recovery
from squizzle.recovery.evidence import EvidenceBook
from squizzle.recovery.recovery import (
    RecoveryOutcome,
    RecoveryReport,
    recovery_names,
)
from squizzle.recovery.ways import Means, RecoveryPlan, RecoveryPolicy, Way, WayBack
from tasks.migrations import try_down_scripts
from tasks.recovery import (
    RecoveryCase,
    assess_damage,
    compare_copy,
    compare_properties,
    compare_with_copy,
    fence_database,
    find_backup,
    look_for_means,
    make_report,
    move_sequences,
    note_activity,
    note_properties,
    one_recovery,
    refuse_different,
    restore_copy,
    salvage_rows,
    switch_back,
    switch_databases,
    unfence_database,
    verify_database,
    verify_prepared,
    verify_swapped,
)
from tasks.reporting import progress_artifact, publish_recovery
from tasks.steps import keep_journal, now

STEPS = 15

# Those that this flow can carry out by itself.
WAYS = frozenset({Way.ROLL_BACK, Way.SWAP, Way.RESTORE_BESIDE})

DESCRIPTION = """\
Gets a damaged database back, by the cheapest way that works, and says success only after the data was compared.

1. fences the database: nobody new gets in, sessions are ended
2. compares it with the newest backup from before the disaster: what is missing, changed, failed
3. lists the ways back with what each takes and loses, as it was measured: down scripts, a prepared copy, backups
4. takes the first; when it fails, the next. A way that **loses data** needs *May lose data*
5. compares again, lets clients in, and keeps the rows that only the damaged database has

Nothing is dropped: the damaged database stays as `<name>__old_<time>`. When no way is left, the database **stays
fenced** and the report says so. With *Dry run* nothing is fenced or changed; it ends after 3.
"""

Database = Annotated[PostgresDatabase, Field(title="Database", description="Which database is damaged.")]
Store = Annotated[BackupFolder | BackupBucket, Field(title="Store", description="Where its backups are.")]
Suspicion = Annotated[
    Literal["find_out", "damaged"],
    Field(
        title="What happened",
        description="find_out: nothing is done where nothing is missing. damaged: somebody knows that rows are wrong,"
        " though none is missing.",
    ),
]
Migrations = Annotated[
    str, Field(title="Migrations folder", description="For the down scripts, as the worker sees it. Empty: none.")
]
BackupId = Annotated[
    str, Field(title="Backup", description="Compare with this one. Empty: the newest from before the disaster.")
]
Moment = Annotated[
    datetime | None,
    Field(title="Damaged since", description="Backups and copies from then on are not used. Empty: find out."),
]
LoseData = Annotated[
    bool, Field(title="May lose data", description="Yes to a way that loses what was written since the backup.")
]
MostLost = Annotated[
    int | None, Field(ge=0, title="Lose at most (minutes)", description="No way that loses more. Empty: any.")
]
DryRun = Annotated[bool, Field(title="Dry run", description="Only say what is damaged and what would be done.")]
Salvage = Annotated[
    bool, Field(title="Keep lost rows", description="Find the rows that only the damaged database has, and keep them.")
]


@flow(
    name="recover",
    flow_run_name="recover {database.database} in {database.environment}",
    description=DESCRIPTION,
    persist_result=False,
)
def recover(  # noqa: PLR0913 - each is a field of the form
    database: Database,
    store: Store,
    what_happened: Suspicion = "find_out",
    *,
    dry_run: DryRun = False,
    may_lose_data: LoseData = False,
    lose_at_most_minutes: MostLost = None,
    damaged_since: Moment = None,
    backup_id: BackupId = "",
    migrations: Migrations = "",
    keep_lost_rows: Salvage = True,
) -> RecoveryReport:
    """Recover a database by the cheapest way that works; the damaged one is kept.

    Args:
        database: The damaged one. Not the maintenance database postgres.
        store: Where its backups are.
        what_happened: find_out does nothing where nothing is missing; damaged when somebody knows that rows are wrong.
        dry_run: Change nothing and fence nothing, only say what is damaged and what would be done. Begin with this.
        may_lose_data: Yes to a way that loses what was written since the backup. Else the run ends, clients kept out.
        lose_at_most_minutes: No way that loses more than this is taken; None for any.
        damaged_since: When the disaster began, if it is known: backups and copies from then on are not used.
        backup_id: The backup to compare with; empty for the newest from before the disaster.
        migrations: The folder with the down scripts, as the worker sees it; empty for none.
        keep_lost_rows: Find the rows that only the damaged database has, and keep them for `squizzle salvage merge`.

    Returns:
        The report; inside a Failed state when the database is not recovered.
    """
    refuse_inline(database, store)
    started_at = now()
    most = None if lose_at_most_minutes is None else timedelta(minutes=lose_at_most_minutes)
    case = RecoveryCase(
        database=database,
        store=store,
        folders=(Path(migrations),) if migrations else (),
        names=recovery_names(database.database, started_at),
        policy=RecoveryPolicy(may_lose_data=may_lose_data, max_rpo=most, ways=WAYS),
        insist=what_happened == "damaged",
    )
    book = EvidenceBook()
    with keep_journal(progress_artifact("recovery-progress", total=STEPS, what="Progress of the recovery")) as journal:
        # A dry run changes nothing, and need not wait for anybody.
        with nullcontext() if dry_run else one_recovery(database):
            fenced = _recover(case, book, backup_id=backup_id, since=damaged_since, dry_run=dry_run)
            if keep_lost_rows and book.evidence.kept_as and not fenced:
                _salvage(case, book, started_at)
        report = make_report(case, book.evidence, started_at, journal.steps, fenced=fenced, dry_run=dry_run)
        publish_recovery(report)
    outcome, reasons = report.outcome, report.reasons
    if outcome in {RecoveryOutcome.RECOVERED, RecoveryOutcome.NOTHING_TO_DO, RecoveryOutcome.PLANNED}:
        return report
    # A flow that returns a state ends in that state; the report travels as its data.
    return cast("RecoveryReport", Failed(message=f"{outcome.value}: {reasons[0]}", data=report))


def _recover(case: RecoveryCase, book: EvidenceBook, *, backup_id: str, since: datetime | None, dry_run: bool) -> bool:
    """Everything up to letting clients in again; returns whether they are kept out at the end."""
    fenced = False
    try:
        activity = note_activity(case.database)
        backup = find_backup(case.database, case.store, backup_id=backup_id, before=since)
        book.note(backup=backup, noticed_at=now())
        if not dry_run:
            fence_database(case.database)
            fenced = True
        assessment = assess_damage(case.database, backup, *case.folders, activity=activity, since=since)
        book.note(assessment=assessment)
        means = look_for_means(case.database, case.store, *case.folders)
        plan = decide_recovery(assessment, means, now=now(), policy=case.policy, insist=case.insist)
        book.note(plan=plan)
        if dry_run:
            return False
        if plan.is_needed:
            take_ways_back(case, book, backup, assessment, means)
        unfence_database(case.database)
        book.note(recovered_at=now() if plan.is_needed else None)
    except SquizzleError as exc:
        book.note(error=f"{exc.message}. Next: {exc.hint}" if exc.hint else exc.message)
        return fenced
    return False


def take_ways_back(
    case: RecoveryCase, book: EvidenceBook, backup: Backup, assessment: Assessment, means: Means
) -> RecoveryPlan:
    """Take the best way; when it fails, the next one, until one is verified.

    Raises:
        RefusedError: The next way loses data, and nobody said that it may.
        RecoveryError: No way is left.
    """
    tried: dict[tuple[Way, str], str] = {}
    while True:
        plan = decide_recovery(assessment, means, now=now(), policy=case.policy, tried=tried, insist=case.insist)
        way = plan.chosen
        if way is None:
            raise RecoveryError(plan.reason, hint="clients stay out; `squizzle unfence` lets them in as it is")
        if plan.approval:
            raise RefusedError(
                f"{plan.approval}; nobody said that it may",
                hint="start the recovery again with 'May lose data', or lower what may be lost",
            )
        book.note(decisions=(*book.evidence.decisions, way))
        try:
            failure = _take(case, book, backup, assessment, way)
        except SquizzleError as exc:
            failure = exc.message
        if not failure:
            return plan
        tried[way.way, way.name] = failure
        book.note_failure(f"{way.way.value} ({way.name}): {failure}")


def _take(case: RecoveryCase, book: EvidenceBook, backup: Backup, assessment: Assessment, way: WayBack) -> str:
    """Carry one way out; returns why it did not bring everything back, empty when it did."""
    match way.way:
        case Way.ROLL_BACK:
            return _roll_back(case, book, backup, assessment)
        case Way.SWAP:
            return _swap(case, book, way.name)
        case Way.RESTORE_BESIDE:
            return _restore(case, book, way.name)
        case _:
            raise AssertionError(f"{way.way} is not among the ways that this flow takes")


def _roll_back(case: RecoveryCase, book: EvidenceBook, backup: Backup, assessment: Assessment) -> str:
    attempt = try_down_scripts(case.database, backup, assessment.applied_since, *case.folders)
    book.note(rollback=attempt)
    if attempt.why_not:
        return attempt.why_not
    if not attempt.doubtful:
        book.note(verified=f"every table has the rows of backup {backup.id}")
        return ""
    return _compare_row_by_row(case, book, backup)


def _compare_row_by_row(case: RecoveryCase, book: EvidenceBook, backup: Backup) -> str:
    """The count is right and the fingerprint is not: only the backup itself can tell whether its rows are back."""
    _restore_beside(case, book, backup)
    tables = compare_with_copy(case.database, copy=case.names.restored)
    for table in tables:
        if table.gone or table.changed or table.note:
            return (
                f"{table.table}: {table.gone:,} rows of the backup are gone, {table.changed:,} are others"
                f" (clients may have written them){f'; {table.note}' if table.note else ''}"
            )
    added = sum(table.added for table in tables)
    book.note(verified=f"every row of backup {backup.id} is there as it was, {added:,} were written since")
    return ""


def _restore_beside(case: RecoveryCase, book: EvidenceBook, backup: Backup) -> DatabaseProperties:
    properties = note_properties(case.database)
    restore_copy(case.database, case.store, backup, into=case.names.restored, like=properties)
    copy = compare_copy(case.database, backup, copy=case.names.restored)
    book.note(copy=copy)
    refuse_different(copy, what="the restored copy")
    return properties


def _swap(case: RecoveryCase, book: EvidenceBook, copy: str) -> str:
    properties = note_properties(case.database)
    differences = verify_prepared(case.database, copy=copy)
    if differences:
        return f"the copy is not as it was made: {differences[0]}"
    switch_databases(case.database, restored=copy, keep_as=case.names.kept, properties=properties)
    try:
        verify_swapped(case.database)
    except SquizzleError:
        switch_back(case.database, damaged=case.names.kept, refused=copy, properties=properties)
        raise
    book.note(kept_as=case.names.kept, verified=f"every row is as it was when {copy} was made")
    book.note(changed_properties=compare_properties(case.database, properties))
    book.note(sequences=move_sequences(case.database, damaged=case.names.kept))
    return ""


def _restore(case: RecoveryCase, book: EvidenceBook, backup_id: str) -> str:
    backup = find_backup(case.database, case.store, backup_id=backup_id, before=None)
    properties = _restore_beside(case, book, backup)
    switch_databases(case.database, restored=case.names.restored, keep_as=case.names.kept, properties=properties)
    try:
        final = verify_database(case.database, backup)
        refuse_different(final, what="the recovered database")
    except SquizzleError:
        restored = case.names.restored
        switch_back(case.database, damaged=case.names.kept, refused=restored, properties=properties)
        raise
    book.note(backup=backup, kept_as=case.names.kept, final=final)
    book.note(verified=f"every table has the rows of backup {backup.id}")
    book.note(changed_properties=compare_properties(case.database, properties))
    book.note(sequences=move_sequences(case.database, damaged=case.names.kept))
    return ""


def _salvage(case: RecoveryCase, book: EvidenceBook, started_at: datetime) -> None:
    """After clients are in: what only the damaged database has. Its failure makes the recovery no worse."""
    backup = book.evidence.backup
    try:
        found = salvage_rows(
            case.database,
            damaged=case.names.kept,
            salvage_id=f"{started_at:%Y%m%dt%H%M%S}",
            backup_id=backup.id if backup else "",
        )
        book.note(salvage=found)
    except SquizzleError as exc:
        book.note_failure(f"rows of the damaged database were not kept: {exc.message}")
