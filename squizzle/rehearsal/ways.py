"""The ways back besides a script, carried out on the copy: what they take at this size, and what came back.

What is only predicted never counts: a way is executed, compared and timed, or it is not executed and says why.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from time import monotonic

from squizzle.backups.catalogue import read_catalogue
from squizzle.backups.store import BackupStore
from squizzle.backups.wal.archive import WalArchive
from squizzle.errors import SquizzleError
from squizzle.postgres.database_properties import read_properties
from squizzle.postgres.identity import Target
from squizzle.postgres.scratch_server import ScratchServer, scratch_server
from squizzle.proof.digests import without_bookkeeping
from squizzle.recovery.fence import control_session, session_through_fence, unfence
from squizzle.recovery.new_database import drop_database
from squizzle.recovery.point_in_time.bringing import PointOrder, find_route, restore_to_point
from squizzle.recovery.point_in_time.choosing import choose_copy
from squizzle.recovery.point_in_time.records import Point, PointRestored
from squizzle.recovery.prepared_copy import make_copy, verify_copy_unchanged
from squizzle.recovery.recovery_target import RecoveryTarget, TargetKind
from squizzle.recovery.scratch_copy import make_roles
from squizzle.recovery.switch_over import switch_over
from squizzle.recovery.ways import Way
from squizzle.rehearsal.place import RehearsalPlace
from squizzle.rehearsal.records import ProvenWay

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class PointSource:
    """What a recovery to a point in time would begin with.

    Attributes:
        store: Where copies of the cluster lie.
        archive: Its archived log.
        system_identifier: The cluster.
        measure: Whether to carry it out: that takes another cluster, as big as the one that was saved.
    """

    store: BackupStore
    archive: WalArchive
    system_identifier: str
    measure: bool = False


def measure_ways(
    place: RehearsalPlace,
    *,
    schema: str = "public",
    point: PointSource | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    say: Say = lambda _text: None,
) -> tuple[ProvenWay, ...]:
    """Carry out the ways back besides a script: swap, restore beside, and if wanted point in time.

    Args:
        place: The base and its server. Nothing is changed in the base; what is made meanwhile is dropped.
        schema: Where the migration history is.
        point: For a recovery to a point in time; None when no log is archived.
        clock: The time.
        say: Told what is done.

    Returns:
        One of each. A way that failed is one that was not executed, with what went wrong.

    Raises:
        BackupDamagedError: The place has no base.
    """
    _ = place.proven
    say("measuring the ways back")
    swap, renamed = _swap(place, clock())
    return swap, _restore_beside(place, renamed), measure_point(place, point, schema=schema, say=say)


def _not_executed(way: Way, why: str) -> ProvenWay:
    return ProvenWay(way=way, executed=False, complete=False, duration=None, detail=why)


# A prepared copy in the place of the database


def _swap(place: RehearsalPlace, now: datetime) -> tuple[ProvenWay, timedelta | None]:
    """The way, and how long the change of names alone took."""
    try:
        with place.fresh() as work:
            return _swapped(place, work, now)
    except SquizzleError as exc:
        return _not_executed(Way.SWAP, f"failed: {exc.message}"), None


def _swapped(place: RehearsalPlace, work: str, now: datetime) -> tuple[ProvenWay, timedelta]:
    control, kept = place.control, f"{work}__old"
    begun = monotonic()
    # Read once, after the swap: then it has to be what the base was.
    base = without_bookkeeping(place.base_digest)
    copied = make_copy(place.access, work, now=now, private=True, known=base)
    started = monotonic()
    try:
        properties = read_properties(control, work)
        switch_over(control, database=work, restored=copied.copy.name, keep_as=kept, properties=properties)
        renamed = monotonic()
        with session_through_fence(place.access, work, purpose="verify") as session:
            unlike = verify_copy_unchanged(session)
        unfence(control, work)
        ended = monotonic()
    finally:
        for name in (copied.copy.name, kept):
            drop_database(control, name)
    prepared = f"a copy made beforehand in {_seconds(started - begun)}{' by cloning' if copied.cloned else ''}"
    way = ProvenWay(
        way=Way.SWAP,
        executed=True,
        complete=not unlike,
        duration=timedelta(seconds=ended - started),
        detail="; ".join((*unlike, f"{prepared}, swapped in and compared row by row on {_where(place.server)}")),
    )
    return way, timedelta(seconds=renamed - started)


# A backup restored beside


def _restore_beside(place: RehearsalPlace, renamed: timedelta | None) -> ProvenWay:
    """As it was carried out when the place was made; only the change of names comes on top."""
    backup, times, comparison = place.backup, place.times, place.comparison
    if comparison is None or backup.kind.is_cluster:
        return _not_executed(
            Way.RESTORE_BESIDE, f"backup {backup.id} ({backup.kind}) is a copy of a cluster, and is not restored beside"
        )
    parts = ", ".join(
        f"{what} in {_seconds(took)}"
        for what, took in (("fetched", times.fetch), ("restored", times.restore), ("compared", times.compare))
    )
    names = "no change of names was measured" if renamed is None else f"names changed in {_seconds(renamed)}"
    return ProvenWay(
        way=Way.RESTORE_BESIDE,
        executed=True,
        complete=comparison.is_equal,
        duration=times.total + (renamed or timedelta()),
        detail=f"backup {backup.id} on {_where(place.server)}: {parts}; {names}",
    )


# A point in time


def measure_point(
    place: RehearsalPlace, source: PointSource | None, *, schema: str = "public", say: Say = lambda _text: None
) -> ProvenWay:
    """Recover to the end of the archived log on a cluster of its own, bring the database over, compare, and time it."""
    if source is None:
        return _not_executed(Way.POINT_IN_TIME, "no archived log is named")
    target = RecoveryTarget(kind=TargetKind.LATEST)
    try:
        entries = read_catalogue(source.store)
        chosen = choose_copy(entries, Point(target=target), system_identifier=source.system_identifier)
        order = PointOrder(
            access=place.access,
            target=Target(database=place.backup.database, schema=schema),
            store=source.store,
            archive=source.archive,
            into=place.name("point"),
            programs=place.server.programs,
            asked=target,
            backup=source.store.read(chosen.id),
        )
        route = find_route(order)
        if not source.measure:
            reached = route.last_segment or "the end of the copy itself"
            return _not_executed(
                Way.POINT_IN_TIME,
                f"not carried out: it takes a whole cluster; from {chosen.id} the log reaches to {reached}",
            )
        with ExitStack() as stack:
            server = _server_for_point(place, stack)
            order = replace(order, access=server.access, programs=server.programs)
            started = monotonic()
            restored = restore_to_point(order, route, say=say)
            took = timedelta(seconds=monotonic() - started)
            with control_session(server.access, purpose="point in time") as control:
                drop_database(control, order.into)
    except SquizzleError as exc:
        return _not_executed(Way.POINT_IN_TIME, exc.message)
    return ProvenWay(
        way=Way.POINT_IN_TIME,
        executed=True,
        complete=restored.comparison.is_equal,
        duration=took,
        detail="; ".join((*restored.comparison.sentences(), _arrived(restored, server))),
    )


def _arrived(restored: PointRestored, server: ScratchServer) -> str:
    where = restored.arrival.lsn
    return f"{restored.backup.id} recovered to {where}, brought over and compared row by row on {_where(server)}"


def _server_for_point(place: RehearsalPlace, stack: ExitStack) -> ScratchServer:
    """One of our own: what is brought over is open to everybody who was let in where it comes from."""
    if place.server.throwaway:
        return place.server
    server = stack.enter_context(scratch_server(place.version_num // 10000, prefix="restore"))
    with control_session(server.access, purpose="point in time") as control:
        make_roles(control, place.proven.copy.roles)
    return server


def _where(server: ScratchServer) -> str:
    return f"{server.where}, which does not wait for its disk" if server.throwaway else server.where


def _seconds(time: timedelta | float) -> str:
    seconds = time.total_seconds() if isinstance(time, timedelta) else time
    return f"{seconds:,.1f} s"
