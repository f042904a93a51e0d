"""Reading migration folders: nothing is followed out of the folder, nothing that looks like a step is skipped."""

# Paths are texts here: every command reads all of a long history, and with objects it takes three times as long.
# ruff: noqa: PTH114, PTH116, PTH123
from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from squizzle.errors import InvalidInputError

_CODE = frozenset(
    ".cjs .cs .ex .exs .go .groovy .java .js .kt .mjs .php .pl .ps1 .py .rb .rs .scala .sh .ts".split()  # noqa: SIM905 - a list of words
)
# What people keep beside migrations under the same number: notes, pictures, data, and what editors and merges leave.
_NOTES = frozenset(
    ".adoc .bak .csv .gif .html .jpg .md .orig .pdf .png .rej .rst .svg .swp .tmp .tsv .txt".split()  # noqa: SIM905 - a list of words
)
# A number that a letter slipped in front of (`V3_users.sql`, `O003_users.sql`), and `users.up.sql` without a number.
_NEARLY = re.compile(r"v[0-9].*sql.*|[a-z][0-9]{3}.*sql.*|.*\.(?:up|down)\..*sql.*", re.IGNORECASE)


def list_folder(folder: Path) -> list[Path]:
    """What lies in the folder, by name; hidden entries and those that begin with `__` are left out.

    Raises:
        InvalidInputError: The folder is missing or cannot be read, or a name in it cannot be shown: it is not UTF-8, or
            holds a line end or another control character. Nothing was changed.
    """
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith((".", "__"))]
    except FileNotFoundError:
        raise InvalidInputError(
            f"there is no migrations folder {folder}",
            hint="name it with --migrations DIR or in squizzle.toml; `squizzle init` makes one",
        ) from None
    except OSError as exc:
        raise InvalidInputError(
            f"the migrations folder {folder} cannot be read: {exc.strerror}", hint="check its owner and mode"
        ) from exc
    for entry in entries:
        # The history could not keep such a name, and a terminal would do what it says.
        if not entry.name.isprintable():
            raise InvalidInputError(
                f"{folder} holds a name that cannot be shown: {entry.name!a}",
                hint="rename it: UTF-8, without line ends and control characters; or move it elsewhere",
            )
    return sorted(entries, key=lambda entry: entry.name)


def read_script(path: Path | str, *, root: Path) -> str | None:
    """The file's text without a byte order mark, with its line ends; None when there is no such file.

    Args:
        path: The file.
        root: The resolved migrations folder; a link that leads out of it is refused.

    Raises:
        InvalidInputError: Unreadable, no file, not UTF-8, or a link out of the folder. Nothing was changed.
    """
    name = f"{path}"
    try:
        mode = os.lstat(name).st_mode
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    try:
        if not _real_path(name, is_link=stat.S_ISLNK(mode)).startswith(f"{root}".rstrip(os.sep) + os.sep):
            raise InvalidInputError(f"{path} is a link out of {root}", hint="put the file itself there")
        if stat.S_ISLNK(mode):
            mode = os.stat(name).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            raise InvalidInputError(f"{path} is no file but a pipe or a device", hint="put a file there")
        with open(name, "rb", buffering=0) as file:
            return file.readall().decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise InvalidInputError(
            f"{path} is not UTF-8 (byte {exc.start} is {exc.object[exc.start]:#04x})", hint="save the file as UTF-8"
        ) from exc
    except OSError as exc:
        raise _unreadable(path, exc) from exc


def _real_path(name: str, *, is_link: bool) -> str:
    """Where a file really lies.

    Asking for each step of each path was a third of the time; files of one folder follow each other.
    """
    if is_link:
        return os.path.realpath(name)
    folder, file = os.path.split(name)
    found = os.stat(folder or os.curdir)
    return f"{_real_folder(folder, (found.st_dev, found.st_ino))}{os.sep}{file}"


@lru_cache(maxsize=2)
def _real_folder(folder: str, _identity: tuple[int, int]) -> str:
    above, _, name = folder.rpartition(os.sep)
    if not above or name in {"", os.curdir, os.pardir} or os.path.islink(folder):
        return os.path.realpath(folder)
    found = os.stat(above)
    return f"{_real_place(above, (found.st_dev, found.st_ino))}{os.sep}{name}"


@lru_cache(maxsize=1)
def _real_place(folder: str, _identity: tuple[int, int]) -> str:
    return os.path.realpath(folder)


def _unreadable(path: Path | str, exc: OSError) -> InvalidInputError:
    return InvalidInputError(f"{path} cannot be read: {exc.strerror}", hint="check its owner and mode")


def read_present(path: Path, *, root: Path) -> str:
    """The text of a file that must be there.

    Raises:
        InvalidInputError: As for `read_script`, or the file is missing. Nothing was changed.
    """
    text = read_script(path, root=root)
    if text is None:
        raise InvalidInputError(f"there is no {path}", hint="restore the file (git log shows it)")
    return text


def checksum(up_sql: str) -> str:
    """SHA-256 of an up script with Unix line ends, so that a checkout on Windows has the same."""
    return hashlib.sha256(up_sql.replace("\r\n", "\n").encode()).hexdigest()


def may_be_folder(entry: Path) -> bool:
    """Whether it is a folder, or may be one: a link that leads nowhere, or to where we may not look."""
    try:
        return entry.is_dir() or (entry.is_symlink() and not entry.exists())
    except OSError:
        return True


def plain_files(entries: Iterable[Path]) -> list[Path]:
    """The entries that are no folders; a folder that is called `….sql` stays, so that reading it is an error."""
    return [entry for entry in entries if entry.name.endswith(".sql") or not entry_is_folder(entry)]


def entry_is_folder(entry: Path) -> bool:
    """Whether it is a folder for sure; what we may not look at is none, so that reading it becomes an error."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def refuse_strays(files: Iterable[Path], *, wanted: str) -> None:
    """Refuse files that look like steps of the history and are none of this layout.

    Args:
        files: What is left when the layout's own files are taken out.
        wanted: How a migration of this layout is named, for the message.

    Raises:
        InvalidInputError: A step in Go, Python …, or a name with a slip. Nothing was changed.
    """
    for file in files:
        if is_code_step(file.name):
            raise refused_code(file)
        if looks_like_migration(file.name):
            raise InvalidInputError(
                f"{file} looks like a migration, but is not named {wanted}",
                hint="rename it, or move it elsewhere when it is none",
            )


def refused_code(file: Path) -> InvalidInputError:
    """The error for a step that is a program."""
    return InvalidInputError(
        f"{file} is a step in another language than SQL, which Squizzle cannot run",
        hint="run it with the tool it was written for, and have its version adopted as applied elsewhere",
    )


def is_code_step(name: str) -> bool:
    """Whether the file is a numbered step in another language; Go's tests are none."""
    return name[:1].isdigit() and is_program(name) and not name.endswith("_test.go")


def is_program(name: str) -> bool:
    """Whether the file is written in another language than SQL."""
    return Path(name).suffix.lower() in _CODE


def is_note(name: str) -> bool:
    """Whether the file is something that people or their tools keep beside migrations."""
    return Path(name).suffix.lower() in _NOTES or name.endswith("~")


def looks_like_migration(name: str) -> bool:
    """Whether somebody may have meant this file to be a migration."""
    if is_note(name) or name.endswith("_test.go"):
        return False
    return name.lstrip()[:1].isdigit() or _NEARLY.fullmatch(name) is not None
