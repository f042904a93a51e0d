"""The verb that makes a mark in the write-ahead log before a migration, and proves that it can be recovered to."""

from __future__ import annotations

import secrets
from datetime import timedelta

import click

from squizzle.backups.encryption.open_keys import open_keys
from squizzle.backups.wal.open_archive import open_archive
from squizzle.backups.wal.restore_point import (
    DEFAULT_PATIENCE,
    RestorePoint,
    await_archived,
    await_received,
    make_restore_point,
)
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result, say
from squizzle.postgres.access import connect


@click.command("restore-point")
@click.argument("label")
@click.option("--store", "address", metavar="URL", help="The archive to prove it with: file:///folder or s3://…")
@click.option("--slot", metavar="NAME", help="The slot of the receiver to prove it with (receive-wal).")
@click.option("--wait", type=float, default=DEFAULT_PATIENCE.total_seconds(), help="Seconds to wait.")
@common_options
def restore_point(invocation: Invocation, label: str, address: str | None, *, slot: str | None, wait: float) -> None:
    """Make a named restore point, and wait until the archive (--store) or a receiver (--slot) has the log up to it.

    The name gets a suffix of its own, since recovery stops at the first point of a name. With --store the segment is
    closed, waited for and fetched back; with --slot the receiver has to say that it is safe on its disk. Exit code 10:
    the mark was made, and is not known to have arrived.

    \b
    Examples:
      squizzle restore-point before-0042 --env production --store file:///var/backups/shop
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    archive = open_archive(address, open_keys(invocation.config.backups.keys)) if address else None
    access, target = invocation.target()
    with connect(access, target.database, purpose="restore point") as connection:
        point = make_restore_point(connection, label, suffix=secrets.token_hex(4))
        if point.name is None:
            say(
                "warning: this account may not name a restore point; time and position are the mark. For a name, a "
                f"superuser runs: GRANT EXECUTE ON FUNCTION pg_catalog.pg_create_restore_point(text) TO "
                f'"{point.made_by}"'
            )
        patience = timedelta(seconds=wait)
        if slot is not None:
            point = await_received(connection, point, slot, patience=patience, on_progress=say)
        if archive is not None:
            point = await_archived(connection, point, archive, patience=patience, on_progress=say)
    document = {
        "name": point.name,
        "lsn": point.lsn,
        "time": point.time.isoformat(),
        "timeline": point.timeline,
        "system_identifier": point.system_identifier,
        "xid": point.xid,
        "segment": point.segment,
        "archived": point.archived,
        "received_by": point.received_by,
    }
    print_result(document, _text(point), as_json=invocation.as_json)


def _text(point: RestorePoint) -> str:
    how = f"recovery_target_name = '{point.name}'" if point.name else f"recovery_target_lsn = '{point.lsn}'"
    proofs = []
    if point.received_by:
        proofs.append(f"safe on the disk of the receiver of {point.received_by}")
    if point.archived:
        proofs.append("archived and fetched back")
    proof = ", ".join(proofs) or "not proven to be archived (--store URL, or --slot NAME)"
    return f"{how}  (at {point.lsn}, {point.time:%Y-%m-%d %H:%M:%S.%f%z}, timeline {point.timeline}; {proof})"
