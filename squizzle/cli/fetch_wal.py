"""The verb that `restore_command` runs: what it returns decides whether a server ends its recovery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from squizzle.backups.encryption.open_keys import open_keys
from squizzle.backups.settings import KeySettings
from squizzle.backups.wal.header import cluster_identifier
from squizzle.backups.wal.open_archive import open_archive
from squizzle.backups.wal.transfer import fetch_wal as fetch
from squizzle.cli.output import print_error
from squizzle.errors import InvalidInputError, RecoveryError, SquizzleError

NOT_THERE = 1
# PostgreSQL takes 1 to 125 for "there is no such file", ends recovery and goes into service; from 126 on it stops with
# an error (RestoreArchivedFile in xlogarchive.c).
STOP_RECOVERY = 200


class _StopsRecovery(click.Command):
    """A verb whose every failure stops recovery, a mistyped option included."""

    def make_context(self, *given: Any, **named: Any) -> click.Context:
        try:
            return super().make_context(*given, **named)
        except click.ClickException as exc:
            print_error(InvalidInputError(exc.format_message(), hint="squizzle fetch-wal --help"), as_json=False)
            raise click.exceptions.Exit(STOP_RECOVERY) from exc

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SquizzleError as exc:
            print_error(exc, as_json=False)
        except Exception as exc:  # noqa: BLE001 - with Python's own exit code 1, PostgreSQL would promote
            problem = f"fetch-wal failed: {type(exc).__name__}: {exc}"
            print_error(RecoveryError(problem, hint="report it; recovery was stopped, not ended"), as_json=False)
        return STOP_RECOVERY


@click.command("fetch-wal", cls=_StopsRecovery)
@click.argument("name")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--store", required=True, metavar="URL", help="file:///folder or s3://…, as archive-wal was given it.")
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The keys that archive-wal encrypted with.",
)
@click.option("--system-identifier", metavar="ID", help="The cluster, when this is not its data folder.")
def fetch_wal(name: str, target: Path, *, store: str, key_file: Path | None, system_identifier: str | None) -> int:
    """Get one file of the write-ahead log back from a store: for restore_command.

    Compared with its SHA-256; the store is only read. Exit codes: 0 fetched; 1 there is none and none after it, the log
    ends here; 200 damaged, missing between others, or not to be read: recovery stops instead of going into service
    with half of the rows.

    \b
    Example:
      restore_command = '/opt/squizzle/bin/squizzle fetch-wal %f %p --store file:///var/backups/shop'
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    cluster = system_identifier or cluster_identifier(Path())
    return (
        0
        if fetch(
            open_archive(store, open_keys(KeySettings(key_file=key_file))), name, target, system_identifier=cluster
        )
        else NOT_THERE
    )
