"""A copy of a cluster, brought back to life beside everything else: recovered to its fingerprints, and compared."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from squizzle.backups.physical.take import USER_DETAIL
from squizzle.backups.records import Backup
from squizzle.backups.store import BackupStore
from squizzle.errors import BackupDamagedError, CouldNotVerifyError, EmbeddedServerError
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.embedded import Cluster, sweep_abandoned
from squizzle.postgres.embedded.server import running_server
from squizzle.postgres.scratch_server import runtime_of
from squizzle.proof.comparison import compare_digests
from squizzle.proof.digests import digest_database
from squizzle.proof.records import Comparison
from squizzle.recovery.cluster_files import PATIENCE, rebuild

PREFIX = "copy-"
_AMCHECK_FOUND = 2
_LOOK_AT_SOURCE = "the source may be damaged, too: run pg_amcheck there, and keep older backups"
_POLL_S = 0.02
_TAIL_CHARACTERS = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterCopy:
    """A copy that runs.

    Attributes:
        access: How to reach it, as the superuser that initdb made.
        where: What messages call it.
        cluster: The server and its folder.
    """

    access: ServerAccess
    where: str
    cluster: Cluster


@contextmanager
def running_copy(store: BackupStore, backup: Backup) -> Iterator[ClusterCopy]:
    """The cluster of a backup, recovered to the moment of its fingerprints, for the length of the block.

    A backup without fingerprints is recovered to its end.

    Args:
        store: Where the backup lies.
        backup: A copy of a cluster.

    Raises:
        BackupDamagedError: A file is not what the manifest says, or not what the server said when it was made.
        CouldNotVerifyError: There are no server programs of this version on this machine.
        EmbeddedServerError: The copy does not start; the end of its log is in the message.
        ToolError: There is no room here.
    """
    runtime = runtime_of(backup.server_version // 10000)
    sweep_abandoned(runtime, PREFIX)
    cluster = Cluster(runtime, f"{PREFIX}{os.getpid()}-{secrets.token_hex(3)}")
    try:
        cluster.restore(lambda data: rebuild(runtime, store, backup, data))
        address = cluster.start(guarded=True, patience=PATIENCE)
        _wait_for_recovery(cluster, backup)
        access = ServerAccess(
            host=str(address.socket_folder), port=address.port, user=backup.details.get(USER_DETAIL, address.user)
        )
        where = f"a copy on PostgreSQL {runtime.version}"
        yield ClusterCopy(access=access, where=where, cluster=cluster)
    finally:
        cluster.destroy()


def _wait_for_recovery(cluster: Cluster, backup: Backup) -> None:
    log = wait_for_service(cluster, backup)
    # PostgreSQL itself ends when a target is not reached; this is the second look.
    if backup.digest_lsn and "recovery stopping before WAL location" not in log:
        raise CouldNotVerifyError(
            f"the copy of backup {backup.id} was recovered, but not to {backup.digest_lsn}",
            hint="verify the copy (`squizzle verify-backup ID`); use an older one meanwhile",
        )


def wait_for_service(cluster: Cluster, backup: Backup) -> str:
    """Wait until a copy's server has read the log up to its target and begun to live; that it runs says nothing yet.

    Returns:
        The server's log.

    Raises:
        CouldNotVerifyError: It takes too long.
        EmbeddedServerError: The server ended; the end of its log is in the message.
    """
    deadline = time.monotonic() + PATIENCE.total_seconds()
    while (server := running_server(cluster.layout.data)) is not None and server.phase != "ready":
        if time.monotonic() > deadline:
            raise CouldNotVerifyError(
                f"the copy of backup {backup.id} was not recovered within {PATIENCE}",
                hint="look at load and disk of this machine, then run the same again",
            )
        time.sleep(_POLL_S)
    log = cluster.layout.log.read_text(encoding="utf-8", errors="replace")
    if server is None:
        raise EmbeddedServerError(
            f"the copy of backup {backup.id} ended while it was recovered: {log[-_TAIL_CHARACTERS:].strip()}",
            command="postgres",
            stderr_tail=log[-_TAIL_CHARACTERS:],
            hint="what the server says is the reason; use an older copy meanwhile",
        )
    return log


# Comparing


def compare_copy(copy: ClusterCopy, backup: Backup) -> Comparison:
    """Compare the fingerprinted database of a running copy with the manifest, table by table.

    Raises:
        InvalidInputError: It was not fingerprinted.
    """
    with connect(copy.access, backup.database, purpose="verify", read_only=True) as connection:
        return compare_digests(backup.fingerprint, digest_database(connection, bookkeeping=True))


def without_fingerprints(backup: Backup) -> CouldNotVerifyError:
    """What there is to say of a copy that lives and has nothing to be compared with."""
    return CouldNotVerifyError(
        f"backup {backup.id} comes back to life, its pages and indexes are sound, but its rows cannot be compared:"
        f" {backup.not_covered[0]}",
        hint="take another one when fewer clients write",
    )


def check_indexes(copy: ClusterCopy, backup: Backup) -> str:
    """Look through every table and index of every database of a running copy, each row against each index.

    Returns:
        What was found out, for a report.

    Raises:
        BackupDamagedError: Something is damaged; the message names it.
        EmbeddedServerError: It could not be looked at.
    """
    runtime = copy.cluster.runtime
    try:
        runtime.run(
            [
                runtime.bin_folder / "pg_amcheck",
                f"--host={copy.access.host}",
                f"--port={copy.access.port}",
                f"--username={copy.access.user}",
                "--no-password",
                "--all",
                "--install-missing",
                "--heapallindexed",
                "--jobs=2",
            ],
            patience=PATIENCE,
        )
    except EmbeddedServerError as exc:
        if 'extension "amcheck" is not available' in exc.message or "amcheck.control" in exc.message:
            return "not checked: the extension amcheck is not installed here"
        if exc.exit_code != _AMCHECK_FOUND or "could not access file" in exc.message:  # a library of an extension's
            raise
        raise BackupDamagedError(
            f"backup {backup.id} holds damaged tables or indexes: {exc.stderr_tail}", hint=_LOOK_AT_SOURCE
        ) from exc
    return "every index has every row"


def check_pages(copy: ClusterCopy, backup: Backup) -> str:
    """Stop a copy and check the checksum of every page; pg_basebackup passes over some damage (facts measured).

    Returns:
        What was found out, for a report.

    Raises:
        BackupDamagedError: A page is damaged.
    """
    copy.cluster.stop()
    runtime = copy.cluster.runtime
    try:
        runtime.run([runtime.bin_folder / "pg_checksums", "--check", copy.cluster.layout.data], patience=PATIENCE)
    except EmbeddedServerError as exc:
        if "checksums are not enabled" in exc.message:
            return "the cluster has no page checksums"
        if exc.exit_code != 1:  # it did not come to an end
            raise
        raise BackupDamagedError(
            f"backup {backup.id} holds damaged pages: {exc.stderr_tail}",
            hint=_LOOK_AT_SOURCE,
        ) from exc
    return "every page has its checksum"
