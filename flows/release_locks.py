"""The remedy for a locked database: who blocks whom, whom to end, a person's yes, and who waits now."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, cast

from prefect import flow

from blocks import PostgresDatabase
from blocks.references import refuse_inline
from flows.forms import shown
from flows.run_names import run_named
from squizzle import __version__
from squizzle.health.release import Release
from squizzle.health.release_plan import BACKUP_PROGRAMS, ReleasePolicy, plan_release
from squizzle.reports.locks import release_question
from tasks.approval import gate
from tasks.health import end_blockers, see_locks
from tasks.outcome import ends_in_our_words, failed
from tasks.reporting import progress_artifact, publish_release
from tasks.steps import keep_journal

STEPS = 6

DESCRIPTION = """\
Ends sessions that hold up others, and nobody else.

1. shows who waits for whom: a tree with queries, ages, lock modes and tables
2. decides whom to end: idle transactions beyond a limit, then, if a limit is given, blockers that work
3. **dry run** (the default) stops here; otherwise the run pauses until a person approves this very plan
4. ends them, each only if it is still what it was: a query is cancelled before a connection is ended
5. looks again, and says who waits now

It never ends superusers, replication, autovacuum against wraparound, processes of the server, or runs of Squizzle.
"""

Database = Annotated[PostgresDatabase, shown(title="Database", description="Which database is locked.")]
Idle = Annotated[
    int, shown(ge=0, le=10080, title="Idle minutes", description="Transactions idle for longer are ended.")
]
Blockers = Annotated[
    int,
    shown(
        ge=0,
        le=10080,
        title="Blocker minutes",
        description="Blockers that work are ended when their transaction is older. 0: never.",
    ),
]
Waiting = Annotated[
    int, shown(ge=0, le=3600, title="Waiting seconds", description="Nobody is ended for somebody who waits less.")
]
Only = Annotated[
    tuple[str, ...], shown(title="Only", description="Patterns of application names, such as worker-*. Empty: all.")
]
Spare = Annotated[
    tuple[str, ...], shown(title="Spare", description="Patterns of application names that are never ended.")
]
DryRun = Annotated[bool, shown(title="Dry run", description="Only show what would be done.")]
Patience = Annotated[
    int, shown(ge=1, le=1440, title="Approval minutes", description="After so long without an answer the run ends.")
]


@flow(
    name="release-locks", flow_run_name=run_named("release locks of {database}"), description=DESCRIPTION,
    persist_result=False, version=__version__,
)  # fmt: skip
@ends_in_our_words
def release_locks(
    database: Database,
    *,
    dry_run: DryRun = True,
    idle_minutes: Idle = 5,
    blocker_minutes: Blockers = 0,
    waiting_seconds: Waiting = 5,
    only: Only = (),
    spare: Spare = BACKUP_PROGRAMS,
    approval_minutes: Patience = 60,
) -> Release:
    """End those who hold up others; sessions lose what they had not committed, no data is changed.

    Args:
        database: Which database.
        dry_run: Whether only the plan is shown.
        idle_minutes: Transactions idle for longer are ended.
        blocker_minutes: Blockers that work are ended when their transaction is older; 0 for never.
        waiting_seconds: Nobody is ended for somebody who has waited less.
        only: Patterns of the only application names that are ended; empty for all.
        spare: Patterns of application names that are never ended.
        approval_minutes: How long to wait for a person.

    Returns:
        What was seen, decided and done; inside a Failed state when somebody did not end.
    """
    refuse_inline(database)
    policy = ReleasePolicy(
        idle_longer_than=timedelta(minutes=idle_minutes),
        blocker_longer_than=timedelta(minutes=blocker_minutes) if blocker_minutes else None,
        waiting_longer_than=timedelta(seconds=waiting_seconds),
        applications=only,
        spare=spare,
    )
    with keep_journal(progress_artifact("release-progress", total=STEPS, what="Progress of releasing locks")):
        done = carry_out_release(database, policy, dry_run=dry_run, patience=timedelta(minutes=approval_minutes))
        publish_release(done)
    if not done.failures:
        return done
    # A flow that returns a state ends in that state; what was done travels as its data.
    return cast("Release", failed(done.failures[0].sentence(), done))


def carry_out_release(
    database: PostgresDatabase, policy: ReleasePolicy, *, dry_run: bool, patience: timedelta
) -> Release:
    """Look, decide, ask, and end those who hold up others; inside a flow.

    Args:
        database: Which database.
        policy: What may be ended.
        dry_run: Whether only the plan is made.
        patience: How long to wait for a person.

    Raises:
        RefusedError: Somebody said no, or nobody said yes; nobody was ended.
    """
    picture = see_locks(database)
    plan = plan_release(picture, policy)
    done = Release(before=picture, plan=plan)
    if plan.endings and not dry_run:
        gate(release_question(done), database=database, timeout=patience)
        done = end_blockers(database, done)
    return done
