"""The one folder below which everything of the embedded servers lives.

As root, programs run from it and files in it are trusted, in a temp folder that everybody can write to. So it is
used only when nobody but us can have put anything there.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

from squizzle.errors import InvalidInputError

SOCKET_PATH_LIMIT_BYTES = 107 if sys.platform == "linux" else 103
"""What `sockaddr_un.sun_path` holds (108 on Linux, 104 on BSD and macOS) without the byte that ends it."""

LONGEST_SOCKET_NAME = ".s.PGSQL.65535"


def default_base() -> Path:
    """Returns the base folder of this user: `squizzle-<effective user id>` in the system's temp folder."""
    return Path(tempfile.gettempdir()) / f"squizzle-{os.geteuid()}"


def safe_base(folder: Path) -> Path:
    """Makes the base folder (0755) when it is missing, and makes sure that only this user can change it.

    Args:
        folder: The folder; the one above it must exist.

    Returns:
        Its absolute path, the folders above it resolved.

    Raises:
        InvalidInputError: It is a symbolic link or no folder, belongs to another user, can be written by others, or
            its path is too long for a Unix socket. Its mode was not changed.
    """
    above = folder.parent.resolve()
    base = above / folder.name
    _refuse_unsuitable_text(base)
    _make_unless_there(base)
    found = base.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise _not_ours(base, "it is a symbolic link or no folder")
    if found.st_uid != os.geteuid():
        raise _not_ours(base, f"it belongs to user {found.st_uid}, and we are user {os.geteuid()}")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _not_ours(base, f"its mode is {stat.S_IMODE(found.st_mode):04o}: others can write to it")
    _refuse_swappable(base, above.stat())
    return base


def refuse_long_socket_path(socket_folder: Path) -> None:
    """Checks that a server can listen on a socket in this folder.

    Args:
        socket_folder: The folder of the socket; it need not exist.

    Raises:
        InvalidInputError: The socket's path would be cut by the system. Nothing was changed.
    """
    length = len(os.fsencode(socket_folder / LONGEST_SOCKET_NAME))
    if length > SOCKET_PATH_LIMIT_BYTES:
        raise InvalidInputError(
            f"a socket in {socket_folder} would have a path of {length} bytes; "
            f"the system allows {SOCKET_PATH_LIMIT_BYTES}",
            hint="Use a shorter base folder or a shorter name for the cluster.",
        )


def _make_unless_there(base: Path) -> None:
    try:
        base.mkdir(mode=0o755)
    except FileExistsError:
        return
    except OSError as error:
        raise InvalidInputError(
            f"the base folder {base} cannot be made: {error.strerror}",
            hint="check owner and mode of the folder above, or set TMPDIR to another one",
        ) from error
    base.chmod(0o755)  # mkdir's mode was cut by the umask, and the server's account must get through


def _refuse_unsuitable_text(base: Path) -> None:
    # Such a character would end a line of postgresql.conf or of postmaster.pid.
    if not str(base).isprintable():
        raise InvalidInputError(
            f"the base folder {str(base)!r} has control characters in its path",
            hint="set TMPDIR to a folder with a plain name",
        )


def _refuse_swappable(base: Path, above: os.stat_result) -> None:
    if above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX:
        raise _not_ours(base, "everybody can rename it: the folder above it is open to all and not sticky")


def _not_ours(base: Path, why: str) -> InvalidInputError:
    return InvalidInputError(
        f"the base folder {base} of the embedded servers is not safely ours: {why}",
        hint="Look at what it is, and remove it or name another base folder.",
    )
