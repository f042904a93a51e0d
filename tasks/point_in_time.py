"""The step of a recovery that brings a database back as it was right before the damage."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import datetime, timedelta

from squizzle.backups.wal.archive import WalArchive
from squizzle.backups.wal.open_archive import archive_of
from squizzle.backups.wal.restore_point import await_archived, make_restore_point
from squizzle.errors import InvalidInputError
from squizzle.postgres.programs import find_programs
from squizzle.recovery.fence import control_session, session_through_fence
from squizzle.recovery.means import system_identifier
from squizzle.recovery.point_in_time.bringing import PointOrder, find_route, restore_to_point
from squizzle.recovery.point_in_time.means import find_point, target_before
from squizzle.recovery.point_in_time.records import PointRestored
from squizzle.recovery.point_in_time.recovering import Route
from squizzle.recovery.prepared_copy import note_fingerprint
from squizzle.recovery.ways import Means, PointMeans
from tasks.sources import DatabaseSource, StoreSource
from tasks.steps import log_line, step


def _point(means: Means) -> str:
    point = means.point
    if point is None:
        return "no copy of the cluster with its log, or no moment"
    return point.problem or f"{point.backup_id}, then the log to right before {point.target}"


@step("See whether the log leads to right before the damage", timeout=timedelta(minutes=30), detail=_point)
def look_for_point(database: DatabaseSource, store: StoreSource, means: Means, *, struck: datetime | None) -> Means:
    """The means, with the point right before the damage."""
    place = store.open()
    with control_session(database.access(), purpose="assess") as control:
        identifier = system_identifier(control)
    return replace(means, point=find_point(place, archive_of(place), struck=struck, system_identifier=identifier))


def _arrived(done: PointRestored) -> str:
    said = f"stopped at {done.arrival.lsn} ({done.arrival.said})"
    return f"{said}; {'equal' if done.comparison.is_equal else 'DIFFERENT'}: {done.rows:,} rows"


@step("Recover a second cluster to right before the damage", timeout=timedelta(hours=24), detail=_arrived)
def recover_beside(database: DatabaseSource, store: StoreSource, point: PointMeans, *, into: str) -> PointRestored:
    """Bring the database over as it was; it stays closed. What of the log is not archived yet is archived first."""
    place, access = store.open(), database.access()
    archive = archive_of(place)
    with control_session(access, purpose="recovery") as control:
        major = control.info.server_version // 10000
    order = PointOrder(
        access=access,
        target=database.target(),
        store=place,
        archive=archive,
        into=into,
        programs=find_programs(explicit=None, server_major=major),
        asked=target_before(point.target),
        backup=place.read(point.backup_id),
    )
    done = restore_to_point(order, _route(order, archive), keep_closed=True, say=log_line)
    if done.comparison.is_equal:
        # Whoever goes on after a kill behind the switch-over has nothing else to compare it with: the dump is gone.
        with session_through_fence(access, into, purpose="verify") as connection:
            note_fingerprint(connection)
    for one in done.arrival.prepared:
        log_line(f"not ended at that point, so what it did is not there: {one}")
    return done


def _route(order: PointOrder, archive: WalArchive) -> Route:
    try:
        return find_route(order)
    except InvalidInputError as exc:
        log_line(f"{exc.message}; the server is asked for the rest")
    with control_session(order.access, purpose="recovery") as control:
        mark = make_restore_point(control, "recover", suffix=secrets.token_hex(4))
        await_archived(control, mark, archive, on_progress=log_line)
    return find_route(order)
