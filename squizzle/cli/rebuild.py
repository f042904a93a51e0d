"""The verb that rebuilds a lost server on an empty one, when only its store is left."""

from __future__ import annotations

import time
from typing import Any

import click

from squizzle.cli.backups import store_of
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result, say
from squizzle.errors import RecoveryError
from squizzle.numbers import number_of
from squizzle.postgres.access import CONTROL_DATABASE, connect
from squizzle.postgres.programs import find_programs
from squizzle.recovery.rebuild.finding import find_saved_server
from squizzle.recovery.rebuild.rebuilding import NewServer, rebuild_server, refuse_unfit_server
from squizzle.recovery.rebuild.records import RebuiltServer, SavedServer


@click.command()
@click.option("--store", "address", metavar="URL", help="file:///folder or s3://…; without it: [backups] store.")
@click.option("--cluster", metavar="ID", help="The lost server, where the store has backups of several.")
@click.option("--dry-run", is_flag=True, help="Only say what would be restored from what.")
@common_options
def rebuild(invocation: Invocation, *, address: str | None, cluster: str | None, dry_run: bool) -> int:
    """Rebuild a lost server on a new, empty one: its roles, and the newest backup of every database.

    --env or --url names the new server, by any of its databases. Every database is restored and compared row by row
    before anybody is let in; one that fails does not keep the others from it. What is there already is not touched, so
    the same command goes on where a killed one was.

    Settings of the server and pg_hba.conf are in no backup: set them first.

    Exit codes: 0; 7 when a database is not there as it was saved, which the output names.

    \b
    Examples:
      squizzle rebuild --env new_server --store s3://backups/shop --dry-run
      squizzle rebuild --env new_server --store s3://backups/shop
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    begun = time.monotonic()
    access, target = invocation.target()
    store = store_of(address, invocation.config)
    saved = find_saved_server(store, cluster=cluster)
    with connect(access, CONTROL_DATABASE, purpose="version check", read_only=True) as connection:
        major = connection.info.server_version // 10000
    programs = find_programs(explicit=invocation.config.programs, server_major=major)
    server = NewServer(access=access, store=store, programs=programs)
    refuse_unfit_server(server, saved)
    for note in saved.notes:
        say(f"note: {note}")
    if dry_run:
        print_result(_document(saved, None, begun), _plan_text(saved), as_json=invocation.as_json)
        return 0
    invocation.confirm(f"rebuild {number_of(len(saved.databases), 'database')} on {access.where}", target, None)
    done = rebuild_server(server, saved, say=say)
    print_result(_document(saved, done, begun), _text(done, begun), as_json=invocation.as_json)
    return 0 if done.is_whole else RecoveryError.code


def _document(saved: SavedServer, done: RebuiltServer | None, begun: float) -> dict[str, Any]:
    found = {one.backup.id: one for one in done.databases} if done else {}
    databases = []
    for backup in saved.databases:
        one = found.get(backup.id)
        comparison = one.comparison if one else None
        databases.append(
            {
                "database": backup.database,
                "backup": backup.id,
                "saved_at": backup.started_at.isoformat(),
                "verified": one.is_equal if one else None,
                "was_there": one.was_there if one else None,
                "problem": one.problem if one else "",
                "differences": list(comparison.sentences()) if comparison else [],
            }
        )
    roles: dict[str, Any] = {"backup": saved.roles.id, "made": None, "kept": None, "left_out": None}
    if done:
        roles |= {"made": done.roles.made, "kept": done.roles.kept, "left_out": done.roles.left_out}
    return {
        "cluster": saved.system_identifier,
        "verified": done.is_whole if done else None,
        "duration_ms": round((time.monotonic() - begun) * 1000),
        "roles": roles,
        "databases": databases,
        "not_saved": list(saved.not_saved),
        "notes": list(saved.notes),
    }


def _plan_text(saved: SavedServer) -> str:
    lines = [f"would be rebuilt from the backups of the server {saved.system_identifier}:"]
    lines.append(f"  roles, from {saved.roles.id}")
    lines += [
        f"  {one.database}, {one.rows:,} rows, as of {one.started_at:%Y-%m-%d %H:%M:%S} UTC, from {one.id}"
        for one in saved.databases
    ]
    return "\n".join([*lines, *_lost(saved)])


def _text(done: RebuiltServer, begun: float) -> str:
    took = f"{time.monotonic() - begun:.1f} s"
    whole = sum(one.is_equal for one in done.databases)
    compared = f"{number_of(done.rows, 'row')} compared"
    lines = [f"{whole} of {len(done.databases)} databases are what was saved, {compared} ({took})"]
    lines += [
        f"  {one.backup.database}: as of {one.backup.started_at:%Y-%m-%d %H:%M:%S} UTC"
        f"{', was there already' if one.was_there else ''}"
        for one in done.databases
        if one.is_equal
    ]
    lines += [f"  NOT as it was saved: {sentence}" for sentence in done.sentences]
    lines += [f"  left out: {clause}" for clause in done.roles.left_out]
    lines += _lost(done.saved)
    if done.is_whole:
        lines.append("  now take a backup of it: squizzle backup full --env …")
    return "\n".join(lines)


def _lost(saved: SavedServer) -> list[str]:
    return [f"  LOST: {name} has no usable backup in this store" for name in saved.not_saved]
