"""A damaged cluster: examined on a copy, and a database made of what could be read."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from blocks import BackupBucket, BackupFolder, PostgresDatabase
from squizzle.recovery.corruption.copying import Source
from squizzle.recovery.corruption.examine import Wish, evidence_folder, examine
from squizzle.recovery.corruption.loading import load_salvage
from squizzle.recovery.corruption.records import Examination, Loaded
from squizzle.reports.corruption import corruption_summary
from tasks.steps import log_line, now, step


@step("Examine a copy of the cluster", timeout=timedelta(hours=24), detail=corruption_summary)
def examine_copy(
    database: PostgresDatabase,
    *,
    data_folder: str,
    evidence: Path,
    keep_copy: bool,
    with_rest: bool,
    store: BackupFolder | BackupBucket | None,
) -> Examination:
    """Copy, keep the evidence, save what can be read; the original is only read."""
    at = now()
    source = Source(
        access=database.access(),
        database=database.database,
        data_folder=Path(data_folder) if data_folder else None,
    )
    folder = evidence_folder(evidence, database.database, at)
    wish = Wish(folder=folder, with_rest=with_rest, keep_copy=keep_copy, store=store.open() if store else None)
    return examine(source, database.target(), wish, now=at, say=log_line)


@step("Make a database of it", timeout=timedelta(hours=24), detail=lambda loaded: loaded.database)
def make_database(into: PostgresDatabase, found: Examination, *, name: str) -> Loaded:
    """A new database on a server that was named for it; nothing else is changed there."""
    return load_salvage(into.access(), found, name, say=log_line)
