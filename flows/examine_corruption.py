"""The remedy for damaged pages: a copy first, the evidence kept, all readable rows saved, the lost ones listed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, cast

from prefect import flow

from blocks import BackupBucket, BackupFolder, PostgresDatabase
from blocks.references import refuse_inline
from flows.forms import shown
from flows.run_names import run_named
from squizzle import __version__
from squizzle.errors import InvalidInputError
from squizzle.recovery.corruption.examine import EVIDENCE_FOLDER
from squizzle.recovery.corruption.loading import database_name
from squizzle.recovery.corruption.records import Examination, Loaded
from squizzle.reports.corruption import corruption_question
from tasks.approval import gate
from tasks.corruption import examine_copy, make_database
from tasks.outcome import ends_in_our_words, failed
from tasks.reporting import progress_artifact, publish_corruption
from tasks.steps import keep_journal

STEPS = 7

DESCRIPTION = """\
Finds damaged pages, saves what can be read around them, and says what is lost.

1. refuses to begin while something empties damaged pages in the original (`zero_damaged_pages`, `VACUUM FULL`)
2. copies the cluster as it is, and keeps that copy; everything else happens on a second one
3. checks every page and index, and keeps damaged pages as files with their SHA-256
4. saves every readable row of damaged tables, page by page; lists lost keys as the sound indexes know them, and with
   *Store* writes down what the newest backup has of them
5. **dry run** (the default) stops here; otherwise the run pauses until a person approves
6. makes a new database of everything that was saved, on the server that was chosen, and counts its rows

The original is only read. The worker needs room for two copies of the cluster.
"""

Database = Annotated[PostgresDatabase, shown(title="Database", description="Which database is damaged.")]
Into = Annotated[
    PostgresDatabase | None,
    shown(
        title="Server for the new database",
        description="A database on a sound server; the new one is made beside it, and the decision is kept in it.",
    ),
]
Store = Annotated[
    BackupFolder | BackupBucket | None,
    shown(title="Store", description="The newest backup in there is asked for the rows that cannot be read."),
]
NewName = Annotated[str, shown(max_length=63, title="New name", description="Empty: the old one with __salvaged_ …")]
DataFolder = Annotated[
    str,
    shown(title="Data folder", description="Of a server that was stopped, on the worker. Empty: the running one."),
]
Evidence = Annotated[
    str, shown(min_length=1, title="Evidence", description="The worker makes a folder for the evidence in there.")
]
KeepCopy = Annotated[bool, shown(title="Keep the copy", description="Keep the untouched copy of the cluster there.")]
DryRun = Annotated[bool, shown(title="Dry run", description="Only examine and report; make no database.")]
Patience = Annotated[
    int, shown(ge=1, le=1440, title="Approval minutes", description="After so long without an answer the run ends.")
]


@flow(
    name="examine-corruption", flow_run_name=run_named("examine {database}"), description=DESCRIPTION,
    persist_result=False, version=__version__,
)  # fmt: skip
@ends_in_our_words
def examine_corruption(  # noqa: PLR0913 - one argument a field of the form
    database: Database,
    into: Into = None,
    store: Store = None,
    *,
    dry_run: DryRun = True,
    new_name: NewName = "",
    data_folder: DataFolder = "",
    evidence: Evidence = str(EVIDENCE_FOLDER),
    keep_copy: KeepCopy = True,
    approval_minutes: Patience = 240,
) -> tuple[Examination, Loaded | None]:
    """Examine a damaged cluster on a copy; after a person's yes, make a database of what can be read.

    Args:
        database: Which database is damaged.
        into: A database on the server where the new one is made.
        store: Where its backups are.
        dry_run: Whether no database is made.
        new_name: What it is called.
        data_folder: The data folder of a server that was stopped; empty for the running one.
        evidence: Where the folder for the evidence is made.
        keep_copy: Whether the untouched copy of the cluster is kept there.
        approval_minutes: How long to wait for a person.

    Returns:
        What was found and saved, and the database that was made; inside a Failed state when something could not be
        verified.
    """
    refuse_inline(database, into, store)
    if not dry_run and into is None:
        raise InvalidInputError(
            "no server was chosen for the new database: the damaged one is never written to",
            hint="choose a block for it, best on another server; or leave Dry run on",
        )
    loaded = None
    with keep_journal(progress_artifact("corruption-progress", total=STEPS, what="Progress of the examination")):
        found = examine_copy(
            database,
            data_folder=data_folder,
            evidence=Path(evidence),
            keep_copy=keep_copy,
            with_rest=not dry_run,
            store=store,
        )
        publish_corruption(found)
        if found.saved and into is not None and not dry_run:
            name = new_name or database_name(found)
            question = corruption_question(found, f"{into.host}:{into.port}", name)
            gate(question, database=into, timeout=timedelta(minutes=approval_minutes))
            loaded = make_database(into, found, name=name)
            publish_corruption(found, loaded)
    problem = _problem(found, loaded)
    if not problem:
        return found, loaded
    # A flow that returns a state ends in that state; what was done travels as its data.
    return cast("tuple[Examination, Loaded | None]", failed(problem, (found, loaded)))


def _problem(found: Examination, loaded: Loaded | None) -> str:
    if found.doubts:
        return f"{found.database}: not everything could be verified: {found.doubts[0]}"
    if loaded is not None and not loaded.is_whole:
        return f"{loaded.database} does not hold every row that was saved"
    return ""
