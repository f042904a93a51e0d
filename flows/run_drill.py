"""The disaster drill: break a copy of the example company on purpose, get it back, and prove that it is back."""

from __future__ import annotations

from typing import Annotated, cast
from uuid import uuid4

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Failed

from blocks import BackupBucket, BackupFolder, PostgresDatabase
from blocks.references import refuse_inline
from flows.forms import shown
from flows.ways_back import take_ways_back
from squizzle.backups.records import Backup
from squizzle.errors import SquizzleError
from squizzle.recovery.drill import DrillReport, DrillScenario, DrillVerdict, judge_drill
from squizzle.recovery.evidence import EvidenceBook
from squizzle.recovery.recovery import RecoveryNames
from squizzle.recovery.ways import RecoveryPolicy
from tasks.backups import damage_backup, take_backup
from tasks.migrations import apply_migrations, play_data_loss
from tasks.recovery import (
    assess_damage,
    fence_database,
    look_for_means,
    read_as_application,
    unfence_database,
    verify_database,
)
from tasks.recovery_case import WAYS, RecoveryCase
from tasks.reporting import progress_artifact, publish_report
from tasks.scratch import (
    EXAMPLE,
    DrillPlace,
    clean_up,
    drill_place,
    load_shop_data,
    make_shop_database,
    write_more_orders,
)
from tasks.steps import keep_journal, now
from tasks.watched import Sign, give_sign

MIGRATIONS = EXAMPLE / "migrations"
DISASTER = EXAMPLE / "disasters" / "data_loss"
STEPS = 20
LATE_ORDERS = 25

DESCRIPTION = """\
Plays a disaster on a database of its own and recovers from it with the procedure of a real emergency.

1. makes a database, applies the example's migrations, loads data, takes a backup with fingerprints
2. applies a migration that drops the `users` table
3. fences, assesses, tries the down script, restores the backup beside, compares every table, switches over by rename
4. compares again, lets clients in, and reports what it cost: **RTO** and **RPO**, measured

It never touches a database that it did not make, and refuses a production server. It ends with **pass**, **fail** or
**could not verify**; a check that did not run never counts as passed.
"""

Disaster = Annotated[
    DrillScenario, shown(title="Scenario", description="Which disaster is played, and recovered from.")
]
Scale = Annotated[
    float, shown(gt=0, le=100, title="Scale", description="1 is about 200,000 rows; 10 is about 2,000,000.")
]
Server = Annotated[
    PostgresDatabase | None,
    shown(title="Server", description="Empty: an embedded PostgreSQL that ends with the drill. Never production."),
]
Store = Annotated[
    BackupFolder | BackupBucket | None,
    shown(title="Store", description="Where its backup goes. Empty: a folder that goes with the drill."),
]


@flow(name="drill", flow_run_name="drill {scenario} at scale {scale}", description=DESCRIPTION, persist_result=False)
def run_drill(
    scenario: Disaster = DrillScenario.DATA_LOSS, scale: Scale = 1.0, server: Server = None, store: Store = None
) -> DrillReport:
    """Play one disaster and recover from it; nothing but the drill's own databases is touched.

    Args:
        scenario: The disaster.
        scale: Size of the example's data; 1 is about 200,000 rows.
        server: Where to play; None starts an embedded PostgreSQL.
        store: Where the backup goes; None uses a folder that goes with the drill.

    Returns:
        The report; inside a Failed state when the verdict is not `pass`.
    """
    refuse_inline(server, store)
    run_id = str(flow_run.id or uuid4()).replace("-", "")[:8]
    started_at = now()
    book = EvidenceBook()
    with keep_journal(progress_artifact("drill-progress", total=STEPS)) as journal:
        with drill_place(run_id, server=server, store=store) as place:
            try:
                backup = _set_the_stage(place, book, scale)
                _strike(place, book, backup, scenario)
                _recover(place, book, backup)
            except SquizzleError as exc:
                book.note(error=exc.message)
            leftovers = clean_up(place)
            version = place.server_version
        verdict, reasons = judge_drill(book.evidence)
        report = DrillReport(
            run_id=run_id,
            scenario=scenario,
            verdict=verdict,
            reasons=reasons,
            started_at=started_at,
            server_version=version,
            steps=journal.steps,
            evidence=book.evidence,
            leftovers=leftovers,
        )
        publish_report(report)
    if verdict is DrillVerdict.PASS:
        give_sign(Sign.DRILLED, scenario.value)
        return report
    # A flow that returns a state ends in that state; the report travels as its data.
    return cast("DrillReport", Failed(message=f"{verdict.value}: {reasons[0]}", data=report))


def _set_the_stage(place: DrillPlace, book: EvidenceBook, scale: float) -> Backup:
    """A shop that works, with a backup."""
    make_shop_database(place)
    apply_migrations(place.database, MIGRATIONS)
    load_shop_data(place, scale=scale)
    backup = take_backup(place.database, place.store)
    book.note(backup=backup)
    return backup


def _strike(place: DrillPlace, book: EvidenceBook, backup: Backup, scenario: DrillScenario) -> None:
    """Disaster."""
    book.note(steady=write_more_orders(place, orders=LATE_ORDERS))
    if scenario is DrillScenario.BROKEN_BACKUP:
        damage_backup(place.store, backup)
    play_data_loss(place.database, MIGRATIONS, DISASTER)
    book.note(disaster_at=now())


def _recover(place: DrillPlace, book: EvidenceBook, backup: Backup) -> None:
    """The procedure of a real emergency."""
    case = RecoveryCase(
        database=place.database,
        store=place.store,
        folders=(MIGRATIONS, DISASTER),
        names=RecoveryNames(restored=place.names.restored, kept=place.names.kept),
        policy=RecoveryPolicy(may_lose_data=True, ways=WAYS),
    )
    book.note(noticed_at=now())
    fence_database(place.database)
    assessment = assess_damage(place.database, backup, *case.folders)
    book.note(assessment=assessment)
    take_ways_back(case, book, backup, assessment, look_for_means(place.database, place.store, *case.folders))
    book.note(final=verify_database(place.database, backup))
    unfence_database(place.database)
    book.note(recovered_at=now())
    role = place.names.application
    book.note(application_reads=read_as_application(place.database, role=role, table="users"))
