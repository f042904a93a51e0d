"""The verb that `archive_command` runs. A server waits for it at every segment, so it imports next to nothing."""

from __future__ import annotations

from pathlib import Path

import click

from squizzle.backups.encryption.open_keys import open_keys
from squizzle.backups.settings import KeySettings
from squizzle.backups.wal.header import cluster_identifier
from squizzle.backups.wal.open_archive import open_archive
from squizzle.backups.wal.transfer import archive_wal as put
from squizzle.cli.output import say


@click.command("archive-wal")
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("name")
@click.option("--store", required=True, metavar="URL", help="file:///folder or s3://…; the segment goes to wal/ in it.")
@click.option("--compress", is_flag=True, help="Compress segments with zstd.")
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Keys that nobody else can read: files are encrypted with the first one.",
)
@click.option("--system-identifier", metavar="ID", help="The cluster, when this is not its data folder.")
def archive_wal(
    path: Path, name: str, *, store: str, compress: bool, key_file: Path | None, system_identifier: str | None
) -> int:
    """Put one file of the write-ahead log into a store: for archive_command.

    Exit code 0: it is durable, with its SHA-256. The same again is success; another content under that name, a segment
    of another cluster or half a segment is refused. Killed at any instant or stopped by a full disk, it leaves nothing
    that the next try stumbles over.

    \b
    Example:
      archive_command = '/opt/squizzle/bin/squizzle archive-wal %p %f --store file:///var/backups/shop'
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    cluster = system_identifier or cluster_identifier(Path())
    done = put(
        open_archive(store, open_keys(KeySettings(key_file=key_file))),
        path,
        name,
        system_identifier=cluster,
        compress=compress,
    )
    if done.was_there:
        say(f"{done.name} was archived before, with the same content")
    return 0
