"""Makes data folders: by initdb, or in a fraction of the time by copying one that initdb made before.

Everything that is written into a data folder is written by a process under the server's account. As root we must
not write there ourselves: that account could put a link where we expect a file.
"""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

from squizzle.errors import EmbeddedServerError

from .make_once import make_once
from .runtime import Runtime
from .server import SUPERUSER

_COPY: tuple[str, ...] = ("cp", "-a", "--reflink=auto") if sys.platform == "linux" else ("cp", "-Rp")
"""On file systems with shared extents (xfs, btrfs) the copy takes no time and no space."""

_TEMPLATE_FORMAT = 1
"""To be raised with every change of what initdb is told."""

_PASSWORD_BYTES = 24


def fill_data_folder(runtime: Runtime, folder: Path, *, from_template: bool) -> None:
    """Fills an empty data folder with a fresh database cluster, checksums on.

    Nothing is synced to disk: until the kernel wrote it out (half a minute), a crash of the machine may lose it.

    Args:
        runtime: Binaries and account.
        folder: An empty folder that belongs to the account.
        from_template: Whether it may be a copy of the template, which is made when it is missing. Copies have the
            template's system identifier; initdb gives each folder its own, by which PostgreSQL tells WAL and backups
            of one cluster from those of another.

    Raises:
        EmbeddedServerError: A program failed. The folder may be partly filled.
    """
    if not from_template:
        _initdb(runtime, folder)
        return
    template = make_once(
        runtime.base / ".templates" / f"{runtime.key()}-{_TEMPLATE_FORMAT}",
        lambda place: _make_template(runtime, place),
    )
    runtime.run([*_COPY, f"{template / 'data'}/.", f"{folder}/"])


def make_empty(runtime: Runtime, folder: Path) -> None:
    """Makes an empty folder (0700) that belongs to the server's account.

    Args:
        runtime: The account.
        folder: The folder; it must not exist.
    """
    folder.mkdir(mode=0o700)
    runtime.hand_over(folder)


def set_random_password(runtime: Runtime, folder: Path) -> str:
    """Gives the superuser of a data folder that no server runs on a new password, and returns it.

    Args:
        runtime: Binaries and account.
        folder: The data folder.

    Raises:
        EmbeddedServerError: The server program failed; the password may be set or not.
    """
    password = secrets.token_urlsafe(_PASSWORD_BYTES)
    server = runtime.bin_folder / "postgres"
    try:
        runtime.run(
            # Without syncs, like the rest of a new folder.
            [server, "--single", "-D", folder, "-c", "fsync=off", "-c", "exit_on_error=on", "postgres"],
            stdin=f"ALTER ROLE {SUPERUSER} PASSWORD '{password}'\n",
        )
    except EmbeddedServerError as error:
        # What the server writes repeats the statement.
        reason = error.message.replace(password, "***")
        raise EmbeddedServerError(
            f"the password could not be set: {reason}",
            command="postgres",
            hint="what it says is the reason; run the same again, the folder is made anew",
        ) from None
    return password


def append_settings(runtime: Runtime, folder: Path, lines: str) -> None:
    """Adds lines to the end of a data folder's postgresql.conf.

    Args:
        runtime: The account.
        folder: The data folder.
        lines: Whole lines in the file's syntax.

    Raises:
        EmbeddedServerError: They could not be written.
    """
    runtime.run(["/bin/sh", "-c", 'cat >>"$1"', "sh", folder / "postgresql.conf"], stdin=lines)


def _make_template(runtime: Runtime, place: Path) -> None:
    make_empty(runtime, place / "data")
    _initdb(runtime, place / "data")


def _initdb(runtime: Runtime, folder: Path) -> None:
    # initdb turns passwords on for TCP only when it is given one. This one is nobody's: every cluster gets its own.
    password_file = folder.with_name(f"{folder.name}.password")
    password_file.touch(mode=0o600)
    password_file.write_text(f"{secrets.token_urlsafe(_PASSWORD_BYTES)}\n")
    runtime.hand_over(password_file)
    try:
        runtime.run(
            [
                runtime.bin_folder / "initdb",
                f"--pgdata={folder}",
                f"--username={SUPERUSER}",
                "--auth-local=trust",
                "--auth-host=scram-sha-256",
                f"--pwfile={password_file}",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--data-checksums",
                "--no-sync",
            ],
        )
    finally:
        password_file.unlink()
