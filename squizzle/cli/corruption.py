"""The verb about damaged pages."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from squizzle.cli.backups import store_of
from squizzle.cli.names import backup_ids
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import JsonDocument, print_result, say
from squizzle.errors import CouldNotVerifyError
from squizzle.postgres.access import parse_url
from squizzle.recovery.corruption.copying import Source
from squizzle.recovery.corruption.examine import EVIDENCE_FOLDER, REPORT_FILE, Wish, evidence_folder, examine
from squizzle.recovery.corruption.loading import load_salvage
from squizzle.recovery.corruption.records import DamagedRelation, Examination, Loaded, SavedTable
from squizzle.recovery.corruption.scanning import write_file
from squizzle.reports.corruption import corruption_markdown, corruption_summary

_DAMAGED = 1


@click.command()
@click.option(
    "--data",
    "data_folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The data folder of a server that was stopped; else the running one is copied.",
)
@click.option(
    "--evidence",
    type=click.Path(path_type=Path, file_okay=False),
    default=EVIDENCE_FOLDER,
    show_default=True,
    help="A folder for evidence is made in there.",
)
@click.option("--keep-copy/--no-copy", default=True, help="Keep the untouched copy of the cluster as evidence.")
@click.option("--into", metavar="URL", help="Make this new database of what can be read; best on another server.")
@click.option("--store", "address", metavar="URL", help="Ask the newest backup in there for what is not readable.")
@click.option(
    "--backup",
    "backup_id",
    default="",
    metavar="ID",
    help="Ask this one; without --store: [backups] store.",
    shell_complete=backup_ids,
)
@common_options
def corruption(
    invocation: Invocation,
    data_folder: Path | None,
    evidence: Path,
    *,
    keep_copy: bool,
    into: str | None,
    address: str | None,
    backup_id: str,
) -> int:
    """Find damaged pages on a copy of the cluster, keep them, save all readable rows, and list the lost ones.

    The original is only read. Exit codes: 0 nothing is damaged, 1 something is, 10 something could not be verified.

    \b
    Examples:
      squizzle corruption --env production
      squizzle corruption --env production --into postgresql://postgres@sound-host/shop_salvaged
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    access, target = invocation.target()
    new = parse_url(into) if into else None
    if new is not None:
        invocation.confirm(f"make the database {new[1]} on {new[0].where}", target, None)
    now = datetime.now(UTC)
    source = Source(
        access=access, database=target.database, data_folder=data_folder, programs=invocation.config.programs
    )
    folder = evidence_folder(evidence, target.database, now)
    wish = Wish(
        folder=folder,
        with_rest=new is not None,
        keep_copy=keep_copy,
        store=store_of(address, invocation.config) if address or backup_id else None,
        backup_id=backup_id,
    )
    found = examine(source, target, wish, now=now, say=say)
    loaded = None
    if new is not None and found.saved:
        loaded = load_salvage(new[0], found, new[1], programs=invocation.config.programs, say=say)
    text = corruption_markdown(found, loaded)
    write_file(folder / REPORT_FILE, text.encode())
    print_result(_document(found, loaded), text.rstrip(), as_json=invocation.as_json)
    say(f"{corruption_summary(found, loaded)}; report: {folder / REPORT_FILE}")
    if found.doubts or (loaded is not None and not loaded.is_whole):
        return CouldNotVerifyError.code
    return 0 if found.is_sound else _DAMAGED


def _document(found: Examination, loaded: Loaded | None) -> JsonDocument:
    return {
        "database": found.database,
        "source": found.source,
        "folder": str(found.folder),
        "checksums": found.checksums,
        "pages_read": found.pages_read,
        "doubts": list(found.doubts),
        "backup_id": found.backup_id,
        "damaged": [_relation(one) for one in found.relations],
        "saved": [_saved(one) for one in found.saved],
        "loaded": None
        if loaded is None
        else {
            "database": loaded.database,
            "tables": {one.table: {"expected": one.expected, "found": one.found} for one in loaded.tables},
            "problems": list(loaded.problems),
        },
    }


def _relation(one: DamagedRelation) -> JsonDocument:
    return {
        "name": one.name,
        "role": one.role.value,
        "table": one.table,
        "advice": one.advice,
        "pages": [
            {"file": page.file, "block": page.block, "why": page.why, "sha256": page.sha256, "kept_as": page.kept_as}
            for page in one.pages
        ],
        "findings": [finding.message for finding in one.findings],
    }


def _saved(one: SavedTable) -> JsonDocument:
    return {
        "table": one.table,
        "rows": one.rows,
        "file": one.rows_file,
        "doubtful": one.doubtful,
        "key": list(one.key),
        "lost": None if one.lost is None else list(one.lost),
        "lost_unknown": one.lost_unknown,
        "in_backup": one.in_backup,
        "lost_values": [{"row": value.row, "column": value.column} for value in one.lost_values],
    }
