"""A backup that is a snapshot of RDS: the rows stay there, the store holds what proves a restored copy.

RDS takes its snapshot at a moment of its own, which no snapshot of SQL stands for. So the database is fingerprinted
before it is asked and again when it is done, and the manifest says what was written in between (docs/adr/0018).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import LiteralString

import psycopg

from squizzle import __version__
from squizzle.backups.order import Order
from squizzle.backups.physical.take import LOST_ROWS, as_in_a_copy, unlogged_tables
from squizzle.backups.rds.access import HostKind, read_host
from squizzle.backups.rds.records import InstanceFacts, RdsSnapshot
from squizzle.backups.rds.snapshot_source import SnapshotSource
from squizzle.backups.records import CHANGED_DETAIL, Backup
from squizzle.backups.snapshot.tries import ROLLOUT_DETAIL, SEEN_DETAIL, Tries, Try, adoptable
from squizzle.backups.source import draft_backup, read_source
from squizzle.backups.store import Incoming, previous_backup
from squizzle.errors import CloudError, InvalidInputError, LockTimeoutError, RefusedError
from squizzle.migrations.history import read_history
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.translation import translate_error
from squizzle.proof.digests import digest_in_snapshot, read_snapshot
from squizzle.proof.records import NOT_COVERED, DatabaseDigest

INSTANCE_FILE = "instance.json"
"""What RDS said about the instance: a restore comes up with defaults for what it is not told."""
AFTER_FILE = "fingerprints-after.json"
"""Rows and fingerprint of every table that was no longer the same when the snapshot was done."""
FINGERPRINTS_DETAIL = "fingerprints"
SCHEMA_DETAIL = "definitions"
SCHEMA_CHANGED = "changed"
# More names than a sentence holds; the file has them all.
_MOST_NAMES = 5


class Between(StrEnum):
    """What was written from the fingerprints until the snapshot was done.

    `nothing`: no transaction of the whole server wrote, so the fingerprints are those of the snapshot. `equal`: some
    wrote, and the fingerprints of this database are the same before and after. `changed`: some tables differ.
    """

    NOTHING = "nothing"
    EQUAL = "equal"
    CHANGED = "changed"


def take_rds(order: Order, backup_id: str, on_progress: Callable[[int], None]) -> Backup:
    """Have RDS take a snapshot, and publish a manifest that says what is in it. The database is only read.

    What a killed run began is taken over when it is still being made or younger than an hour; else it is deleted, once
    the new one is there.

    Args:
        order: With the instance (`snapshots`).
        backup_id: Unique in the store.
        on_progress: Called when the snapshot is done; until then whoever opened the instance is told.

    Raises:
        InvalidInputError: No instance is named, or it is a member of a cluster; nothing was begun.
        RefusedError: The connection goes to another instance, or the state of this one does not pass.
        DatabaseError: A table cannot be read.
        LockTimeoutError: Another run published the same snapshot meanwhile; nothing is left to do.
        CloudError, CloudUnavailableError: The snapshot was not made, or goes on; the message says which. Nothing was
            published; the same command takes over what goes on.
    """
    source = order.snapshots
    if source is None:
        raise InvalidInputError("no instance of RDS is named", hint="give --instance NAME")
    instance = source.describe()
    tries = Tries(order.store, order.target.database, instance.resource_id)
    with order.store.receive(backup_id) as incoming:
        with connect(order.access, order.target.database, purpose="backup", read_only=True) as connection:
            clauses = _refuse_elsewhere(order.access, connection, instance)
            unfinished = tries.unfinished()
            alike = [one for one in unfinished if _is_alike(one, order, connection)]
            begun = adoptable(alike, source)
            if begun is None:
                begun = _fingerprint_before(order, connection, incoming, backup_id, instance)
                tries.note(begun)
        snapshot = source.take(begun.purpose)
        after = _look_after(order, begun)
        backup = _finished(order, backup_id, begun, snapshot, after, incoming)
        room = _room(source)
        _refuse_published(tries, begun)
        backup = replace(
            backup, details={**backup.details, **room}, not_covered=(*after.clauses, *clauses, *backup.not_covered)
        )
        backup = incoming.publish(backup)
    on_progress(sum(file.size_bytes for file in backup.files))
    tries.forget(begun)
    for left in unfinished:
        if left != begun:
            _forget(left, tries, source)
    return backup


def _refuse_published(tries: Tries, begun: Try) -> None:
    """Two manifests for one snapshot would each remove it: whoever lost the lock in the long wait comes second."""
    if begun.draft.id in tries.published():
        raise LockTimeoutError(
            f"another run took the snapshot of {begun.draft.database} over while this one waited, and published it",
            hint="`squizzle backups` lists it; nothing is left to do",
        )


def _is_alike(earlier: Try, order: Order, connection: Connection) -> bool:
    """Whether an earlier try was for what is asked for now: the same version of migrations, the same rollout."""
    now = read_history(connection, order.options.schema).current
    return (earlier.draft.migration_version, earlier.draft.details.get(ROLLOUT_DETAIL)) == (
        now,
        order.options.details.get(ROLLOUT_DETAIL),
    )


def _forget(left: Try, tries: Tries, source: SnapshotSource) -> None:
    """Delete what an earlier run left at RDS. The new backup is there, so this must not make it fail."""
    try:
        source.forget(left.purpose)
    except CloudError:  # it is still being made, or RDS is away: its note stays, and the next run tries again
        return
    tries.forget(left)


_SEEN = "SELECT pg_current_snapshot()"
_WRITERS = "SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid'"
# Beginning of every engine version, such as 16.4 or 11.22-rds.20240418.
_VERSION = re.compile(r"\d+\.\d+")


def _refuse_elsewhere(access: ServerAccess, connection: Connection, instance: InstanceFacts) -> tuple[str, ...]:
    """Refuse when the connection goes to another server than the instance; returns what is not known about it."""
    found = read_host(access.host)
    is_there = access.host.lower().rstrip(".") == instance.endpoint.lower()
    if not is_there and found is not None and found.kind is HostKind.INSTANCE:
        raise RefusedError(
            f"the database is on {access.host}, the instance {instance.identifier} is"
            f" {instance.endpoint or 'being made'}: the snapshot would hold another database; nothing was changed",
            hint="check --instance, or rds_instance of the environment in squizzle.toml",
        )
    version = connection.info.server_version
    stated = _VERSION.match(instance.engine_version)
    if stated is None or stated[0] != f"{version // 10000}.{version % 10000}":
        raise RefusedError(
            f"the database is on PostgreSQL {version // 10000}.{version % 10000}, the instance {instance.identifier}"
            f" runs {instance.engine_version}: it is another server; nothing was changed",
            hint="check --instance, or rds_instance of the environment in squizzle.toml",
        )
    if is_there:
        return ()
    unproven = (
        f"that the database is on the instance {instance.identifier}: the connection goes to"
        f" {access.host or 'the default host'}, the instance's address is {instance.endpoint or 'unknown'}"
    )
    return (unproven,)


def _fingerprint_before(
    order: Order, connection: Connection, incoming: Incoming, backup_id: str, instance: InstanceFacts
) -> Try:
    with read_snapshot(connection):
        source = read_source(connection, order.options.schema)
        seen = _ask(connection, _SEEN)
        digest, unlogged = _fingerprint(connection)
    draft = draft_backup(
        order.store,
        incoming,
        source,
        backup_id=backup_id,
        kind=order.kind,
        database=order.target.database,
        client_version=f"squizzle {__version__}",
        duration=timedelta(),
    )
    details = {**order.options.details, "run": backup_id, "resource_id": instance.resource_id, SEEN_DETAIL: seen}
    draft = replace(draft, digest=digest, details=details, not_covered=(*unlogged, *_NEVER_COVERED, *NOT_COVERED))
    return Try(draft=draft, resource_id=instance.resource_id, seen=seen)


_NEVER_COVERED = (
    "that the snapshot can be restored: RDS alone can do that, and it was not tried",
    "rows of the instance's other databases: they are in the snapshot, and were not fingerprinted",
    "values in the instance's parameter and option groups: only the names of the groups are kept",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _After:
    """What had become of the database when the snapshot was done.

    Attributes:
        between: What was written meanwhile.
        changed: The tables that differ.
        digest: The fingerprints then; None when nothing was written.
    """

    between: Between
    changed: tuple[str, ...] = ()
    is_schema_changed: bool = False
    digest: DatabaseDigest | None = None

    @property
    def clauses(self) -> tuple[str, ...]:
        """What the manifest must not claim."""
        if self.between is Between.NOTHING:
            return ()
        if self.between is Between.EQUAL:
            return ("what was written and taken back again while the snapshot was made",)
        names = ", ".join(self.changed[:_MOST_NAMES])
        more = f" and {len(self.changed) - _MOST_NAMES} more" if len(self.changed) > _MOST_NAMES else ""
        rows = (
            f"rows of {names}{more}: they were written to while the snapshot was made, and may be in it as before, as"
            " after, or as in between"
        )
        schema = "definitions: they changed while the snapshot was made"
        return (*((rows,) if self.changed else ()), *((schema,) if self.is_schema_changed else ()))


def _look_after(order: Order, begun: Try) -> _After:
    """See what was written since the fingerprints; a second look at the rows only when something was.

    A transaction that writes holds the lock on its number from before it writes until after everybody sees it. So when
    nobody holds one, whatever the snapshot of RDS may have is seen; and when the same is seen as before, nobody wrote.
    """
    # A session of its own: the first one would have been idle for hours.
    with connect(order.access, order.target.database, purpose="backup", read_only=True) as connection:
        is_writing = _ask(connection, _WRITERS) != "0"  # before the snapshot, in this very order
        with read_snapshot(connection):
            if not is_writing and _ask(connection, _SEEN) == begun.seen:
                return _After(between=Between.NOTHING)
            digest, _ = _fingerprint(connection)
    before = begun.draft.fingerprint
    was = {one.table: one for one in before.tables}
    now = {one.table: one for one in digest.tables}
    changed = tuple(sorted(name for name in was.keys() | now.keys() if was.get(name) != now.get(name)))
    is_schema_changed = before.schema.strict != digest.schema.strict
    between = Between.CHANGED if changed or is_schema_changed else Between.EQUAL
    return _After(between=between, changed=changed, is_schema_changed=is_schema_changed, digest=digest)


def _finished(
    order: Order, backup_id: str, begun: Try, snapshot: RdsSnapshot, after: _After, incoming: Incoming
) -> Backup:
    """The manifest, with the files that belong to it."""
    (incoming.folder / INSTANCE_FILE).write_text(snapshot.settings + "\n", encoding="utf-8")
    if after.digest is not None and after.changed:
        changed = {
            one.table: {"rows": one.rows, "digest": one.digest}
            for one in after.digest.tables
            if one.table in after.changed
        }
        text = json.dumps({"format_version": 1, "tables": changed}, ensure_ascii=False, indent=1)
        (incoming.folder / AFTER_FILE).write_text(text + "\n", encoding="utf-8")
    draft = begun.draft
    return replace(
        draft,
        id=backup_id,
        location=backup_id,
        store=order.store.address,
        started_at=snapshot.started_at,
        duration=snapshot.duration,
        client_version=f"squizzle {__version__}",
        files=incoming.describe(),
        previous=previous_backup(order.store, draft.database, draft.system_identifier),
        details={
            **order.options.details,
            **draft.details,
            **snapshot.details(),
            "fingerprinted_at": draft.started_at.isoformat(),
            FINGERPRINTS_DETAIL: after.between.value,
            CHANGED_DETAIL: json.dumps(after.changed, ensure_ascii=False),
            SCHEMA_DETAIL: SCHEMA_CHANGED if after.is_schema_changed else "same",
        },
    )


def _room(source: SnapshotSource) -> Mapping[str, str]:
    """How much room the instance has, for whoever thinks of a copy beside; not to know is no reason to fail."""
    try:
        space = source.space()
    except CloudError as exc:
        return {"room": f"could not tell: {exc.message}"}
    if space.free_bytes is None:
        return {"room": f"could not tell: {space.missing}"}
    return {"free_bytes": str(space.free_bytes)}


def _ask(connection: Connection, query: LiteralString) -> str:
    try:
        row = connection.execute(query).fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read which transactions there are") from exc
    return str(row[0]) if row else ""


def _fingerprint(connection: Connection) -> tuple[DatabaseDigest, tuple[str, ...]]:
    """As a restored copy has it, with what that leaves out."""
    unlogged = unlogged_tables(connection)
    digest = as_in_a_copy(digest_in_snapshot(connection, bookkeeping=True), unlogged)
    return digest, (f"{LOST_ROWS}: {', '.join(unlogged)}",) if unlogged else ()
