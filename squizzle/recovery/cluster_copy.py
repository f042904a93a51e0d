"""A copy of a cluster, brought back to life beside everything else: checked, unpacked, recovered to its end, compared.

What the copy's own files say about addresses, archives and libraries is thrown away first: a copy of production must
open nobody's port, write into nobody's archive, and run nobody's jobs.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import IO, cast

import zstandard

from squizzle.backups.files import check_files
from squizzle.backups.physical.chain import SERVER_MANIFEST
from squizzle.backups.physical.take import CLUSTER_FILE, LEFT_OUT_DETAIL, USER_DETAIL
from squizzle.backups.records import Backup
from squizzle.backups.store import BackupStore
from squizzle.errors import BackupDamagedError, EmbeddedServerError
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.embedded import Cluster, Runtime, sweep_abandoned
from squizzle.postgres.embedded.settings import render_settings
from squizzle.postgres.scratch_server import runtime_of
from squizzle.proof.digests import compare_digests, digest_database
from squizzle.proof.records import Comparison

PREFIX = "copy-"
# What the server must have at least as much of as the source, or it refuses to read the source's log.
_AS_THE_SOURCE = {
    "max_connections": "max_connections setting",
    "max_worker_processes": "max_worker_processes setting",
    "max_wal_senders": "max_wal_senders setting",
    "max_prepared_transactions": "max_prepared_xacts setting",
    "max_locks_per_transaction": "max_locks_per_xact setting",
}
_ONLY_US = "local all all trust\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterCopy:
    """A copy that runs.

    Attributes:
        access: How to reach it, as the account that made the backup.
        where: What messages call it.
        cluster: The server and its folder.
    """

    access: ServerAccess
    where: str
    cluster: Cluster


@contextmanager
def running_copy(store: BackupStore, backup: Backup) -> Iterator[ClusterCopy]:
    """The cluster of a backup, recovered to the end of the backup, for the length of the block.

    Args:
        store: Where the backup lies.
        backup: A copy of a cluster.

    Raises:
        BackupDamagedError: A file is not what the manifest says, or not what the server said when it was made.
        CouldNotVerifyError: There are no server programs of this version on this machine.
        EmbeddedServerError: The copy does not start; the end of its log is in the message.
    """
    runtime = runtime_of(backup.server_version // 10000)
    sweep_abandoned(runtime, PREFIX)
    cluster = Cluster(runtime, f"{PREFIX}{os.getpid()}-{secrets.token_hex(3)}")
    try:
        cluster.restore(lambda data: _rebuild(runtime, store, backup, data))
        address = cluster.start(guarded=True)
        access = ServerAccess(
            host=str(address.socket_folder), port=address.port, user=backup.details.get(USER_DETAIL, address.user)
        )
        where = f"a copy on PostgreSQL {runtime.version}"
        yield ClusterCopy(access=access, where=where, cluster=cluster)
    finally:
        cluster.destroy()


def _rebuild(runtime: Runtime, store: BackupStore, backup: Backup, data: Path) -> None:
    """Check and unpack every member of the chain, put them together, check the result, and make it harmless.

    Every member is checked before they are put together: pg_combinebackup takes damaged blocks as they are, and writes
    a manifest in which they are right (measured on 17.10 and 18.6).
    """
    if not backup.chain:
        _unpack_checked(runtime, store, backup, data)
    else:
        members = [*(_member(store, member, backup) for member in backup.chain), backup]
        refuse_foreign(members)
        place = data.with_name(f"{data.name}.members")
        try:
            folders = []
            for number, member in enumerate(members):
                folder = place / str(number)
                folder.mkdir(mode=0o700, parents=True)
                _unpack_checked(runtime, store, member, folder)
                folders.append(str(folder))
            data.rmdir()
            _run(runtime, "pg_combinebackup", [*folders, f"--output={data}", "--no-sync"])
        finally:
            shutil.rmtree(place, ignore_errors=True)
        verify_with_server_manifest(runtime, data, backup)
    make_harmless(runtime, data)


def _member(store: BackupStore, member: str, backup: Backup) -> Backup:
    if member not in store.list_ids():
        raise BackupDamagedError(
            f"backup {backup.id} builds on {member}, which is missing from {store.address}", hint="use another backup"
        )
    return store.read(member)


def refuse_foreign(members: Sequence[Backup]) -> None:
    """Refuse a chain whose members are not of one cluster, or in another order than they were made.

    Raises:
        BackupDamagedError: Names the member that does not belong.
    """
    for earlier, later in pairwise(members):
        if earlier.system_identifier != later.system_identifier or later.chain != (*earlier.chain, earlier.id):
            raise BackupDamagedError(
                f"backup {earlier.id} is not what {later.id} was built on", hint="use another backup"
            )


def _unpack_checked(runtime: Runtime, store: BackupStore, backup: Backup, into: Path) -> None:
    """Compare the files with our manifest, unpack, and let PostgreSQL compare with the server's."""
    with store.fetch(backup) as folder:
        check_files(backup, folder)
        unpack(folder / CLUSTER_FILE, into)
        if (into / SERVER_MANIFEST).read_bytes() != (folder / SERVER_MANIFEST).read_bytes():
            raise BackupDamagedError(
                f"backup {backup.id} holds two different files {SERVER_MANIFEST}", hint="use another backup"
            )
    verify_with_server_manifest(runtime, into, backup)


def unpack(archive: Path, into: Path) -> None:
    """Unpack a copy of a cluster; only files and folders, and none outside.

    Raises:
        BackupDamagedError: It is cut, damaged, or holds something else.
    """
    try:
        with archive.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as plain:
            stream = cast("IO[bytes]", io.BufferedReader(cast("io.RawIOBase", plain), 1 << 20))
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                for member in tar:
                    _unpack_member(tar, member, into)
    except (zstandard.ZstdError, tarfile.TarError, EOFError) as exc:
        raise BackupDamagedError(f"{archive} cannot be unpacked: {exc}", hint="use another backup") from exc


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, into: Path) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
        raise BackupDamagedError(
            f"the copy of the cluster holds {member.name!r}, which is neither a file nor a folder inside it",
            hint="use another backup",
        )
    target = into / path
    if member.isdir():
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        return
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = tar.extractfile(member)
    if content is None:
        raise BackupDamagedError(f"{member.name} has no content in the copy of the cluster")
    with target.open("xb") as file:
        target.chmod(0o600)
        while chunk := content.read(1 << 20):
            file.write(chunk)


def verify_with_server_manifest(runtime: Runtime, data: Path, backup: Backup) -> None:
    """Compare every file with what the server said when it was copied, and read its log through.

    Raises:
        BackupDamagedError: They differ.
    """
    try:
        # As ourselves: the folder is still ours.
        _run(runtime, "pg_verifybackup", ["--exit-on-error", "--quiet", str(data)])
    except EmbeddedServerError as exc:
        raise BackupDamagedError(
            f"backup {backup.id} is not what the server copied: {exc.stderr_tail or exc.message}",
            hint="use another backup; keep this one for finding out what damaged it",
        ) from exc


def _run(runtime: Runtime, program: str, arguments: list[str]) -> str:
    """Run one of PostgreSQL's programs on a folder that is still ours."""
    return replace(runtime, runs_as_other=False).run([runtime.bin_folder / program, *arguments])


def make_harmless(runtime: Runtime, data: Path) -> None:
    """Replace what the copy's files say about the world by what a copy may do: be recovered, and be read by us."""
    controlled = _control_data(_run(runtime, "pg_controldata", [str(data)]))
    settings = {
        **{name: controlled[label] for name, label in _AS_THE_SOURCE.items() if label in controlled},
        "archive_mode": "off",
        "shared_preload_libraries": "",
        "session_preload_libraries": "",
        "local_preload_libraries": "",
        "max_logical_replication_workers": "0",
        "hot_standby": "on",
        "fsync": "off",
        "restore_command": "false",  # everything that it needs is in the copy
        "recovery_target": "immediate",
        "recovery_target_timeline": "current",
        "recovery_target_action": "promote",
        "wal_level": "replica",
    }
    for name in ("pg_hba.conf", "pg_ident.conf", "postgresql.auto.conf"):
        (data / name).write_text(_ONLY_US if name == "pg_hba.conf" else "", encoding="utf-8")
    (data / "postgresql.conf").write_text(render_settings(settings), encoding="utf-8")
    (data / "standby.signal").unlink(missing_ok=True)
    (data / "recovery.signal").touch(mode=0o600)


def _control_data(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {label.strip(): value.strip() for label, _, value in pairs}


# Comparing


def compare_copy(copy: ClusterCopy, backup: Backup) -> Comparison:
    """Compare the fingerprinted database of a running copy with the manifest, table by table.

    Left out are tables that were written to while the copy was made, which have no fingerprint that holds for its end,
    and unlogged ones, which are empty in every copy.
    """
    expected = backup.fingerprint
    with connect(copy.access, backup.database, purpose="verify", read_only=True) as connection:
        found = digest_database(connection, bookkeeping=True)
    compared = {one.table for one in expected.tables}
    left_out = set(json.loads(backup.details.get(LEFT_OUT_DETAIL, "[]")))
    tables = tuple(one for one in found.tables if one.table in compared or one.table not in left_out)
    return compare_digests(expected, replace(found, tables=tables))


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
        runtime.run([runtime.bin_folder / "pg_checksums", "--check", copy.cluster.layout.data])
    except EmbeddedServerError as exc:
        if "checksums are not enabled" in exc.message:
            return "the cluster has no page checksums"
        raise BackupDamagedError(
            f"backup {backup.id} holds damaged pages: {exc.stderr_tail}",
            hint="the source may be damaged, too: run pg_amcheck there, and keep older backups",
        ) from exc
    return "every page has its checksum"
