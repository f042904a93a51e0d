"""`squizzle restore --into NAME` to a point in time: a database as it was then, beside the others or in a place."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from squizzle.backups.encryption.open_keys import open_keys
from squizzle.backups.records import Backup
from squizzle.backups.store import BackupStore
from squizzle.backups.wal.open_archive import open_archive
from squizzle.cli.options import Invocation
from squizzle.cli.output import say
from squizzle.errors import InvalidInputError
from squizzle.postgres.access import CONTROL_DATABASE, connect
from squizzle.postgres.programs import find_programs
from squizzle.recovery.beside import RestoreOrder, kept_name, refuse_another_database, swap_in
from squizzle.recovery.point_in_time.bringing import PointOrder, find_route, restore_to_point
from squizzle.recovery.point_in_time.records import PointRestored
from squizzle.recovery.point_in_time.recovering import Route
from squizzle.recovery.recovery_target import parse_target

TIMELINES = frozenset({"current", "latest"})


def timeline_of(text: str | None) -> str:
    """The timeline that was asked for; that of the copy when none was.

    Raises:
        InvalidInputError: It is none.
    """
    timeline = text or "current"
    if timeline not in TIMELINES and not timeline.isdecimal():
        raise InvalidInputError(f"{timeline!r} is no timeline", hint="write `latest`, or its number")
    return timeline


def order_of(
    invocation: Invocation,
    store: BackupStore,
    store_url: str,
    backup: Backup | None,
    into: str,
    given: dict[str, Any],
) -> PointOrder:
    """What the options ask for.

    Args:
        invocation: The common options.
        store: Where the copies lie.
        store_url: Its address; the archive is there, too, unless the options name another place.
        backup: The copy, or a mark; None for the newest copy that fits.
        into: The new database's name.
        given: The options about the point, and `tables`.
    """
    access, target = invocation.target()
    with connect(access, CONTROL_DATABASE, purpose="version check", read_only=True) as connection:
        major = connection.info.server_version // 10000
    if given["ignore_space"]:
        say(f"note: the check of free space is passed over: {given['ignore_space']}")
    return PointOrder(
        access=access,
        target=target,
        store=store,
        archive=open_archive(given["archive"] or store_url, open_keys(invocation.config.backups.keys)),
        into=into,
        programs=find_programs(explicit=invocation.config.programs, server_major=major),
        asked=parse_target(**{name: given[name] for name in ("to_time", "to_lsn", "to_name", "to_latest")}),
        backup=backup,
        tables=tuple(given["tables"]),
        timeline=timeline_of(given["timeline"]),
        ignore_space=bool(given["ignore_space"]),
    )


def restore_at_point(invocation: Invocation, order: PointOrder, *, switch_over: bool) -> tuple[dict[str, Any], str]:
    """Recover, bring over, compare, and swap in where that is asked for.

    Returns:
        The document, and the text for a person.
    """
    begun = time.monotonic()
    if switch_over and order.tables:
        raise InvalidInputError(
            "a database with the rows of some tables alone must not take the place of a whole one",
            hint="leave --switch-over out, look at it, and merge: squizzle salvage compare --from NAME",
        )
    route = find_route(order)
    if switch_over:
        identity = refuse_another_database(_as_restore(order, _copy_of_target(order, route.backup)), order.target)
        action = f"recover {order.target.database} to {route.point.words} and put that in its place"
        invocation.confirm(action, order.target, identity)
    say(f"recovering {order.target.database} to {route.point.words}, beginning with {_copy_words(route.backup)}")
    done = restore_to_point(order, route, keep_closed=switch_over, say=say)
    document = _document(done, route, begun)
    if switch_over and done.comparison.is_equal:
        keep_as = kept_name(order.target.database, datetime.now(UTC))
        swapped = swap_in(_as_restore(order, route.backup), database=order.target.database, keep_as=keep_as, say=say)
        document |= {"database": order.target.database, "switched_over": True, "kept_as": swapped.kept_as}
        document["duration_ms"] = round((time.monotonic() - begun) * 1000)
        for slot in swapped.slots:
            say(f"note: the replication slot {slot} stayed with {swapped.kept_as}: its consumer reads there")
    return document, _text(document, done)


def _as_restore(order: PointOrder, backup: Backup) -> RestoreOrder:
    """For what a restore of any backup does besides restoring."""
    return RestoreOrder(access=order.access, store=order.store, backup=backup, into=order.into, programs=order.programs)


def _copy_of_target(order: PointOrder, backup: Backup) -> Backup:
    """What a copy of a cluster says of the wanted database: its identity is known of the fingerprinted one alone.

    That of any other is compared when it is recovered.
    """
    database = order.target.database
    return backup if backup.database == database else replace(backup, database=database, identity_id=None)


def _copy_words(backup: Backup) -> str:
    return f"the copy {backup.id} of {backup.started_at:%Y-%m-%d %H:%M:%S} UTC"


def _document(done: PointRestored, route: Route, begun: float) -> dict[str, Any]:
    arrival = done.arrival
    return {
        "database": done.database,
        "verified": done.comparison.is_equal,
        "duration_ms": round((time.monotonic() - begun) * 1000),
        "differences": list(done.comparison.sentences()),
        "switched_over": False,
        "kept_as": None,
        "backup": done.backup.id,
        "recovered_to": route.point.words,
        "lsn": arrival.lsn,
        "last_transaction_at": arrival.at.isoformat() if arrival.at else None,
        "migration_version": arrival.migration_version,
        "prepared": list(arrival.prepared),
        "tables": list(done.tables),
    }


def _text(document: dict[str, Any], done: PointRestored) -> str:
    took = f"{document['duration_ms'] / 1000:.1f} s"
    arrival = done.arrival
    where = f"{document['recovered_to']} ({arrival.lsn}{_last(arrival.at)})"
    if not document["verified"]:
        lines = [
            f"{document['database']} is NOT as it was recovered to {where} ({took}); nobody is let in:",
            *(f"  {sentence}" for sentence in document["differences"]),
            "  the next restore under this name replaces it",
        ]
        return "\n".join(lines)
    lines = [f"{document['database']} is as it was at {where}, {done.rows:,} rows compared ({took})"]
    lines += [f"  prepared, not ended, so not in it: {one}" for one in document["prepared"]]
    if document["switched_over"]:
        lines.append(f"  the old one is kept as {document['kept_as']}, closed; drop it when nobody needs it any more")
    elif done.tables:
        lines.append(f"  only {', '.join(done.tables)} have rows; what the damaged database lacks is merged by")
        lines.append(f"  squizzle salvage compare --from {document['database']}, then squizzle salvage merge")
    else:
        lines.append("  --switch-over would put it in the place of the damaged one")
    return "\n".join(lines)


def _last(at: datetime | None) -> str:
    return f", last transaction {at:%Y-%m-%d %H:%M:%S.%f %Z}" if at else ""
