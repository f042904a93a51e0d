"""The verb that takes a backup."""

from __future__ import annotations

import secrets

import click

from squizzle.backups.dump import DumpOptions
from squizzle.backups.manifest import document_of
from squizzle.backups.order import CopyOptions, Order
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.snapshot.take import Between
from squizzle.backups.space import size_words
from squizzle.backups.taking import TAKERS, take_backup
from squizzle.cli.backups import store_of
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result
from squizzle.cli.rds import snapshot_source
from squizzle.numbers import number_of
from squizzle.postgres.access import connect
from squizzle.postgres.programs import find_programs


@click.command()
@click.argument("kind", type=click.Choice([kind.value for kind in TAKERS]))
@click.option("--store", "address", metavar="URL", help="file:///folder or s3://…; without it: [backups] store.")
@click.option("--jobs", type=click.IntRange(1, 64), default=2, show_default=True, help="Parallel sessions of pg_dump.")
@click.option("--no-role-passwords", is_flag=True, help="Leave the hashes of the roles' passwords out.")
@click.option(
    "--max-rate",
    type=click.IntRange(32, 1024 * 1024),
    metavar="KB",
    help="physical, incremental: kilobytes a second that the server may send at most.",
)
@click.option("--or-full", is_flag=True, help="incremental: a whole copy where no increment is possible.")
@click.option("--or-mark", is_flag=True, help="incremental: a mark where the server makes no increments.")
@click.option("--instance", metavar="NAME", help="rds: the instance, where the host's name does not say it.")
@click.option("--ignore-space", metavar="REASON", help="Begin though there may be no room; the manifest says why.")
@common_options
def backup(  # noqa: PLR0913 - one for each option
    invocation: Invocation,
    kind: str,
    address: str | None,
    *,
    jobs: int,
    no_role_passwords: bool,
    max_rate: int | None,
    or_full: bool,
    or_mark: bool,
    instance: str | None,
    ignore_space: str | None,
) -> None:
    """Save a database, with a manifest that proves a restored copy. The database is only read.

    \b
    full      everything: definitions, rows, roles, tablespaces, the database's own properties
    schema    definitions only
    data      rows only, to be restored into a database that has the definitions
    globals   roles, tablespaces, and the properties of every database of the cluster
    physical  the files of the whole cluster, proven for this database
    incremental   what changed since the last copy of the cluster (PostgreSQL 17 and later)
    rds       a snapshot of the whole instance of Amazon RDS; it stays there, the store holds its manifest
    mark      no rows: a restore point, and a point in the change log to undo to

    \b
    Examples:
      squizzle backup full --env production --store file:///var/backups/shop
      squizzle backups --verify
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    access, target = invocation.target()
    store = store_of(address, invocation.config)
    with connect(access, target.database, purpose="version check", read_only=True) as connection:
        major = connection.info.server_version // 10000
    order = Order(
        access=access,
        target=target,
        store=store,
        kind=BackupKind(kind),
        programs=find_programs(explicit=invocation.config.programs, server_major=major),
        options=DumpOptions(jobs=jobs, schema=target.schema, role_passwords=not no_role_passwords),
        copying=CopyOptions(max_rate_kb=max_rate, or_full=or_full, or_mark=or_mark),
        snapshots=snapshot_source(invocation, access, instance) if kind == BackupKind.RDS else None,
        ignore_space=ignore_space,
    )
    made = take_backup(order, suffix=secrets.token_hex(3))
    document = {key: value for key, value in document_of(made).items() if key != "objects"}
    print_result(document, _text(made), as_json=invocation.as_json)


def _text(made: Backup) -> str:
    seconds = made.duration.total_seconds()
    lines = [
        f"backup {made.id}",
        f"  {made.kind} of {made.database}, version {made.migration_version or 'none'}, in {made.store}",
        f"  {size_words(made.size_bytes)} {_where(made)}, {seconds:.1f} s",
    ]
    if made.kind is BackupKind.MARK:
        lines[2] = f"  restore point {made.details['restore_point'] or 'without a name'} at {made.lsn}"
    if made.digest is not None:
        lines.append(
            f"  {number_of(made.rows, 'row')} of {number_of(len(made.digest.tables), 'table')} were fingerprinted"
        )
    lines.append("  not held or not proven: " + "; ".join(made.not_covered))
    if made.kind is BackupKind.RDS:
        found = made.details
        lines.append(
            f"  snapshot {found['snapshot']} of {found['instance']}, {_BETWEEN[Between(found['fingerprints'])]}"
        )
    return "\n".join(lines)


def _where(made: Backup) -> str:
    return "of storage at RDS" if made.kind is BackupKind.RDS else f"in {number_of(len(made.files), 'file')}"


_BETWEEN = {
    Between.NOTHING: "and nothing was written meanwhile: it has exactly these fingerprints",
    Between.EQUAL: "the fingerprints were the same before and after",
    Between.CHANGED: "which was written to meanwhile",
}
