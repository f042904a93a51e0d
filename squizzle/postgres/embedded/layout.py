"""Where the parts of a cluster lie inside its folder, and how the folder goes away."""

from __future__ import annotations

import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .settings import ARCHIVE_FOLDER

_REMOVAL_ATTEMPTS = 20
_REMOVAL_PAUSE_S = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The paths of one cluster.

    The folder belongs to us and lets the server's account pass; what is in it is closed to everybody else. Ours are
    the marker, the lock, the password and the log; the account's are the data, the socket and the archive.

    Attributes:
        folder: The cluster's folder.
    """

    folder: Path

    @property
    def data(self) -> Path:
        """The data folder; it gets this name when it is complete, by a rename, and loses it before it is deleted."""
        return self.folder / "data"

    def unfinished_data(self) -> Path:
        """Returns a new name for a data folder that is being made or deleted.

        A new one each time: initdb of a creator that was killed may still be running, and empties its folder when it
        fails, which must not be ours.
        """
        return self.folder / f"data.unfinished-{secrets.token_hex(4)}"

    @property
    def sockets(self) -> Path:
        """The private folder of the Unix socket; the name is short because socket paths must be."""
        return self.folder / "run"

    @property
    def archive(self) -> Path:
        """Where the archive command of the drill settings puts WAL segments."""
        return self.folder / ARCHIVE_FOLDER

    @property
    def password_file(self) -> Path:
        """The password of the superuser, in the format that libpq reads (passfile, PGPASSFILE)."""
        return self.folder / "password"

    @property
    def log(self) -> Path:
        """What the server wrote, over all its starts."""
        return self.folder / "log"

    @property
    def lock(self) -> Path:
        """Locked by the process that owns the cluster."""
        return self.folder / "lock"

    @property
    def marker(self) -> Path:
        """Says that this folder is a cluster of ours."""
        return self.folder / "squizzle-cluster"

    @property
    def lasting_mark(self) -> Path:
        """Says that the cluster was started to last, and so is nobody's leftover."""
        return self.folder / "lasting"


def names_in(folder: Path) -> frozenset[str]:
    """Returns the names in a folder; none when there is no such folder.

    Args:
        folder: The folder; what is none counts as one with something strange in it.
    """
    try:
        return frozenset(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return frozenset()
    except NotADirectoryError:
        return frozenset({"."})


def remove_contents(layout: Layout) -> None:
    """Removes all of a cluster but its marker and its lock; killed in between, it leaves a half-made cluster.

    Args:
        layout: The cluster, on which no server runs.
    """
    if layout.data.exists():
        # Without the name it is not taken for a whole data folder, whatever happens to us now.
        layout.data.rename(layout.unfinished_data())
    for name in names_in(layout.folder) - {layout.marker.name, layout.lock.name}:
        _remove(layout.folder / name)


def remove_folder(layout: Layout) -> None:
    """Removes what `remove_contents` left of a cluster that we own.

    Args:
        layout: The cluster.
    """
    layout.marker.unlink(missing_ok=True)
    layout.lock.unlink(missing_ok=True)
    # One who waited for the lock may have begun to make the cluster anew.
    with suppress(OSError):
        layout.folder.rmdir()


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    # The last archive command of a server that was stopped at once may still be writing.
    for _ in range(_REMOVAL_ATTEMPTS):
        with suppress(OSError):
            shutil.rmtree(path)
            return
        time.sleep(_REMOVAL_PAUSE_S)
    shutil.rmtree(path)
