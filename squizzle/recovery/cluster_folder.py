"""A copy of a cluster as a data folder that stays: checked, put together, and ready to be started by hand.

It starts harmless: on a socket inside its own folder, without archiving, libraries, jobs. How the source was configured
lies beside, for whoever decides that this is the real server now.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from squizzle.backups.locked_folder import make_locked, take_abandoned
from squizzle.backups.physical.take import USER_DETAIL
from squizzle.backups.records import SIZE_DETAIL, Backup
from squizzle.backups.space import MARGIN, size_words
from squizzle.backups.store import BackupStore
from squizzle.backups.wal.archive import WalArchive
from squizzle.errors import InvalidInputError, RefusedError, ToolError
from squizzle.postgres.embedded import Runtime
from squizzle.postgres.embedded.base_folder import refuse_long_socket_path
from squizzle.postgres.embedded.settings import render_lines
from squizzle.postgres.scratch_server import runtime_of
from squizzle.recovery.cluster_files import (
    CONFIGURATION,
    HARMLESS,
    assemble,
    configure,
    recovery_settings,
    settings_of_source,
)
from squizzle.recovery.recovery_target import RecoveryTarget, refuse_too_early

SAVED = ".from-backup"
"""Ends the names of the configuration files that the copy came with."""

_PORT = 5432
_WORK = ".squizzle-restore"
# PostgreSQL starts nothing in a folder without this file, so it gets its name last.
_LAST = "PG_VERSION"
_HEAD = f"""\
# Written by `squizzle restore`: this server is a copy. It listens on a socket in its data folder alone, archives
# nothing, and loads and runs nothing of the source's. To make it the real one: stop it, put the files {SAVED} back
# in their places, give it an archive of its own (never the old one's), start it, and take a new backup.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveUse:
    """Where the log behind the copy comes from.

    Attributes:
        archive: The archive.
        program: The command of ours that the server's account runs, as the beginning of a shell command.
        target: Up to where.
        timeline: `current`, that of the copy, `latest`, or a number.
        key_file: What the archive's files are decrypted with; the server's account must be able to read it.
    """

    archive: WalArchive
    program: str
    target: RecoveryTarget
    timeline: str = "current"
    key_file: Path | None = None

    @property
    def settings(self) -> dict[str, str]:
        """For postgresql.conf."""
        store = shlex.quote(self.archive.address)
        # PostgreSQL reads `%20` of an address as a placeholder of its own (manual, "restore_command").
        key = f" --key-file {shlex.quote(str(self.key_file.absolute()))}" if self.key_file else ""
        command = f"{self.program.replace('%', '%%')} fetch-wal %f %p --store {(store + key).replace('%', '%%')}"
        return {
            "restore_command": command,
            "recovery_target_timeline": self.timeline,
            **self.target.settings(),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoredCluster:
    """A data folder that can be started.

    Attributes:
        folder: The data folder.
        recovers_to: What the server recovers to when it is started, for a person.
        start: The command that starts it, for a shell.
        connect: The command that looks at it.
        saved: Configuration files of the source, under their new names.
    """

    folder: Path
    recovers_to: str
    start: str
    connect: str
    saved: tuple[str, ...]


def restore_cluster(
    store: BackupStore, backup: Backup, folder: Path, *, log: ArchiveUse | None = None, ignore_space: bool = False
) -> RestoredCluster:
    """Make a data folder out of a copy of a cluster and its chain. Nothing is started; the source is not touched.

    Every file of every member is compared with our manifest and with the server's before they are put together, and
    the result once more. A run that was killed leaves a folder that PostgreSQL does not start and the next run clears.

    Args:
        store: Where the backup and its chain lie.
        backup: A physical or incremental one.
        folder: Empty, or not there. Run by root, its owner is who the server will run as.
        log: The archive to recover from beyond the copy; None recovers to the moment of its fingerprints, for which
            everything is in the copy.
        ignore_space: Begin though there may be no room.

    Raises:
        InvalidInputError: It is no copy of a cluster, the point lies before it, the archive has nothing of it, or
            there is no room. Nothing was made.
        RefusedError: The folder has something in it, or no owner that PostgreSQL runs under. It was not touched.
        CouldNotVerifyError: There are no server programs of this version on this machine. Nothing was made.
        BackupDamagedError, ToolError: A member is missing or damaged, or a program failed. The folder is empty again.
    """
    if not backup.kind.is_cluster:
        raise InvalidInputError(
            f"backup {backup.id} ({backup.kind}) is no copy of a cluster",
            hint=f"squizzle restore {backup.id} --into NAME restores it as a database",
        )
    if log is not None:
        _refuse_useless(log, backup)
    folder = folder.absolute()
    refuse_long_socket_path(folder)
    runtime = runtime_of(backup.server_version // 10000)
    owner = _server_owner(folder)
    with _work_place(folder) as place:
        if not ignore_space:
            refuse_without_room(runtime, backup, folder)
        data = place / "data"
        data.mkdir(mode=0o700)
        assemble(runtime, store, backup, data)
        saved = _set_aside(data)
        # Without an archive everything that it needs is in the copy.
        recovery = log.settings if log else {**recovery_settings(backup), "restore_command": "false"}
        own = {"listen_addresses": "", "port": str(_PORT), "unix_socket_directories": str(folder)}
        configure(data, _HEAD + render_lines(HARMLESS | settings_of_source(runtime, data) | recovery | own))
        _settle(data, owner)
        _move_up(data, folder)
    return _restored(runtime, backup, folder, owner, saved, log)


def _refuse_useless(log: ArchiveUse, backup: Backup) -> None:
    refuse_too_early(log.target, backup)
    if backup.system_identifier not in log.archive.clusters():
        raise InvalidInputError(
            f"{log.archive.address} has no log of the cluster {backup.system_identifier} of backup {backup.id}",
            hint="name the store that archive-wal was given: `squizzle wal --store …` lists what one holds",
        )


# The folder


def _server_owner(folder: Path) -> pwd.struct_passwd | None:
    """Who the server will run as; None for ourselves."""
    if os.geteuid() != 0:
        return None
    if not folder.is_dir() or folder.stat().st_uid == 0:
        raise RefusedError(
            f"PostgreSQL refuses to run as root, and nobody else owns {folder}",
            hint=f"make it first for the account that is to run the server: install -d -m 700 -o postgres {folder}",
        )
    return pwd.getpwuid(folder.stat().st_uid)


@contextmanager
def _work_place(folder: Path) -> Iterator[Path]:
    """A place inside the folder to work in, so that everything lies on one file system; gone after the block.

    Whatever goes wrong, the folder is empty again.
    """
    place = folder / _WORK
    made = not folder.exists()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _clear_abandoned(folder)
        found = sorted(path.name for path in folder.iterdir())
        if found:
            raise RefusedError(
                f"{folder} is not empty: it has {found[0]}{' and more' if len(found) > 1 else ''}",
                hint="name an empty folder, or one that is not there: nothing is ever restored over something",
            )
        folder.chmod(0o700)  # PostgreSQL refuses a data folder that others may enter
        lock = make_locked(place)
    except OSError as exc:
        raise InvalidInputError(
            f"{folder} cannot be used: {exc.strerror}", hint="check owner and mode of it and of the folder above"
        ) from exc
    try:
        yield place
        shutil.rmtree(place)
    except BaseException:
        _empty(folder)
        if made:
            folder.rmdir()
        raise
    finally:
        os.close(lock)


def _clear_abandoned(folder: Path) -> None:
    """Empty the folder of a run that was killed: it began with an empty one, so all is ours until it is whole."""
    if (folder / _LAST).exists():
        return
    lock = take_abandoned(folder / _WORK)
    if lock is not None:
        _empty(folder)
        os.close(lock)


def _empty(folder: Path) -> None:
    """Remove everything in it, the mark of ours last: half removed, it is still known as ours."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == _WORK):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def refuse_without_room(runtime: Runtime, backup: Backup, folder: Path, *, more: int = 0) -> None:
    """Refuse to put a copy together where there is no room for it.

    Args:
        runtime: Server programs of its major version.
        backup: The copy; its chain is counted.
        folder: Where.
        more: What else is going to lie there, in bytes.

    Raises:
        InvalidInputError: With the figures; nothing was made.
    """
    source = int(backup.details.get(SIZE_DETAIL, "0"))
    # The members of a chain lie beside the result until it is put together, unless their files can be linked.
    copies = 2 if backup.chain else 1
    free = shutil.disk_usage(folder).free
    wanted = round((source * copies + more) * MARGIN)
    if free < wanted:
        raise InvalidInputError(
            f"the cluster had {size_words(source)}; with what is put together from it and a fifth more that is"
            f" {size_words(wanted)}, but {size_words(free)} are free in {folder} (PostgreSQL {runtime.major})",
            hint="free space there, name another folder, or say why with --ignore-space REASON",
        )


# Its content


def _set_aside(data: Path) -> tuple[str, ...]:
    saved = []
    for name in CONFIGURATION:
        if (data / name).is_file():
            (data / name).rename(data / f"{name}{SAVED}")
            saved.append(f"{name}{SAVED}")
    return tuple(saved)


def _settle(data: Path, owner: pwd.struct_passwd | None) -> None:
    """Give everything to the server's account, and make it durable."""
    for path in (*data.rglob("*"), data):
        if owner is not None:
            os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
        _sync(path)


def _move_up(data: Path, folder: Path) -> None:
    try:
        for path in sorted(data.iterdir(), key=lambda path: path.name == _LAST):
            if path.name == _LAST:
                _sync(folder)
            path.rename(folder / path.name)
        _sync(folder)
    except OSError as exc:
        raise ToolError(
            f"{folder} could not be filled: {exc.strerror}", hint="check the disk, then run the same again"
        ) from exc


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _restored(
    runtime: Runtime,
    backup: Backup,
    folder: Path,
    owner: pwd.struct_passwd | None,
    saved: tuple[str, ...],
    log: ArchiveUse | None,
) -> RestoredCluster:
    program = [str(runtime.bin_folder / "pg_ctl"), f"--pgdata={folder}", f"--log={folder / 'startup.log'}", "start"]
    prefix = [] if owner is None else ["runuser", "-u", owner.pw_name, "--"]
    user = backup.details.get(USER_DETAIL, "postgres")
    look = ["psql", f"--host={folder}", f"--port={_PORT}", f"--username={user}", f"--dbname={backup.database}"]
    if log is not None:
        recovers_to = log.target.words
    elif backup.digest_lsn:
        recovers_to = f"the moment of its fingerprints, {backup.digest_lsn}"
    else:
        recovers_to = "its end"
    return RestoredCluster(
        folder=folder,
        recovers_to=recovers_to,
        start=shlex.join([*prefix, *program]),
        connect=shlex.join([*prefix, *look]),
        saved=saved,
    )
