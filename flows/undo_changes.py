"""The undo: what chosen transactions did to logged tables is taken back; shown first, and then exactly that."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import AwareDatetime

from blocks import PostgresDatabase
from blocks.references import refuse_inline
from flows.forms import shown
from flows.run_names import run_named
from squizzle import __version__
from squizzle.recovery.undo.records import UndoReport
from tasks.outcome import ends_in_our_words
from tasks.reporting import progress_artifact, publish_undo
from tasks.steps import keep_journal
from tasks.undo import find_point, plan_rows, undo_request, undo_rows

STEPS = 3

DESCRIPTION = """\
Takes back what was done to tables of the change log since a time or a version; what others wrote later stays.

1. with *Dry run* on: finds out what would change and which rows stay in conflict, and publishes it with its **plan**
2. with *Dry run* off and that plan: does exactly this, in one transaction, every row compared before it is committed

Without the plan of a dry run, or when something changed since, nothing is done. Writers of these tables wait while it
works, readers do not. It is in the change log itself, so it can be undone.
"""

Database = Annotated[PostgresDatabase, shown(title="Database", description="Where it happened.")]
Tables = Annotated[
    list[str],
    shown(title="Tables", min_length=1, description="Logged tables, or schema.table: all that belong together."),
]
Since = Annotated[AwareDatetime | None, shown(title="Since", description="Transactions that changed anything since.")]
Version = Annotated[
    str, shown(title="Since version", description="Instead of a time: since this migration began to be applied.")
]
Transactions = Annotated[
    list[int], shown(title="Transactions", description="Only these, as the change log numbers them. None: all.")
]
Roles = Annotated[list[str], shown(title="Roles", description="Only transactions of these roles. None: all.")]
Applications = Annotated[
    list[str], shown(title="Applications", description="Only those with this application_name. None: all.")
]
DryRun = Annotated[bool, shown(title="Dry run", description="On: show what would change, and change nothing.")]
Plan = Annotated[
    str, shown(title="Plan", description="From the report of the dry run; needed when Dry run is off, and only then.")
]


@flow(
    name="undo-changes",
    flow_run_name=run_named("undo changes of {tables} in {database}"),
    description=DESCRIPTION,
    persist_result=False,
    version=__version__,
)
@ends_in_our_words
def undo_changes(  # noqa: PLR0913 - one argument a field of the form
    database: Database,
    tables: Tables,
    since: Since = None,
    since_version: Version = "",
    *,
    transactions: Transactions = [],  # noqa: B006 - a form needs a default; nobody changes it
    roles: Roles = [],  # noqa: B006 - same
    applications: Applications = [],  # noqa: B006 - same
    dry_run: DryRun = True,
    plan: Plan = "",
) -> UndoReport:
    """Show what undoing would do, or do exactly what was shown.

    Args:
        database: Where.
        tables: Which.
        since: Transactions that changed anything at or after it.
        since_version: Since this version began to be applied.
        transactions: Only these.
        roles: Only those of these roles.
        applications: Only those with these names.
        dry_run: Whether nothing is changed.
        plan: The digest that a dry run printed.

    Returns:
        What would be, or was, done.
    """
    refuse_inline(database)
    with keep_journal(progress_artifact("undo-progress", total=STEPS, what="Progress of the undo")):
        point = find_point(database, since=since, version=since_version)
        request = undo_request(
            database, tables, point, transactions=transactions, roles=roles, applications=applications
        )
        report = plan_rows(database, request) if dry_run else undo_rows(database, request, plan=plan)
        publish_undo(report, database.database)
    return report
