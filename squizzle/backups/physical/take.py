"""Taking a copy of a whole cluster, with fingerprints that a restored copy must have, to the row.

A copy of the files is consistent first at the end of the backup. So the fingerprints are taken after it, in a snapshot
whose position in the write-ahead log is known, and the log up to there is added to the backup (docs/adr/0013).
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta

import psycopg

from squizzle.backups.order import Order
from squizzle.backups.physical.chain import base_of, server_manifest_of
from squizzle.backups.physical.copying import compressed, copy_cluster
from squizzle.backups.physical.instant import LogTail, exact_snapshot, keep_log, let_log_go
from squizzle.backups.physical.unchanged import READ_DETAIL, Before, last_checkpoint, range_digester, read_ranges
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.source import Source, draft_backup, read_source
from squizzle.backups.store import Incoming
from squizzle.errors import BackupDamagedError
from squizzle.postgres.access import Connection, connect
from squizzle.postgres.translation import translate_error
from squizzle.proof.digests import digest_in_snapshot
from squizzle.proof.records import NOT_COVERED, DatabaseDigest

LOG_FOLDER = "wal"
"""The write-ahead log behind the copy, up to the fingerprints, a file a segment."""

USER_DETAIL = "superuser"
TABLESPACES_DETAIL = "tablespaces"


def take_physical(order: Order, backup_id: str, on_progress: Callable[[int], None]) -> Backup:
    """Copy the whole cluster, or what changed since the last copy, into the store; fingerprint the order's database.

    Args:
        order: The kind is `physical` or `incremental`. The account must be allowed to replicate; every table of the
            database must be readable.
        backup_id: Unique in the store.
        on_progress: Called with the bytes that came from the server.

    Raises:
        InvalidInputError: An increment has nothing to build on, or the server does not keep what it needs. Nothing was
            begun.
        ConnectionFailedError, DatabaseError: No connection, no right or no slot to replicate, or a table cannot be
            read; nothing was published.
        BackupDamagedError: The server's summaries of its log, which an increment is made by, miss a change; nothing was
            published.
        ToolError: pg_basebackup failed, found a damaged page, or took too long; nothing was published.
    """
    started = time.monotonic()
    database = order.target.database
    with (
        connect(order.access, database, purpose="backup", read_only=True) as connection,
        order.store.receive(backup_id) as incoming,
    ):
        begun = read_source(connection, order.options.schema)
        base = base_of(order, connection, begun)
        cluster = _read_cluster(connection)
        slot = keep_log(connection)
        with server_manifest_of(order.store, base) as manifest:
            before = Before(checkpoint=last_checkpoint(connection), known=read_ranges(manifest, base))
            facts = _facts_of(copy_cluster(order, connection, manifest, incoming, on_progress))
        proven = _fingerprint(order, connection, slot, facts, incoming, before)
        draft = draft_backup(
            order.store,
            incoming,
            begun,
            backup_id=backup_id,
            kind=BackupKind.PHYSICAL if base is None else BackupKind.INCREMENTAL,
            database=database,
            client_version=order.programs.version,
            duration=timedelta(seconds=time.monotonic() - started),
        )
        backup = replace(
            draft,
            # As it was when the fingerprints were taken, which is what a recovered copy has.
            identity_id=proven.source.identity_id,
            migration_version=proven.source.migration_version,
            lsn=facts.start_lsn,
            stop_lsn=facts.stop_lsn,
            digest_lsn=proven.lsn,
            timeline=facts.timeline,
            digest=proven.digest,
            chain=() if base is None else (*base.chain, base.id),
            details={**order.options.details, **cluster, **proven.details},
            not_covered=(*proven.not_covered, *NOT_COVERED),
        )
        return incoming.publish(backup)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Facts:
    """What the server's manifest says about the write-ahead log."""

    start_lsn: str
    stop_lsn: str
    timeline: int


def _facts_of(manifest: bytes) -> _Facts:
    try:
        ranges = json.loads(manifest)["WAL-Ranges"]
        first, last = ranges[0], ranges[-1]
        return _Facts(start_lsn=first["Start-LSN"], stop_lsn=last["End-LSN"], timeline=int(last["Timeline"]))
    except (KeyError, ValueError, TypeError, IndexError) as exc:
        raise BackupDamagedError(
            f"the copy of the cluster has no readable manifest of the server: {type(exc).__name__};"
            " nothing was published",
            hint="look at the messages of the server, then run the same again",
        ) from exc


_CLUSTER = """
    SELECT (SELECT rolname FROM pg_roles WHERE oid = 10),
           (SELECT coalesce(jsonb_object_agg(spcname, jsonb_build_object('oid', oid::bigint,
                       'location', pg_tablespace_location(oid), 'bytes', pg_tablespace_size(oid))), '{}')::text
            FROM pg_tablespace WHERE oid >= 16384)
"""


def _read_cluster(connection: Connection) -> Mapping[str, str]:
    """What is to be known of the cluster before a copy of it runs: who may do everything, and its tablespaces."""
    try:
        row = connection.execute(_CLUSTER).fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read the cluster's tablespaces", needs="pg_read_all_stats") from exc
    superuser, tablespaces = row or ("", "{}")
    return {USER_DETAIL: superuser, TABLESPACES_DETAIL: tablespaces}


# Fingerprinting


@dataclass(frozen=True, kw_only=True, slots=True)
class _Proven:
    """What a restored copy must have.

    Attributes:
        source: The server at the moment of the fingerprints.
        digest: None when nothing can be said.
        lsn: A copy recovered to exactly here must have the digest; empty without one.
        not_covered: What the fingerprints leave out, one clause each.
        details: What else the manifest shall say of them.
    """

    source: Source
    digest: DatabaseDigest | None
    lsn: str
    not_covered: tuple[str, ...]
    details: Mapping[str, str] = field(default_factory=dict)


_OTHERS = "rows of the cluster's other databases: they are in the copy, and were not fingerprinted"
_UNLOGGED = """
    SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relpersistence = 'u' ORDER BY 1
"""


def _fingerprint(
    order: Order, connection: Connection, slot: str, facts: _Facts, incoming: Incoming, before: Before
) -> _Proven:
    """Fingerprint the database at a moment behind the end of the copy, and add the log up to there."""
    if connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,):
        why = "rows: the copy was made from a standby, where nothing can be written to mark a moment"
        source = read_source(connection, order.options.schema)
        return _Proven(source=source, digest=None, lsn="", not_covered=(why,))
    folder = incoming.folder / f"{LOG_FOLDER}.receiving"
    folder.mkdir()
    try:
        with (
            closing(LogTail(order, folder, timeline=facts.timeline, stop_lsn=facts.stop_lsn)) as log,
            exact_snapshot(connection, log) as instant,
        ):
            source = read_source(connection, order.options.schema)
            if not instant.lsn:
                why = f"rows: no moment was found that a copy can be recovered to ({instant.why_not})"
                return _Proven(source=source, digest=None, lsn="", not_covered=(why,))
            let_log_go(connection, slot)
            for name, path in log.segments().items():
                with path.open("rb") as file:
                    incoming.stream(f"{LOG_FOLDER}/{name}.zst", compressed(file))
            unlogged = unlogged_tables(connection)
            with range_digester(order, connection, before, timeline=facts.timeline, incoming=incoming) as by_ranges:
                digest = digest_in_snapshot(connection, bookkeeping=True, digest_table=by_ranges)
    finally:
        shutil.rmtree(folder)
    clauses = [f"{LOST_ROWS}: {', '.join(unlogged)}"] if unlogged else []
    return _Proven(
        source=source,
        digest=replace(as_in_a_copy(digest, unlogged), sequences=instant.sequences),
        lsn=instant.lsn,
        not_covered=(_OTHERS, *clauses),
        details={} if by_ranges is None else {READ_DETAIL: by_ranges.summary()},
    )


LOST_ROWS = "rows of unlogged tables, which no copy of a cluster has"


def unlogged_tables(connection: Connection) -> tuple[str, ...]:
    """The tables that a copy of the files brings back empty (manual, "CREATE TABLE", UNLOGGED)."""
    return tuple(name for (name,) in connection.execute(_UNLOGGED))


def as_in_a_copy(digest: DatabaseDigest, unlogged: tuple[str, ...]) -> DatabaseDigest:
    """The fingerprints that a copy of the files has, whose unlogged tables are empty."""
    tables = (replace(one, rows=0, digest="0") if one.table in unlogged else one for one in digest.tables)
    return replace(digest, tables=tuple(tables))
