"""The verb that brings a backup back: as a database beside the others, or as the data folder of a cluster."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from squizzle.backups.encryption.open_keys import open_keys
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.settings import KeySettings
from squizzle.backups.store import BackupStore
from squizzle.backups.surroundings import PASSWORDS
from squizzle.backups.wal.open_archive import open_archive
from squizzle.cli.backups import store_address, store_of
from squizzle.cli.names import backup_ids
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result, say
from squizzle.cli.restore_to_point import order_of, restore_at_point, timeline_of
from squizzle.errors import InvalidInputError, RecoveryError
from squizzle.numbers import number_of
from squizzle.postgres.access import CONTROL_DATABASE, connect
from squizzle.postgres.programs import find_programs
from squizzle.proof.records import Comparison
from squizzle.recovery.beside import RestoreOrder, kept_name, refuse_another_database, restore_database, swap_in
from squizzle.recovery.cluster_folder import ArchiveUse, RestoredCluster, restore_cluster
from squizzle.recovery.cluster_roles import RestoredRoles, restore_roles
from squizzle.recovery.recovery_target import RecoveryTarget, parse_target

_POINTS = ("to_time", "to_lsn", "to_name", "to_latest")


def _options_of_points(verb: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--table", "tables", multiple=True, metavar="S.T", help="With a point: only this one's rows."),
        click.option("--ignore-space", metavar="REASON", help="Begin though there may be no room."),
        click.option("--timeline", metavar="ID", help="Of the log: `latest` or a number; without it: the copy's own."),
        click.option("--to-latest", is_flag=True, help="Recover to the end of the archived log."),
        click.option("--to-name", metavar="NAME", help="Recover to a restore point (`squizzle restore-point`)."),
        click.option("--to-lsn", metavar="LSN", help="Recover to a position in the log."),
        click.option("--to-time", metavar="TIME", help="Recover to a time, with its offset from UTC."),
        click.option("--archive", metavar="URL", help="Where the log is archived; without it: the store."),
    ):
        verb = option(verb)
    return verb


@click.command()
@click.argument("backup_id", metavar="ID", required=False, shell_complete=backup_ids)
@click.option("--store", "address", metavar="URL", help="file:///folder or s3://…; without it: [backups] store.")
@click.option("--into", metavar="NAME", help="full, schema, data, or with a point: a new database of this name.")
@click.option(
    "--into-folder", type=click.Path(path_type=Path), metavar="DIR", help="physical, incremental: an empty folder."
)
@click.option(
    "--definitions",
    metavar="ID",
    help="data: the schema backup whose tables the rows are put into.",
    shell_complete=backup_ids,
)
@click.option("--roles", is_flag=True, help="globals, full: make the roles that the server of --env lacks.")
@click.option("--switch-over", is_flag=True, help="Put the new database in the place of the one that --env names.")
@_options_of_points
@common_options
def restore(
    invocation: Invocation,
    backup_id: str | None,
    address: str | None,
    *,
    into: str | None,
    into_folder: Path | None,
    definitions: str | None,
    roles: bool,
    switch_over: bool,
    **of_points: Any,
) -> int:
    """Bring a backup back, checked before and compared after; nothing that is there is touched.

    --into restores beside the databases of the server that --env or --url names, and compares every table with the
    backup's fingerprints before anybody is let in. With --switch-over it then takes the place of the database of
    --env or --url, which is kept under another name.

    --into with a point (--to-name, --to-lsn, --to-time, or the ID of a mark) recovers a copy of the cluster on a
    scratch cluster by the archived log, and brings the database of --env or --url over as it was then. ID is the copy
    to begin with; without it, the newest that ends before the point.

    --into-folder makes the data folder of a cluster, checked file by file, and says how to start it: it recovers to the
    moment of its fingerprints, or by the archived log to a point. --roles makes the roles that a server lacks, with all
    that they had; those that are there are not touched.

    Exit codes: 0; 7 when the backup is damaged, or the restored database is not what was saved: then it stays closed,
    and nothing is switched over.

    \b
    Examples:
      squizzle restore 20270131T020000Z-shop-1a2b3c --into shop_restored --env production
      squizzle restore 20270131T020000Z-shop-1a2b3c --into shop_restored --env production --switch-over
      squizzle restore --to-name before-0042-1f2e3d4c --into shop_before --env production
      squizzle restore --to-time 2027-01-31T13:59:00+01:00 --table public.orders --into shop_orders --env production
      squizzle restore 20270131T020000Z-shop-4d5e6f --into-folder /srv/restored --to-name before-0042-1f2e3d4c
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    has_point = any(of_points[name] for name in _POINTS)
    _refuse_unclear(into=into, into_folder=into_folder, roles=roles, needs_id=not (into and has_point), named=backup_id)
    store = store_of(address, invocation.config)
    backup = store.read(backup_id) if backup_id else None
    if into and (backup is None or has_point or backup.kind is BackupKind.MARK):
        _refuse_options({"definitions": definitions}, "a data backup without a point")
        url = store_address(address, invocation.config)
        order = order_of(invocation, store, url, backup, into, of_points)
        document, text = restore_at_point(invocation, order, switch_over=switch_over)
    elif backup is None:
        raise AssertionError("without an id only a point is restored")
    elif into:
        _refuse_options(_about_points(of_points), "a point (--to-name …)")
        other = store.read(definitions) if definitions else None
        document = _into_database(invocation, store, backup, other, into, time.monotonic(), switch_over=switch_over)
        text = _database_text(document, backup)
    else:
        _refuse_options({"definitions": definitions, "switch_over": switch_over}, "--into NAME")
        document, text = _of_cluster(invocation, address, store, backup, into_folder, of_points)
    print_result(document, text, as_json=invocation.as_json)
    return RecoveryError.code if document["verified"] is False else 0


def _of_cluster(
    invocation: Invocation,
    address: str | None,
    store: BackupStore,
    backup: Backup,
    folder: Path | None,
    given: dict[str, Any],
) -> tuple[dict[str, Any], str]:
    """Make the folder of a cluster, or without one the roles that a server lacks; the document, and the text."""
    begun = time.monotonic()
    if folder is None:
        _refuse_options(_about_points(given), "a point (--into NAME, --into-folder DIR)")
        found = _roles(invocation, store, backup)
        return {**_document(backup.database, None, begun), **asdict(found)}, _roles_text(found, backup)
    _refuse_options({"table": given["tables"]}, "--into NAME with a point")
    done = _into_folder(invocation, address, store, backup, folder, given)
    document = {**_document(backup.database, None, begun), **_folder_document(backup, done)}
    return document, _folder_text(done, begun)


def _refuse_unclear(
    *, into: str | None, into_folder: Path | None, roles: bool, needs_id: bool, named: str | None
) -> None:
    if sum((into is not None, into_folder is not None, roles)) != 1:
        raise InvalidInputError(
            "say what to restore: --into NAME a database, --into-folder DIR a cluster, --roles its roles",
            hint="`squizzle backups` says of each backup what it is",
        )
    if needs_id and named is None:
        raise InvalidInputError(
            "no backup named", hint="only with --into and a point (--to-name …) the newest copy that fits is taken"
        )


def _about_points(given: dict[str, Any]) -> dict[str, Any]:
    """What was said about points, by the names of the options."""
    return {"table" if name == "tables" else name: value for name, value in given.items()}


def _refuse_options(given: dict[str, Any], only: str) -> None:
    named = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if named:
        raise InvalidInputError(f"{', '.join(named)} is only for {only}", hint="squizzle restore --help")


def _document(database: str, comparison: Comparison | None, begun: float) -> dict[str, Any]:
    return {
        "database": database,
        "verified": None if comparison is None else comparison.is_equal,
        "duration_ms": round((time.monotonic() - begun) * 1000),
        "differences": [] if comparison is None else list(comparison.sentences()),
        "switched_over": False,
        "kept_as": None,
    }


# A database


def _into_database(
    invocation: Invocation,
    store: BackupStore,
    backup: Backup,
    definitions: Backup | None,
    into: str,
    begun: float,
    *,
    switch_over: bool,
) -> dict[str, Any]:
    access, target = invocation.target()
    with connect(access, CONTROL_DATABASE, purpose="version check", read_only=True) as connection:
        major = connection.info.server_version // 10000
    order = RestoreOrder(
        access=access,
        store=store,
        backup=backup,
        definitions=definitions,
        into=into,
        programs=find_programs(explicit=invocation.config.programs, server_major=major),
    )
    if switch_over:
        identity = refuse_another_database(order, target)
        invocation.confirm(f"restore {backup.id} and put it in the place of {target.database}", target, identity)
    say(f"restoring {backup.id} of {backup.started_at:%Y-%m-%d %H:%M:%S} UTC into {into}")
    comparison = restore_database(order, keep_closed=switch_over)
    document = _document(into, comparison, begun)
    if switch_over and comparison.is_equal:
        keep_as = kept_name(target.database, datetime.now(UTC))
        done = swap_in(order, database=target.database, keep_as=keep_as, say=say)
        document |= {"database": target.database, "switched_over": True, "kept_as": done.kept_as}
        document["duration_ms"] = round((time.monotonic() - begun) * 1000)
        for slot in done.slots:
            say(f"note: the replication slot {slot} stayed with {done.kept_as}: its consumer reads there")
    return document


def _database_text(document: dict[str, Any], backup: Backup) -> str:
    took = f"{document['duration_ms'] / 1000:.1f} s"
    if not document["verified"]:
        lines = [
            f"{document['database']} is NOT what backup {backup.id} was ({took}); nobody is let in:",
            *(f"  {sentence}" for sentence in document["differences"]),
            "  use another backup; the next restore under this name replaces it",
        ]
    elif document["switched_over"]:
        lines = [
            f"{document['database']} is what backup {backup.id} was, {backup.rows:,} rows compared ({took})",
            f"  the old one is kept as {document['kept_as']}, closed; drop it when nobody needs it any more",
        ]
    else:
        lines = [
            f"{document['database']} is what backup {backup.id} was, {backup.rows:,} rows compared ({took})",
            "  --switch-over would put it in the place of the damaged one",
        ]
    return "\n".join(lines)


# Roles


def _roles(invocation: Invocation, store: BackupStore, backup: Backup) -> RestoredRoles:
    access, target = invocation.target()
    with connect(access, CONTROL_DATABASE, purpose="restore roles") as control, store.fetch(backup) as folder:
        invocation.confirm(f"make the roles of {backup.id} that are missing", target, None)
        return restore_roles(control, backup, folder)


def _roles_text(found: RestoredRoles, backup: Backup) -> str:
    without = [clause for clause in backup.not_covered if clause.startswith(PASSWORDS)]
    lines = [f"made: {', '.join(found.made) or 'none'}"]
    if found.kept:
        lines.append(f"  there already, not touched: {', '.join(found.kept)}")
    lines += [f"  left out: {clause}" for clause in (*without, *found.left_out)]
    if without and found.made:
        lines.append("  give them passwords: \\password ROLE in psql")
    return "\n".join(lines)


# A cluster


def _into_folder(
    invocation: Invocation,
    address: str | None,
    store: BackupStore,
    backup: Backup,
    folder: Path,
    given: dict[str, Any],
) -> RestoredCluster:
    target = parse_target(**{name: given[name] for name in ("to_time", "to_lsn", "to_name", "to_latest")})
    log = None
    if target is not None:
        where = given["archive"] or store_address(address, invocation.config)
        log = _archive_use(where, target, given["timeline"], invocation.config.backups.keys)
    else:
        _refuse_options({name: given[name] for name in ("archive", "timeline")}, "a point (--to-name …, --to-latest)")
    if given["ignore_space"]:
        say(f"note: the check of free space is passed over: {given['ignore_space']}")
    say(f"checking and putting together {number_of(len(backup.chain) + 1, 'copy', 'copies')} of the cluster")
    return restore_cluster(store, backup, folder, log=log, ignore_space=bool(given["ignore_space"]))


def _archive_use(address: str, target: RecoveryTarget, timeline: str | None, keys: KeySettings) -> ArchiveUse:
    if keys.kms_key or keys.key_env:
        raise InvalidInputError(
            "a server that recovers reads the log's keys from a file", hint="set [backups] key_file instead"
        )
    return ArchiveUse(
        archive=open_archive(address, open_keys(keys)),
        program=_own_program(),
        target=target,
        timeline=timeline_of(timeline),
        key_file=keys.key_file,
    )


def _own_program() -> str:
    """This very command, for the server's account to run."""
    beside = Path(sys.executable).with_name("squizzle")
    found = str(beside) if beside.exists() else shutil.which("squizzle")
    return shlex.quote(found or sys.argv[0])


def _folder_document(backup: Backup, done: RestoredCluster) -> dict[str, Any]:
    return {
        "backup": backup.id,
        "folder": str(done.folder),
        "recovers_to": done.recovers_to,
        "start": done.start,
        "connect": done.connect,
    }


def _folder_text(done: RestoredCluster, begun: float) -> str:
    return "\n".join(
        [
            f"{done.folder} is the cluster, every file compared ({time.monotonic() - begun:.1f} s); nothing runs yet",
            f"  start it: {done.start}",
            f"  it recovers to {done.recovers_to}; {done.folder / 'startup.log'} says how far it is",
            f"  then look: {done.connect}  (from this machine alone; it archives nothing)",
            f"  the source's settings are in {', '.join(done.saved) or 'no file of the copy: they lay elsewhere'}",
        ]
    )
