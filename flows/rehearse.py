"""The rehearsal: pending versions forward, back and forward again on a copy of the data, and certificates of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, cast

from prefect import flow

from blocks import BackupBucket, BackupFolder, PostgresDatabase
from blocks.references import refuse_inline
from flows.forms import shown
from flows.run_names import run_named
from squizzle import __version__
from squizzle.backups.records import Backup
from squizzle.rehearsal.records import Certificate, CertificateVerdict
from squizzle.rehearsal.rehearse import RehearsalPlan
from squizzle.rehearsal.report import RehearsalReport
from squizzle.reports.rehearsal import rehearsal_summary
from tasks.backups import take_backup
from tasks.outcome import ends_in_our_words, failed
from tasks.rehearsal import (
    certify,
    choose,
    come_to,
    course_of,
    foresee,
    look_at_target,
    measure,
    opened_place,
    rehearse_one,
)
from tasks.rehearsal_case import RehearsalCase
from tasks.reporting import progress_artifact, publish_rehearsal
from tasks.steps import keep_journal, now

STEPS = 9

DESCRIPTION = """\
Proves a migration and its way back on a copy of the data; writes a certificate: *proven*, *failed*, *inconclusive*.

1. looks which versions are pending; the database itself is only read
2. takes the newest fresh backup, or makes one; restores it to a scratch place; compares every row
3. carries out the ways back that need no script there, and measures them
4. each version: apply it with every lock traced, take it back, compare schema and rows, apply it again
5. writes the certificate beside the backup, and says who would wait if it ran now

A rollout to production asks for it. The copy is dropped at the end, also after a kill.
"""

Database = Annotated[
    PostgresDatabase, shown(title="Database", description="Which one the migrations are meant for. It is only read.")
]
Store = Annotated[
    BackupFolder | BackupBucket, shown(title="Store", description="Where its backups are, and its certificates.")
]
Migrations = Annotated[Path, shown(title="Migrations", description="The folder with the versions, on the worker.")]
Version = Annotated[str, shown(title="Version", description="One pending version. Empty: every pending one, in order.")]
BackupId = Annotated[
    str,
    shown(title="Backup", description="Its id. Empty: the newest that is fresh and intact, else a new one is taken."),
]
MaxAge = Annotated[
    int,
    shown(ge=0, le=8760, title="Max backup age", description="Hours; an older backup does not count. 0: a new one."),
]
Scratch = Annotated[
    PostgresDatabase | None,
    shown(
        title="Scratch server",
        description="A server of the same major version for the copy. Empty: one is started on the worker.",
    ),
]
Mask = Annotated[
    Path | None,
    shown(title="Mask", description="A file of SQL that masks the copy before anything else reads it. Empty: none."),
]
Workload = Annotated[
    Path | None,
    shown(title="Workload", description="A file of queries whose plans and times are compared. Empty: none."),
]
TopQueries = Annotated[
    int,
    shown(
        ge=0,
        le=500,
        title="Top queries",
        description="So many of the costliest queries of the database are compared, too (pg_stat_statements).",
    ),
]
MayGrow = Annotated[
    list[str],
    shown(title="May grow", description="Logs, as schema.table: rows more after a rollback are noted, and no damage."),
]
PointInTime = Annotated[
    bool, shown(title="Point in time", description="Carry out and measure a recovery to a point in time, too.")
]
SigningKey = Annotated[
    str,
    shown(
        title="Signing key variable",
        description="The worker's variable with the key that certificates are signed with. Empty: not signed.",
    ),
]
Budget = Annotated[
    int, shown(ge=1, le=1440, title="Budget minutes", description="How long one script may take on the copy.")
]


@flow(
    name="rehearse",
    flow_run_name=run_named("rehearse {version} for {database}"),
    description=DESCRIPTION,
    persist_result=False,
    version=__version__,
)
@ends_in_our_words
def rehearse(  # noqa: PLR0913 - each is a field of the form
    database: Database,
    store: Store,
    migrations: Migrations,
    version: Version = "",
    backup_id: BackupId = "",
    *,
    max_backup_age_hours: MaxAge = 24,
    scratch_server: Scratch = None,
    mask: Mask = None,
    workload: Workload = None,
    top_queries: TopQueries = 0,
    may_grow: MayGrow = [],  # noqa: B006 - a form needs a default; nobody changes it
    point_in_time: PointInTime = False,
    budget_minutes: Budget = 60,
    signing_key_env: SigningKey = "",
) -> RehearsalReport:
    """Prove pending versions and their ways back on a copy of the data.

    Args:
        database: Which database the migrations are meant for. It is only read.
        store: Where its backups are, and where the certificates go.
        migrations: The folder with the versions, on the worker.
        version: One pending version; those before it are applied to the copy first. Empty for every pending one.
        backup_id: The backup to restore. Empty for the newest that is fresh and intact, else a new one is taken.
        max_backup_age_hours: An older backup does not count; 0 takes a new one.
        scratch_server: A server of the same major version for the copy. Empty: one is started on the worker.
        mask: A file of SQL that masks the copy before anything else reads it.
        workload: A file of queries whose plans and times are compared before and after.
        top_queries: So many of the costliest queries of the database are compared, too (pg_stat_statements).
        may_grow: Logs of what is done, as schema.table: rows more after a rollback are noted, and are no damage.
        point_in_time: Carry out and measure a recovery to a point in time, too; it needs a copy of the cluster.
        budget_minutes: How long one script may take on the copy.
        signing_key_env: The worker's variable with the key that certificates are signed with.

    Returns:
        The report; inside a Failed state unless every version is proven.
    """
    refuse_inline(database, store, scratch_server)
    case = RehearsalCase(
        database=database,
        store=store,
        folder=migrations,
        version=version,
        backup_id=backup_id,
        max_backup_age=timedelta(hours=max_backup_age_hours),
        scratch=scratch_server,
        mask=mask,
        workload=workload,
        with_point_in_time=point_in_time,
        budget=timedelta(minutes=budget_minutes),
        signing_key_env=signing_key_env or None,
        top_queries=top_queries,
        may_grow=tuple(may_grow),
    )
    report = carry_out_rehearsal(case, now())
    if report.verdict is CertificateVerdict.PROVEN:
        return report
    # A flow that returns a state ends in that state; the report travels as its data.
    return cast("RehearsalReport", failed(rehearsal_summary(report), report))


def carry_out_rehearsal(case: RehearsalCase, started_at: datetime) -> RehearsalReport:
    """The order of the steps, for the flow and for the command."""
    with keep_journal(
        progress_artifact("rehearsal-progress", total=STEPS, what="Progress of the rehearsal")
    ) as journal:
        plan = look_at_target(case)
        backup = choose(case, plan).backup or take_backup(case.database, case.store)
        certificates = _certificates(case, plan, backup)
        forecast = foresee(case, backup, certificates)
        report = RehearsalReport(
            database=plan.target.database,
            started_at=started_at,
            duration=now() - started_at,
            backup=backup,
            versions=plan.versions,
            certificates=certificates,
            forecast=forecast,
            steps=journal.steps,
            fleet=plan.target.expected.fleet or "",
        )
        publish_rehearsal(report)
    return report


def _certificates(case: RehearsalCase, plan: RehearsalPlan, backup: Backup) -> tuple[Certificate, ...]:
    """A certificate of each version, in order; none behind one that cannot be gone on from."""
    done: list[Certificate] = []
    with opened_place(case, plan, backup) as place:
        ways = measure(case, plan, place)
        course = course_of(case, plan, place)
        with place.fresh() as work:
            before, earlier = come_to(course, work, plan), plan.earlier
            for version in plan.versions:
                result = rehearse_one(course, work, version, earlier, before)
                done.append(certify(case, plan, course, result, ways))
                if result.after is None:
                    break
                before, earlier = result.after, (*earlier, version)
    return tuple(done)
