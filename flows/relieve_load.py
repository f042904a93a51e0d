"""The remedy for an overloaded database: what weighs on it, what to do, a person's yes, and what came of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, cast

from prefect import flow

from blocks import PostgresDatabase
from blocks.references import refuse_inline
from flows.forms import shown
from flows.run_names import run_named
from squizzle import __version__
from squizzle.health.release_plan import BACKUP_PROGRAMS
from squizzle.health.relief import Relief, ReliefPolicy, plan_relief
from squizzle.reports.relief import relief_question
from tasks.approval import gate
from tasks.health import relieve_database, see_what_weighs
from tasks.outcome import ends_in_our_words, failed
from tasks.reporting import progress_artifact, publish_relief
from tasks.steps import keep_journal

STEPS = 6

DESCRIPTION = """\
Relieves a database that is too busy.

1. shows long queries, queries slower than the saved baseline, tables full of dead rows, and what keeps these
2. decides: which queries to cancel, which tables to clean
3. **dry run** (the default) stops here; otherwise the run pauses until a person approves this very plan
4. cancels, then runs `VACUUM (ANALYZE)` on the worst tables, one at a time, with progress in the log; never `FULL`
5. says what came of it, and who keeps dead rows that stayed

It never cancels superusers, replication, backups, processes of the server, or runs of Squizzle.
"""

Database = Annotated[PostgresDatabase, shown(title="Database", description="Which database is too busy.")]
DryRun = Annotated[bool, shown(title="Dry run", description="Only show what would be done.")]
Longer = Annotated[
    int, shown(ge=0, le=10080, title="Query minutes", description="Queries that run for longer are cancelled. 0: none.")
]
Tables = Annotated[int, shown(ge=0, le=100, title="Tables", description="Clean so many tables at the most. 0: none.")]
Reset = Annotated[
    bool,
    shown(
        title="Reset statistics",
        description="Let the server's counters begin anew. The plan says what that breaks.",
    ),
]
Spare = Annotated[tuple[str, ...], shown(title="Spare", description="Patterns of application names never cancelled.")]
Patience = Annotated[
    int, shown(ge=1, le=1440, title="Approval minutes", description="After so long without an answer the run ends.")
]


@flow(
    name="relieve-load",
    flow_run_name=run_named("relieve {database}"),
    description=DESCRIPTION,
    persist_result=False,
    version=__version__,
)
@ends_in_our_words
def relieve_load(
    database: Database,
    *,
    dry_run: DryRun = True,
    query_minutes: Longer = 30,
    tables: Tables = 5,
    reset_statistics: Reset = False,
    spare: Spare = BACKUP_PROGRAMS,
    approval_minutes: Patience = 60,
) -> Relief:
    """Cancel long queries and clean the worst tables; no row is changed.

    Args:
        database: Which database.
        dry_run: Whether only the plan is shown.
        query_minutes: Queries that run for longer are cancelled; 0 for none.
        tables: So many tables are cleaned at the most.
        reset_statistics: Whether the server's counters begin anew.
        spare: Patterns of application names that are never cancelled.
        approval_minutes: How long to wait for a person.

    Returns:
        What was seen, decided and done; inside a Failed state when something did not work out.
    """
    refuse_inline(database)
    policy = ReliefPolicy(
        queries_longer_than=timedelta(minutes=query_minutes) if query_minutes else None,
        tables=tables,
        reset_statistics=reset_statistics,
        spare=spare,
    )
    with keep_journal(progress_artifact("relief-progress", total=STEPS, what="Progress of the relief")):
        load = see_what_weighs(database)
        plan = plan_relief(load, policy)
        done = Relief(load=load, plan=plan)
        if not (dry_run or plan.is_empty):
            question = relief_question(load, plan)
            gate(question, database=database, timeout=timedelta(minutes=approval_minutes))
            done = relieve_database(database, done)
        publish_relief(done)
    if not done.problems:
        return done
    # A flow that returns a state ends in that state; what was done travels as its data.
    return cast("Relief", failed(done.problems[0], done))
