"""The recovery of a database: find out what is damaged, take the cheapest way back that works, and prove it."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, cast

from prefect import flow

from blocks import (
    BackupBucket,
    BackupFolder,
    CommandFence,
    KubernetesApplication,
    PgBouncer,
    PostgresDatabase,
    RdsInstance,
)
from blocks.references import refuse_inline
from flows.forms import shown
from flows.run_names import run_named
from flows.ways_back import take_ways_back
from squizzle import __version__
from squizzle.errors import FencingFailedError, SquizzleError
from squizzle.recovery.assess import Assessment
from squizzle.recovery.decide import decide_recovery
from squizzle.recovery.evidence import EvidenceBook
from squizzle.recovery.fences.records import FenceState
from squizzle.recovery.recovery import RecoveryOutcome, RecoveryReport, recovery_names
from squizzle.recovery.switch_over import KeptDatabase
from squizzle.recovery.ways import RecoveryPolicy
from tasks.cloud import finish_earlier_swap, look_for_cloud
from tasks.fencing import look_at_fences, put_up_fences, take_down_fences
from tasks.outcome import ends_in_our_words, failed
from tasks.point_in_time import look_for_point
from tasks.recovery import (
    assess_damage,
    find_backup,
    find_switch_over,
    look_for_means,
    move_sequences,
    note_activity,
    one_recovery,
    salvage_rows,
    verify_swapped,
)
from tasks.recovery_case import WAYS, RecoveryCase, held_since, make_report
from tasks.reporting import progress_artifact, publish_recovery
from tasks.steps import keep_journal, now, run_name, steps_so_far

STEPS = 18
GOOD = frozenset({RecoveryOutcome.RECOVERED, RecoveryOutcome.NOTHING_TO_DO, RecoveryOutcome.PLANNED})

DESCRIPTION = """\
Gets a damaged database back, by the cheapest way that works, and says success only after the data was compared.

1. shuts the applications that are chosen, then the database: nobody new gets in, sessions are ended
2. compares it with the newest backup from before the disaster: what is missing, changed, failed
3. lists the ways back with what each takes and loses, as it was measured: down scripts, a prepared copy, backups,
   and right before the damage by a copy of the cluster and its archived log
4. takes the first; when it fails, the next. Before a way that **loses data** the run pauses and asks
5. compares again, lets clients in, and keeps the rows that only the damaged database has

Nothing is dropped: the damaged database stays as `<name>__old_<time>`. When no way is left, or somebody says no,
everything **stays shut** and the report says what opens it. It begins as a *dry run*: nothing is shut or changed, and
it ends after 3. A run that was killed is started again with the same fields: it finds what that one did, and goes on.
"""

Database = Annotated[PostgresDatabase, shown(title="Database", description="Which database is damaged.")]
Store = Annotated[BackupFolder | BackupBucket, shown(title="Store", description="Where its backups are.")]
Suspicion = Annotated[
    Literal["find_out", "damaged"],
    shown(
        title="What happened",
        description="find_out: nothing is done where nothing is missing. damaged: somebody knows that rows are wrong,"
        " though none is missing.",
    ),
]
Migrations = Annotated[
    str, shown(title="Migrations folder", description="For the down scripts, as the worker sees it. Empty: none.")
]
BackupId = Annotated[
    str, shown(title="Backup", description="Compare with this one. Empty: the newest from before the disaster.")
]
Moment = Annotated[
    datetime | None,
    shown(title="Damaged since", description="Backups and copies from then on are not used. Empty: find out."),
]
LoseData = Annotated[
    bool,
    shown(title="May lose data", description="A yes beforehand to what was written since the backup being lost."),
]
MostLost = Annotated[
    int | None, shown(ge=0, title="Lose at most (minutes)", description="No way that loses more. Empty: any.")
]
MostTime = Annotated[
    int | None,
    shown(ge=1, title="Take at most (minutes)", description="No way that is known to take longer. Empty: any."),
]
Rds = Annotated[
    RdsInstance | None,
    shown(title="RDS instance", description="The instance that it is on: its snapshots are ways back. Empty: none."),
]
Kubernetes = Annotated[
    list[KubernetesApplication],
    shown(title="Kubernetes applications", description="Scaled to 0 before the database is shut, in this order."),
]
Poolers = Annotated[
    list[PgBouncer], shown(title="PgBouncers", description="Paused after that, so that their clients wait.")
]
Commands = Annotated[
    list[CommandFence], shown(title="Command fences", description="Programs that shut what else writes to it; last.")
]
Patience = Annotated[
    int,
    shown(
        ge=1,
        le=1440,
        title="Approval minutes",
        description="After so long without an answer the run ends, clients kept out.",
    ),
]
DryRun = Annotated[bool, shown(title="Dry run", description="Only say what is damaged and what would be done.")]
Salvage = Annotated[
    bool, shown(title="Keep lost rows", description="Find the rows that only the damaged database has, and keep them.")
]


@flow(
    name="recover",
    flow_run_name=run_named("recover {database}"),
    description=DESCRIPTION,
    persist_result=False,
    version=__version__,
)
@ends_in_our_words
def recover(  # noqa: PLR0913 - each is a field of the form
    database: Database,
    store: Store,
    what_happened: Suspicion = "find_out",
    *,
    dry_run: DryRun = True,
    may_lose_data: LoseData = False,
    lose_at_most_minutes: MostLost = None,
    take_at_most_minutes: MostTime = None,
    damaged_since: Moment = None,
    backup_id: BackupId = "",
    migrations: Migrations = "",
    rds: Rds = None,
    kubernetes: Kubernetes = [],  # noqa: B006 - a form needs a default; nobody changes it
    pgbouncers: Poolers = [],  # noqa: B006 - same
    commands: Commands = [],  # noqa: B006 - same
    approval_minutes: Patience = 60,
    keep_lost_rows: Salvage = True,
) -> RecoveryReport:
    """Recover a database by the cheapest way that works; the damaged one is kept.

    The report comes in a Failed state when the database is not recovered.

    Args:
        database: The damaged one. Not the maintenance database postgres.
        store: Where its backups are.
        what_happened: find_out does nothing where nothing is missing; damaged when somebody knows that rows are wrong.
        dry_run: Change nothing and shut nothing, only say what is damaged and what would be done. Begin with this.
        may_lose_data: Yes beforehand to losing what was written since the backup. Without it the run pauses and asks.
        lose_at_most_minutes: No way that loses more than this is taken; None for any.
        take_at_most_minutes: No way that is known to take longer is taken; None for any.
        damaged_since: When the disaster began, if it is known: backups and copies from then on are not used.
        backup_id: The backup to compare with; empty for the newest from before the disaster.
        migrations: The folder with the down scripts, as the worker sees it; empty for none.
        rds: The instance of RDS that it is on, whose snapshots and automated backups are ways back; None for none.
        kubernetes: Applications that are scaled to 0 first, and back to what they were last.
        pgbouncers: PgBouncers that are paused then; they resume before the applications.
        commands: Programs that shut what else writes to the database.
        approval_minutes: How long to wait for an answer.
        keep_lost_rows: Find the rows that only the damaged database has, and keep them for `squizzle salvage merge`.
    """
    refuse_inline(database, store, rds, *kubernetes, *pgbouncers, *commands)
    started_at = now()
    case = RecoveryCase(
        database=database,
        store=store,
        folders=(Path(migrations),) if migrations else (),
        names=recovery_names(database.database, started_at),
        policy=_policy(lose_at_most_minutes, take_at_most_minutes, may_lose_data=may_lose_data),
        insist=what_happened == "damaged",
        applications=(*kubernetes, *pgbouncers, *commands),
        backup_id=backup_id,
        since=damaged_since,
        dry_run=dry_run,
        keep_lost_rows=keep_lost_rows,
        patience=timedelta(minutes=approval_minutes),
        rds=rds,
    )
    return carry_out_recovery(case, started_at)


def _policy(lose_at_most: int | None, take_at_most: int | None, *, may_lose_data: bool) -> RecoveryPolicy:
    """What the form allows; times in minutes."""
    return RecoveryPolicy(
        may_lose_data=may_lose_data, max_rpo=_minutes(lose_at_most), max_rto=_minutes(take_at_most), ways=WAYS
    )


def _minutes(number: int | None) -> timedelta | None:
    return None if number is None else timedelta(minutes=number)


def carry_out_recovery(case: RecoveryCase, started_at: datetime) -> RecoveryReport:
    """The whole procedure, inside a flow; the report comes in a Failed state when the database is not recovered."""
    with keep_journal(progress_artifact("recovery-progress", total=STEPS, what="Progress of the recovery")):
        report = recover_database(case, started_at)
    if report.outcome in GOOD:
        return report
    # A flow that returns a state ends in that state; the report travels as its data.
    return cast("RecoveryReport", failed(f"{report.outcome.value}: {report.reasons[0]}", report))


def recover_database(case: RecoveryCase, started_at: datetime) -> RecoveryReport:
    """The whole procedure, its steps in the journal that the caller keeps; the report says how it ended.

    Raises:
        LockTimeoutError: Another recovery of this database runs.
    """
    book, before = EvidenceBook(), len(steps_so_far())
    # A dry run changes nothing, and need not wait for anybody.
    with nullcontext() if case.dry_run else one_recovery(case.database):
        is_open = recover_noting(case, book)
        if case.keep_lost_rows and book.evidence.kept_as and is_open:
            _salvage(case, book, started_at)
    report = make_report(case, book.evidence, started_at, steps_so_far()[before:])
    publish_recovery(report)
    return report


def recover_noting(case: RecoveryCase, book: EvidenceBook) -> bool:
    """Everything up to letting clients in again; the book has what was found, also when that was not reached.

    Args:
        case: What is recovered, with what; the caller holds `one_recovery` of it where others may recover it, too.
        book: Where everything is noted.

    Returns:
        Whether clients are in again; else what was shut stays so, and the book says why.
    """
    try:
        if case.rds is not None and not case.dry_run:
            finish_earlier_swap(case.store, case.rds)
        activity = note_activity(case.database)
        backup = find_backup(case.database, case.store, backup_id=case.backup_id, before=case.since)
        book.note(backup=backup, noticed_at=now())
        earlier = None if case.dry_run else _shut(case, book)
        assessment = assess_damage(
            case.database,
            backup,
            *case.folders,
            activity=activity,
            since=case.since,
            by_migration=case.by_migration,
        )
        book.note(assessment=assessment)
        means = look_for_means(case.database, case.store, *case.folders)
        if case.rds is not None:
            means = look_for_cloud(case.rds, means, struck=assessment.disaster_at)
        means = look_for_point(case.database, case.store, means, struck=assessment.disaster_at)
        plan = decide_recovery(assessment, means, now=now(), policy=case.policy, insist=case.insist)
        book.note(plan=plan)
        if case.dry_run:
            _look_again(case, book)
            return False
        if plan.is_needed:
            take_ways_back(case, book, backup, assessment, means)
        elif earlier is not None:
            _finish(case, book, earlier, assessment)
        fences = take_down_fences(case.database, case.applications, holder=case.holder)
        book.note(fences=fences, recovered_at=now() if book.evidence.verified else None)
    except SquizzleError as exc:
        book.note(error=exc.in_one_line)
        _look_again(case, book)
        return False
    return True


def _shut(case: RecoveryCase, book: EvidenceBook) -> KeptDatabase | None:
    """Put up every fence; returns what an earlier run of this recovery swapped in and did not come to verify.

    An application that cannot be shut does not end the recovery as long as the database itself is: nobody writes then.
    """
    try:
        fences = put_up_fences(case.database, case.applications, holder=case.holder, reason=run_name())
    except FencingFailedError as exc:
        fences = look_at_fences(case.database, case.applications)
        if fences[-1].state is not FenceState.FENCED or held_since(fences, case.holder) is None:
            raise
        book.note_failure(f"not every application is shut, though the database is: {exc.message}")
    book.note(fences=fences)
    since = held_since(fences, case.holder)
    return None if since is None else find_switch_over(case.database, since=since)


def _finish(case: RecoveryCase, book: EvidenceBook, earlier: KeptDatabase, assessment: Assessment) -> None:
    """What a killed run had still to do after its switch-over: compare, and let sequences go on.

    Raises:
        CouldNotVerifyError, RecoveryError: It is not what was swapped in; clients stay out.
    """
    book.note(kept_as=earlier.name)
    if assessment.comparison.is_equal:
        verified = f"every table has the rows of backup {assessment.since}"
    else:
        verify_swapped(case.database)
        verified = f"every row is as it was when {earlier.replaced_by} was made"
    book.note(sequences=move_sequences(case.database, damaged=earlier.name), verified=verified)


def _look_again(case: RecoveryCase, book: EvidenceBook) -> None:
    """What is shut now, by this recovery or anybody else, so that the report says nothing else."""
    try:
        book.note(fences=look_at_fences(case.database, case.applications))
    except SquizzleError as exc:
        book.note_failure(f"what is shut now could not be seen: {exc.message}")


def _salvage(case: RecoveryCase, book: EvidenceBook, started_at: datetime) -> None:
    """After clients are in: what only the damaged database has. Its failure makes the recovery no worse."""
    backup = book.evidence.backup
    try:
        found = salvage_rows(
            case.database,
            damaged=book.evidence.kept_as,
            salvage_id=f"{started_at:%Y%m%dt%H%M%S}",
            backup_id=backup.id if backup else "",
        )
        book.note(salvage=found)
    except SquizzleError as exc:
        book.note_failure(f"rows of the damaged database were not kept: {exc.message}")
