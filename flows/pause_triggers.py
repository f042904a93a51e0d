"""The remedy for triggers that cost too much in an emergency: off for a while, back as they were, and compared."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Annotated, cast

from prefect import flow

from blocks import PostgresDatabase
from blocks.references import refuse_inline
from flows.forms import shown
from flows.run_names import run_named
from squizzle import __version__
from squizzle.health.trigger_plan import LONGEST
from squizzle.health.triggers import Resumed
from squizzle.reports.triggers import PauseReport, pause_question
from tasks.approval import gate
from tasks.outcome import ends_in_our_words, failed
from tasks.reporting import progress_artifact, publish_pause
from tasks.steps import keep_journal
from tasks.triggers import pause_triggers_of, plan_triggers, put_back, put_back_overdue, see_overdue, wait_for_end

STEPS = 9

DESCRIPTION = """\
Switches off triggers of a table for a while, by name, and puts them back exactly as they were.

1. puts back what an earlier run left off for too long, and compares; when rows break a key, it ends here
2. says what each trigger that is meant does, and what it means that it does not
3. **dry run** (the default) stops here; otherwise the run pauses until a person approves this very plan
4. switches off and notes it in one transaction, then waits; it ends earlier when somebody puts them back
5. puts them back, and looks for rows that break a foreign key that was off; such rows fail the run

It never switches off all triggers, nor those of the change log; foreign keys only when *Foreign keys* is ticked.
"""

Database = Annotated[PostgresDatabase, shown(title="Database", description="The database of the table.")]
Table = Annotated[str, shown(min_length=1, title="Table", description="TABLE or SCHEMA.TABLE.")]
Why = Annotated[str, shown(min_length=1, title="Reason", description="Why; it is noted in the database.")]
Names = Annotated[tuple[str, ...], shown(title="Triggers", description="Names of the triggers to switch off.")]
Keys = Annotated[
    bool,
    shown(
        title="Foreign keys",
        description="Switch off the table's foreign keys, too, those to it among them. It takes a superuser.",
    ),
]
Minutes = Annotated[
    int,
    shown(ge=1, le=int(LONGEST / timedelta(minutes=1)), title="Minutes", description="For so long they are off."),
]
DryRun = Annotated[bool, shown(title="Dry run", description="Only show what would be switched off.")]
Patience = Annotated[
    int, shown(ge=1, le=1440, title="Approval minutes", description="After so long without an answer the run ends.")
]


@flow(
    name="pause-triggers",
    flow_run_name=run_named("pause triggers of {table} of {database}"),
    description=DESCRIPTION,
    persist_result=False,
    version=__version__,
)
@ends_in_our_words
def pause_triggers(
    database: Database,
    table: Table,
    reason: Why,
    *,
    triggers: Names = (),
    foreign_keys: Keys = False,
    minutes: Minutes = 30,
    dry_run: DryRun = True,
    approval_minutes: Patience = 60,
) -> PauseReport:
    """Switch triggers off for a while and back on; no row is changed.

    A run that is killed leaves them off, with their notes: the next run, or `squizzle triggers resume`, puts them back.

    Args:
        database: Which database.
        table: Which table.
        reason: Why.
        triggers: Which triggers, by name.
        foreign_keys: Whether its foreign keys are switched off, too.
        minutes: For how long.
        dry_run: Whether only the plan is shown.
        approval_minutes: How long to wait for a person.

    Returns:
        What was switched off, put back and compared; inside a Failed state when rows break a key.
    """
    refuse_inline(database)
    with keep_journal(progress_artifact("triggers-progress", total=STEPS, what="Progress of the pause")):
        left = see_overdue(database)
        overdue = put_back_overdue(database) if left and not dry_run else Resumed()
        plan = plan_triggers(database, table, triggers, foreign_keys=foreign_keys, minutes=minutes, why=reason)
        report = PauseReport(database=database.database, plan=plan, overdue=overdue, left=left if dry_run else ())
        if not (dry_run or report.problems):
            gate(
                pause_question(database.database, plan), database=database, timeout=timedelta(minutes=approval_minutes)
            )
            try:
                paused = pause_triggers_of(database, plan)
                wait_for_end(database, paused)
            finally:
                # Also when switching off seems to have failed: its transaction may have been committed.
                resumed = put_back(database, plan)
            report = replace(report, paused=paused, resumed=resumed)
        publish_pause(report)
    if not report.problems:
        return report
    # A flow that returns a state ends in that state; what was done travels as its data.
    return cast("PauseReport", failed(report.problems[0], report))
