"""The verb that looks an archive of the write-ahead log through: gaps, damage, what the server still has to send."""

from __future__ import annotations

import os

import click

from squizzle.backups.catalogue import known_backups, read_catalogue
from squizzle.backups.encryption.open_keys import open_keys
from squizzle.backups.wal.archive import WalArchive
from squizzle.backups.wal.check import ClusterArchive, Run, Timeline, check_cluster, useless_copies
from squizzle.backups.wal.names import lsn_text
from squizzle.backups.wal.open_archive import open_archive
from squizzle.backups.wal.server_side import ServerSide, look_at_server
from squizzle.backups.wal.slots import Slot
from squizzle.cli.backups import store_address, store_of
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import JsonDocument, print_result, table
from squizzle.errors import BackupDamagedError, InvalidInputError
from squizzle.postgres.access import connect


@click.command()
@click.option("--store", "address", metavar="URL", help="file:///folder or s3://…; without it: [backups] store.")
@click.option("--slot", "slot_name", metavar="NAME", help="The slot of the receiver that fills it (receive-wal).")
@click.option("--check", is_flag=True, help="Read every file again; takes as long as reading does.")
@common_options
def wal(invocation: Invocation, address: str | None, *, slot_name: str | None, check: bool) -> int:
    """Show what an archive of the write-ahead log holds, and whether a segment is missing, damaged or foreign.

    With --env, --url or DATABASE_URL: only that server's cluster, and whether the server's archiving works, or with
    --slot the receiver of its log. Exit codes: 0 whole; 7 something is missing or damaged, each problem is named.

    \b
    Examples:
      squizzle wal --store file:///var/backups/shop
      squizzle wal --store file:///var/backups/shop --check --env production
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    archive = open_archive(store_address(address, invocation.config), open_keys(invocation.config.backups.keys))
    server = _server(invocation, archive, slot_name)
    clusters = (server.archiver.system_identifier,) if server else archive.clusters()
    if not set(clusters) & set(archive.clusters()):
        raise InvalidInputError(
            f"{archive.address} has no archive" + (f" of the cluster {clusters[0]}" if server else ""),
            hint="let the server fill it: archive_command = 'squizzle archive-wal %p %f --store …'",
        )
    found = [check_cluster(archive, one, read=check) for one in clusters]
    backups = [one.backup for one in known_backups(read_catalogue(store_of(address, invocation.config)))]
    useless = [text for one in found for text in useless_copies(one, backups)]
    document = {
        "archives": [_document(one) for one in found],
        "useless_copies": useless,
        "server": _server_document(server) if server else None,
    }
    problems = [*(problem for one in found for problem in one.problems), *useless, *(server.problems if server else ())]
    print_result(document, _text(found, server, problems), as_json=invocation.as_json)
    return BackupDamagedError.code if problems else 0


def _server(invocation: Invocation, archive: WalArchive, slot_name: str | None) -> ServerSide | None:
    if not (invocation.environment or invocation.url or os.environ.get("DATABASE_URL")):
        if slot_name is not None:
            raise InvalidInputError("--slot names a slot of no server", hint="add --env NAME or --url URL")
        return None
    access, target = invocation.target()
    with connect(access, target.database, purpose="wal", read_only=True) as connection:
        return look_at_server(connection, archive, slot_name)


def _document(found: ClusterArchive) -> JsonDocument:
    return {
        "system_identifier": found.system_identifier,
        "segment_bytes": found.segment_bytes,
        "read": found.read,
        "timelines": [_timeline_document(one) for one in found.timelines],
        "problems": list(found.problems),
    }


def _timeline_document(timeline: Timeline) -> JsonDocument:
    return {
        "timeline": timeline.number,
        "parent": timeline.parent,
        "fork_lsn": timeline.fork_lsn,
        "partial": timeline.partial,
        "runs": [
            {
                "first": run.first,
                "last": run.last,
                "segments": run.segments,
                "from_lsn": run.from_lsn,
                "to_lsn": run.to_lsn,
                "from_time": run.from_time.isoformat(),
                "to_time": run.to_time.isoformat(),
            }
            for run in timeline.runs
        ],
    }


def _server_document(server: ServerSide) -> JsonDocument:
    archiver = server.archiver
    return {
        "archive_mode": archiver.on,
        "archived": archiver.archived,
        "last_archived": archiver.last_archived,
        "failed": archiver.failed,
        "last_failed": archiver.last_failed,
        "waiting": archiver.waiting,
        "slot": _slot_document(server.slot),
        "problems": list(server.problems),
    }


def _slot_document(slot: Slot | None) -> JsonDocument | None:
    if slot is None:
        return None
    return {
        "name": slot.name,
        "active": slot.active_pid is not None,
        "wal_status": slot.wal_status,
        "retained_bytes": slot.retained_bytes,
        "limit_bytes": slot.limit_bytes,
        "received_to": None if slot.received_to is None else lsn_text(slot.received_to),
    }


def _text(found: list[ClusterArchive], server: ServerSide | None, problems: list[str]) -> str:
    rows = [
        (one.system_identifier, str(timeline.number), *_row(run))
        for one in found
        for timeline in one.timelines
        for run in timeline.runs
    ]
    lines = [table(("cluster", "timeline", "first", "last", "from", "to", "stored"), rows)] if rows else []
    if server:
        archiver = server.archiver
        waiting = "?" if archiver.waiting is None else archiver.waiting
        lines.append(f"server: last archived {archiver.last_archived or 'nothing'}, waiting {waiting}")
    slot = server.slot if server else None
    if slot and slot.received_to is not None:
        lines.append(f"receiver: has the log up to {lsn_text(slot.received_to)}; {slot.words} ({slot.wal_status})")
    lines += [f"PROBLEM: {one}" for one in problems]
    if not problems:
        read = all(one.read for one in found)
        lines.append("whole: every file was read" if read else "no gaps; --check reads every file, too")
    return "\n".join(lines)


def _row(run: Run) -> tuple[str, ...]:
    return (run.first, run.last, run.from_lsn, run.to_lsn, f"{run.to_time:%Y-%m-%d %H:%M %Z}")
