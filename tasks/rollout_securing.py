"""What is made before a stage touches anything: restore points and backups."""

from __future__ import annotations

import secrets
from datetime import timedelta
from functools import partial

from squizzle.backups.dump import DumpOptions
from squizzle.backups.order import Order
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.taking import take_backup
from squizzle.backups.wal.restore_point import make_restore_point
from squizzle.errors import InvalidInputError, RefusedError
from squizzle.postgres.access import CONTROL_DATABASE, connect
from squizzle.postgres.programs import find_programs
from squizzle.recovery.means import find_backups, system_identifier
from squizzle.rollout.bounded import each_bounded
from squizzle.rollout.records import FleetTarget, Stage
from squizzle.rollout.securing import still_good
from squizzle.settings.fleets import resolve_server
from tasks.rollout_case import RolloutCase, Secured, Started
from tasks.steps import now, step

_BACKUPS_AT_ONCE = 2


@step("Secure what will be changed", timeout=timedelta(hours=24), detail="; ".join)
def secure(case: RolloutCase, started: Started, stage: Stage, targets: tuple[FleetTarget, ...]) -> tuple[str, ...]:
    """A restore point on every server, and backups; those that this rollout made lately are not made again.

    Raises:
        InvalidInputError: Backups are wanted, and no store is named.
    """
    done = [_restore_point(case, started, server, stage) for server in dict.fromkeys(one.server for one in targets)]
    wanted = {Secured.ALL: targets, Secured.FIRST: targets[:1], Secured.NONE: ()}[case.backups]
    if wanted and case.store is None:
        raise InvalidInputError(
            "no store is named where backups go",
            hint="name a store, or say that no target is backed up (backups: none)",
        )
    # Schemas of one database share its backup.
    databases = {(one.server, one.database): one for one in wanted}
    for target, backup in each_bounded(
        databases.values(),
        partial(_back_up, case, started),
        place=lambda one: one.server,
        concurrency=_BACKUPS_AT_ONCE,
        per_place=1,
    ):
        done.append(f"{target.name}: {backup.id}")
    return tuple(done)


def _restore_point(case: RolloutCase, started: Started, server: str, stage: Stage) -> str:
    slug = "".join(one if one.isascii() and one.isalnum() else "-" for one in stage.name)[:30]
    access, database = resolve_server(started.order.fleet.servers[server], environ=case.environ)
    with connect(access, database, purpose="restore point") as connection:
        try:
            point = make_restore_point(connection, f"rollout-{slug}", suffix=secrets.token_hex(4))
        except RefusedError as exc:
            return f"{server}: no restore point: {exc.message}"
    return f"{server}: restore point {point.name or point.lsn}"


def _back_up(case: RolloutCase, started: Started, target: FleetTarget) -> Backup:
    if case.store is None:
        raise AssertionError("a store was asked for before")
    access, _ = resolve_server(started.order.fleet.servers[target.server], environ=case.environ)
    store = case.store.open()
    with connect(access, CONTROL_DATABASE, purpose="version check", read_only=True) as connection:
        programs = find_programs(explicit=None, server_major=connection.info.server_version // 10000)
        identifier = system_identifier(connection)
    backups = find_backups(store, target.database, system_identifier=identifier)
    good_for = case.fleet.backups_good_for
    backup = still_good(backups, since=started.row.started_at, now=now(), good_for=good_for)
    if backup is not None:
        return backup
    meant = started.order.target(target)
    order = Order(
        access=access,
        target=meant,
        store=store,
        kind=BackupKind.FULL,
        programs=programs,
        options=DumpOptions(schema=meant.schema),
    )
    return take_backup(order, suffix=secrets.token_hex(3))
