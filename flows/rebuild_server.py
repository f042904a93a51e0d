"""The rebuild: a server is lost, and its roles and databases come back on an empty one from nothing but its store."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, cast

from prefect import flow

from blocks import BackupBucket, BackupFolder, PostgresDatabase
from blocks.references import refuse_inline
from flows.forms import shown
from flows.run_names import run_named
from squizzle import __version__
from squizzle.recovery.rebuild.records import RebuildReport
from squizzle.reports.rebuild import rebuild_summary
from tasks.outcome import ends_in_our_words, failed
from tasks.rebuilding import find_saved, rebuild_it
from tasks.reporting import progress_artifact, publish_rebuild
from tasks.steps import keep_journal, now

STEPS = 3

DESCRIPTION = """\
Brings a lost server back on a new, empty one, when its store is all that is left.

1. finds the newest usable backup of each database, and the roles; says what nobody saved
2. makes the roles that are missing, with their passwords
3. restores every database and compares it row by row; one that fails lets nobody in, and the others come back

What is there is not touched, so a run that was killed is started again. Settings of the server and `pg_hba.conf` are in
no backup: set them first.
"""

Server = Annotated[
    PostgresDatabase,
    shown(title="New server", description="Any database of the new, empty server; the account makes roles."),
]
Store = Annotated[BackupFolder | BackupBucket, shown(title="Store", description="What is left of the lost one.")]
Cluster = Annotated[
    str,
    shown(title="Lost cluster", description="Its system identifier. Empty: the store has backups of one server alone."),
]
DryRun = Annotated[bool, shown(title="Dry run", description="Only say what would be restored from what.")]


@flow(
    name="rebuild-server",
    flow_run_name=run_named("rebuild the server of {server} from {store}"),
    description=DESCRIPTION,
    persist_result=False,
    version=__version__,
)
@ends_in_our_words
def rebuild_server(server: Server, store: Store, cluster: Cluster = "", *, dry_run: DryRun = True) -> RebuildReport:
    """Rebuild a lost server on an empty one from its store; nothing that is there is touched.

    Args:
        server: The new server, by any of its databases; the account makes roles and databases.
        store: What is left of the lost one.
        cluster: The lost one's system identifier; empty where the store has backups of one server alone.
        dry_run: Only say what would be restored from what. Begin with this.

    Returns:
        The report; inside a Failed state when a database is not there as it was saved.
    """
    refuse_inline(server, store)
    started_at = now()
    with keep_journal(progress_artifact("rebuild-progress", total=STEPS, what="Progress of the rebuild")) as journal:
        saved = find_saved(server, store, cluster=cluster)
        done = None if dry_run else rebuild_it(server, store, saved)
        report = RebuildReport(where=server.access().where, saved=saved, started_at=started_at, done=done)
        report = replace(report, steps=journal.steps, duration=now() - started_at)
        publish_rebuild(report)
    if report.done is None or report.done.is_whole:
        return report
    # A flow that returns a state ends in that state; the report travels as its data.
    return cast("RebuildReport", failed(rebuild_summary(report), report))
