"""Is there room for a backup? Asked before it begins and while it runs, so that nobody's disk is filled."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from squizzle.backups.rds.records import RdsSpace
from squizzle.backups.records import SIZE_DETAIL, Backup, BackupKind
from squizzle.backups.store import BackupStore
from squizzle.errors import InvalidInputError, ToolError
from squizzle.postgres.access import Connection
from squizzle.postgres.translation import translate_error

MARGIN = 1.2
"""More than the estimate must be free: databases grow, and estimates err."""

RESERVE_BYTES = 64 * 1024 * 1024
"""A backup stops before it leaves less than this for others."""

# A dump holds the rows without indexes. Compressed it is far smaller (pgbench: a fiftieth), but bytea that cannot be
# compressed is written as twice its length in digits and comes out about as long as it was.
_FIRST_RATIO = 1.0
_SMALL_BYTES = 100_000
# A restored copy has its indexes, too; half as much again is a usual proportion, and a fifth more is asked for.
_WITH_INDEXES = 1.5
# Definitions only: no database's catalogue fills more.
_SCHEMA_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class SpaceNeed:
    """What a backup is expected to need in its store.

    Attributes:
        source_bytes: What it is made of: tables without indexes for a dump, everything for a copy of the cluster.
        need_bytes: What it becomes.
        local_bytes: How much of that lies in the store's work folder until it is published, where there is one.
        basis: How that was told, for a person.
    """

    source_bytes: int
    need_bytes: int
    basis: str
    local_bytes: int = 0


def source_size(connection: Connection, kind: BackupKind) -> int:
    """How big what is saved is on the server, in bytes. Nothing is changed.

    Raises:
        DatabaseError: The session was lost.
    """
    if kind in {BackupKind.GLOBALS, BackupKind.MARK}:
        return 0
    # pg_table_size would wait behind an ACCESS EXCLUSIVE lock; these two do not.
    tables = (
        "SELECT pg_database_size(current_database()) - coalesce(sum(relpages), 0) * current_setting('block_size')::int"
        " FROM pg_class WHERE relkind = 'i' AND relpages > 0"
    )
    cluster = "SELECT coalesce(sum(pg_tablespace_size(oid)), 0)::bigint FROM pg_tablespace"
    try:
        row = connection.execute(cluster if kind.is_cluster else tables).fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read how big the database is") from exc
    return int(row[0]) if row else 0


def estimate_need(kind: BackupKind, source_bytes: int, earlier: Backup | None) -> SpaceNeed:
    """Tell how big a backup will be: as the last one was, in proportion; without one, as big as its source. Pure.

    Args:
        kind: What is to be saved.
        source_bytes: `source_size`.
        earlier: The last backup of the same kind and database.
    """
    if kind is BackupKind.MARK:
        return SpaceNeed(source_bytes=source_bytes, need_bytes=0, basis="a manifest")
    if kind in {BackupKind.SCHEMA, BackupKind.GLOBALS}:
        return SpaceNeed(source_bytes=source_bytes, need_bytes=_SCHEMA_BYTES, basis="definitions only")
    if kind is BackupKind.RDS:
        return SpaceNeed(source_bytes=source_bytes, need_bytes=_SCHEMA_BYTES, basis="the rows stay with RDS")
    before = int(earlier.details.get(SIZE_DETAIL, "0")) if earlier else 0
    if earlier is None or not before:
        need = round(source_bytes * _FIRST_RATIO)
        return SpaceNeed(source_bytes=source_bytes, need_bytes=need, basis="no earlier backup to judge by")
    ratio = earlier.size_bytes / before
    need = round(source_bytes * ratio)
    return SpaceNeed(source_bytes=source_bytes, need_bytes=need, basis=f"backup {earlier.id} took {ratio:.0%}")


def with_local_need(need: SpaceNeed, kind: BackupKind, connection: Connection) -> SpaceNeed:
    """Add what of a backup has to lie in a folder of ours before it can be sent away.

    Dumps do, for pg_dump writes many files at once. A copy of a cluster is a stream, unless there are tablespaces.

    Raises:
        DatabaseError: The session was lost.
    """
    try:
        row = connection.execute("SELECT EXISTS (SELECT FROM pg_tablespace WHERE oid >= 16384)").fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="look for tablespaces") from exc
    streams = kind.is_cluster and row == (False,)
    return replace(need, local_bytes=0 if streams else need.need_bytes)


def refuse_without_room(store: BackupStore, need: SpaceNeed) -> None:
    """Refuse a backup that would not fit into its store, or into the folder that it passes through.

    Raises:
        InvalidInputError: With the figures; nothing was begun.
    """
    hint = "free space there (`squizzle backups prune`), name another store, or say why with --ignore-space REASON"
    _refuse(need.need_bytes, store.free_bytes(), store.address, need.basis, hint)
    if store.work_folder is not None and need.local_bytes:
        hint = "free space there, set TMPDIR to a folder with room, or say why with --ignore-space REASON"
        # A file is encrypted beside itself, and in the worst case there is only one.
        copies = store.work_copies
        encrypted = ", and encrypted once more," if copies > 1 else ""
        where = f"{store.work_folder}, where it lies{encrypted} before it is sent to {store.address}"
        _refuse(copies * need.local_bytes, _free(store.work_folder), where, need.basis, hint)


def _refuse(need: int, free: int | None, where: str, basis: str, hint: str) -> None:
    wanted = round(need * MARGIN) + RESERVE_BYTES
    if free is None or free >= wanted:
        return
    raise InvalidInputError(
        f"the backup needs about {size_words(need)} ({basis}); with a fifth more and"
        f" {size_words(RESERVE_BYTES)} for others that is {size_words(wanted)}, but {size_words(free)} are free"
        f" in {where}",
        hint=hint,
    )


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def restore_need(backup: Backup) -> SpaceNeed | None:
    """What a dump needs on the server that it is restored to; None when its manifest does not say. Pure."""
    source = int(backup.details.get(SIZE_DETAIL, "0"))
    if backup.kind is BackupKind.SCHEMA:
        return SpaceNeed(source_bytes=source, need_bytes=_SCHEMA_BYTES, basis="definitions only")
    if not source:
        return None
    basis = f"tables of {size_words(source)}, and half as much for indexes"
    return SpaceNeed(source_bytes=source, need_bytes=round(source * _WITH_INDEXES), basis=basis)


def refuse_without_rds_room(space: RdsSpace, need: SpaceNeed | None, instance: str) -> str:
    """Refuse to fill the disk of an instance of RDS. Pure.

    Args:
        space: What CloudWatch says.
        need: What is to be written; None when nobody can tell.
        instance: The instance's name.

    Returns:
        What was found, for a person; not to know is said and is no refusal.

    Raises:
        InvalidInputError: With the figures; nothing was begun.
    """
    if space.free_bytes is None:
        return f"could not tell whether there is room on {instance}: {space.missing}"
    free = f"{size_words(space.free_bytes)} are free on {instance} (CloudWatch, {space.measured_at:%H:%M:%S %Z})"
    if need is None:
        return f"could not tell whether there is room: {free}, and the manifest does not say how big the database was"
    wanted = round(need.need_bytes * MARGIN)
    if space.free_bytes >= wanted:
        return f"{free}, {size_words(wanted)} are needed"
    grows = f"; it may grow by {size_words(space.growth_bytes)}, but only in steps hours apart"
    raise InvalidInputError(
        f"it needs about {size_words(need.need_bytes)} ({need.basis}), with a fifth more {size_words(wanted)}, but"
        f" {free}{grows if space.growth_bytes else ''}",
        hint=f"enlarge the storage of {instance} (`aws rds modify-db-instance --allocated-storage`), or name another"
        " server",
    )


def space_watch(store: BackupStore, *, every: int = 5) -> Callable[[], None]:
    """Something to call while a backup is written, which stops it before the store or the work folder is full.

    Args:
        store: Where it is written.
        every: The store is asked at each so-many-th call.
    """
    calls = 0

    def watch() -> None:
        nonlocal calls
        calls += 1
        if calls % every:
            return
        work = store.work_folder
        _stop(store.free_bytes(), store.address, "free space there (`squizzle backups prune`)")
        _stop(None if work is None else _free(work), str(work), "free space there, or set TMPDIR to a folder with room")

    return watch


def _stop(free: int | None, where: str, what_to_do: str) -> None:
    if free is not None and free < RESERVE_BYTES:
        raise ToolError(
            f"only {size_words(free)} are left in {where}: the backup was stopped, nothing was published",
            hint=f"{what_to_do}, then run the same again",
        )


def size_words(size: float) -> str:
    """A size for a person; a small one in kB, for `0.0 MB` looks like nothing at all."""
    if size < _SMALL_BYTES:
        return f"{size / 1000:,.1f} kB"
    # What would be rounded to a thousand of a unit is one of the next.
    for unit, length in (("MB", 1_000_000), ("GB", 1_000_000_000)):
        if round(size / length, 1) < 1000:  # noqa: PLR2004 - the next unit
            return f"{size / length:,.1f} {unit}"
    return f"{size / 1_000_000_000_000:,.1f} TB"
