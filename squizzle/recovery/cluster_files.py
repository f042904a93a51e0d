"""A copy of a cluster, put together on the disk: every member checked before, the result after, and made harmless.

What the copy's own files say about addresses, archives and libraries is thrown away: a copy of production must open
nobody's port, write into nobody's archive, and run nobody's jobs.
"""

from __future__ import annotations

import gzip
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path, PurePosixPath

from squizzle.backups.files import check_files
from squizzle.backups.physical.copying import PACKED, SERVER_MANIFEST, plain
from squizzle.backups.physical.take import LOG_FOLDER
from squizzle.backups.records import SIZE_DETAIL, Backup
from squizzle.backups.store import BackupStore
from squizzle.errors import BackupDamagedError, EmbeddedServerError, ToolError
from squizzle.headway import Unit, stretch
from squizzle.postgres.embedded import Runtime
from squizzle.postgres.embedded.settings import render_settings

PATIENCE = timedelta(hours=24)
"""To unpack, to check and to recover a cluster of some terabytes."""

# What the server must have at least as much of as the source, or it refuses to read the source's log.
_AS_THE_SOURCE = {
    "max_connections": "max_connections setting",
    "max_worker_processes": "max_worker_processes setting",
    "max_wal_senders": "max_wal_senders setting",
    "max_prepared_transactions": "max_prepared_xacts setting",
    "max_locks_per_transaction": "max_locks_per_xact setting",
}
_ONLY_US = "local all all trust\n"
_SEGMENT = re.compile(r"[0-9A-F]{24}")
_FIRST_WITH_LINKS = 18


def rebuild(runtime: Runtime, store: BackupStore, backup: Backup, data: Path) -> None:
    """Check and unpack every member of the chain, put them together, check the result, and make it harmless."""
    assemble(runtime, store, backup, data)
    make_harmless(runtime, data, backup)


def assemble(runtime: Runtime, store: BackupStore, backup: Backup, data: Path) -> None:
    """Check and unpack every member of the chain, put them together, and check the result, with its own settings.

    Every member is checked before they are put together: pg_combinebackup takes damaged blocks as they are, and writes
    a manifest in which they are right (measured on 17.10 and 18.6).

    Args:
        runtime: Server programs of the backup's major version.
        store: Where the backup and its chain lie.
        backup: A copy of a cluster.
        data: An empty folder of ours.

    Raises:
        BackupDamagedError: A member is missing, foreign, or not what its manifests say; what was unpacked stays.
        ToolError: There is no room, or a program failed; the same.
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
            _combine(runtime, folders, data, backup)
        finally:
            shutil.rmtree(place, ignore_errors=True)
        verify_with_server_manifest(runtime, data, backup)
    _add_log(store, backup, data)


def _combine(runtime: Runtime, folders: Sequence[str], data: Path, backup: Backup) -> None:
    # Linked: the members are ours alone, and nobody writes to them before they are removed.
    how = ["--link"] if runtime.major >= _FIRST_WITH_LINKS else []
    try:
        with stretch(f"putting {backup.id} together"):
            _run(runtime, "pg_combinebackup", [*folders, f"--output={data}", "--no-sync", *how])
    except EmbeddedServerError as exc:
        _refuse_full_disk(exc.message)
        raise BackupDamagedError(
            f"backup {backup.id} cannot be put together: {exc.stderr_tail or exc.message}", hint="use another backup"
        ) from exc


def _add_log(store: BackupStore, backup: Backup, data: Path) -> None:
    """The log behind the end of the copy, up to the fingerprints; its files were compared with the manifest before."""
    log = [file.path for file in backup.files if PurePosixPath(file.path).parent == PurePosixPath(LOG_FOLDER)]
    with store.fetch(backup, only=log) as folder:
        for path in map(PurePosixPath, log):
            if not _SEGMENT.fullmatch(path.stem):
                raise BackupDamagedError(
                    f"backup {backup.id} holds {path}, which is no segment of a log",
                    hint="use another backup; find out who put it there",
                )
            with plain(folder / path) as segment, _room(), (data / "pg_wal" / path.stem).open("xb") as target:
                shutil.copyfileobj(segment, target, 1 << 20)


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except gzip.BadGzipFile:  # an OSError, too, that says nothing about the disk
        raise
    except OSError as exc:
        raise ToolError(
            f"the copy could not be unpacked to {exc.filename or 'the scratch folder'}: {exc.strerror}",
            hint="free space there, or set TMPDIR to a folder with room for the whole cluster",
        ) from exc


def _refuse_full_disk(text: str) -> None:
    if "No space left on device" in text:
        raise ToolError(
            f"the copy could not be unpacked: {text}",
            hint="free space there, or set TMPDIR to a folder with room for the whole cluster",
        )


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
        packed = {file: found[1] for file in backup.files if (found := PACKED.fullmatch(file.path))}
        # What an increment becomes nobody has counted.
        total = 0 if backup.chain else int(backup.details.get(SIZE_DETAIL, "0"))
        with stretch(f"unpacking {backup.id}", unit=Unit.BYTES, total=total, is_estimate=True) as headway:
            for file, space in packed.items():
                # A tablespace becomes a folder of the copy itself, wherever it lay: a link would lead to the original.
                place = into if space == "base" else into / "pg_tblspc" / space
                place.mkdir(mode=0o700, parents=True, exist_ok=True)
                unpack(folder / file.path, place, on_bytes=headway.add)
        beside = (folder / SERVER_MANIFEST).read_bytes()
        inside = into / SERVER_MANIFEST
        if inside.exists() and inside.read_bytes() != beside:
            raise BackupDamagedError(
                f"backup {backup.id} holds two different files {SERVER_MANIFEST}", hint="use another backup"
            )
        inside.write_bytes(beside)
    verify_with_server_manifest(runtime, into, backup)


def unpack(archive: Path, into: Path, *, on_bytes: Callable[[int], None] = lambda _more: None) -> None:
    """Unpack a copy of a cluster; only files and folders, and none outside.

    Args:
        archive: The packed copy.
        into: A folder.
        on_bytes: Called with the number of bytes of each piece that was written.

    Raises:
        BackupDamagedError: It is cut, damaged, or holds something else.
    """
    with plain(archive) as stream, tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 20) as tar:
        for member in tar:
            _unpack_member(tar, member, into, on_bytes)


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, into: Path, on_bytes: Callable[[int], None]) -> None:
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
        raise BackupDamagedError(f"{member.name} has no content in the copy of the cluster", hint="use another backup")
    with _room(), target.open("xb") as file:
        target.chmod(0o600)
        while chunk := content.read(1 << 20):
            file.write(chunk)
            on_bytes(len(chunk))


def verify_with_server_manifest(runtime: Runtime, data: Path, backup: Backup) -> None:
    """Compare every file with what the server said when it was copied, and read its log through.

    Raises:
        BackupDamagedError: They differ.
    """
    try:
        # As ourselves: the folder is still ours.
        with stretch(f"comparing every file of {backup.id} with what the server copied"):
            _run(runtime, "pg_verifybackup", ["--exit-on-error", "--quiet", str(data)])
    except EmbeddedServerError as exc:
        if exc.exit_code != 1:  # it did not come to an end
            raise
        raise BackupDamagedError(
            f"backup {backup.id} is not what the server copied: {exc.stderr_tail or exc.message}",
            hint="use another backup; keep this one for finding out what damaged it",
        ) from exc


def _run(runtime: Runtime, program: str, arguments: list[str]) -> str:
    """Run one of PostgreSQL's programs on a folder that is still ours."""
    return replace(runtime, runs_as_other=False).run([runtime.bin_folder / program, *arguments], patience=PATIENCE)


HARMLESS = {
    "archive_mode": "off",
    "shared_preload_libraries": "",
    "session_preload_libraries": "",
    "local_preload_libraries": "",
    "max_logical_replication_workers": "0",
    "hot_standby": "off",  # nobody is to see it before it has arrived
    "recovery_target_action": "promote",
    "wal_level": "replica",
}
"""Settings with which a copy writes into nobody's archive, and runs nobody's jobs and libraries."""

CONFIGURATION = ("postgresql.conf", "pg_hba.conf", "pg_ident.conf", "postgresql.auto.conf")


def make_harmless(runtime: Runtime, data: Path, backup: Backup) -> None:
    """Replace what the copy's files say about the world by what a copy may do: be recovered, and be read by us."""
    settings = {
        **HARMLESS,
        **settings_of_source(runtime, data),
        **recovery_settings(backup),
        "fsync": "off",  # it goes away again
        "restore_command": "false",  # everything that it needs is in the copy
    }
    configure(data, render_settings(settings))


def configure(data: Path, settings: str) -> None:
    """Give a copy its settings, let only sockets in, and make it recover when it starts."""
    contents = {"postgresql.conf": settings, "pg_hba.conf": _ONLY_US}
    for name in CONFIGURATION:
        (data / name).write_text(contents.get(name, ""), encoding="utf-8")
    # Without it the server takes the tablespaces as they lie in the copy, instead of linking to where they once were.
    (data / "tablespace_map").unlink(missing_ok=True)
    (data / "standby.signal").unlink(missing_ok=True)
    (data / "recovery.signal").touch(mode=0o600)


def settings_of_source(runtime: Runtime, data: Path) -> dict[str, str]:
    """What the server must have as much of as the source had, and what its tablespaces need."""
    controlled = _control_data(_run(runtime, "pg_controldata", [str(data)]))
    settings = {name: controlled[label] for name, label in _AS_THE_SOURCE.items() if label in controlled}
    if any((data / "pg_tblspc").iterdir()):
        # They are folders inside it, which a server otherwise takes for leftovers and refuses.
        settings["allow_in_place_tablespaces"] = "on"
    return settings


def recovery_settings(backup: Backup) -> dict[str, str]:
    """To recover to the fingerprints: everything for that is in the copy."""
    return {**_target_of(backup), "recovery_target_timeline": "current"}


def _target_of(backup: Backup) -> dict[str, str]:
    if not backup.digest_lsn:
        return {"recovery_target": "immediate"}
    # Inclusive, it would replay the record that begins there, too, which is the first commit that was not seen.
    return {"recovery_target_lsn": backup.digest_lsn, "recovery_target_inclusive": "off"}


def _control_data(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {label.strip(): value.strip() for label, _, value in pairs}
