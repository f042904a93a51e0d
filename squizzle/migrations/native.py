"""The native layout: `<version>_<name>/up.sql`, `down.sql`, optional `verify.sql`."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

from squizzle.errors import InvalidInputError, VersionConflictError
from squizzle.migrations.records import Labels, Migration
from squizzle.migrations.versions import is_version, version_key


def read_migrations(folder: Path) -> tuple[Migration, ...]:
    """Every migration of the folder, oldest version first. Nothing else is touched.

    Args:
        folder: Holds one folder a version. Hidden entries and plain files (a README) are passed over; a folder that
            is no migration is an error, because a migration with a slip in its name must not be skipped in silence.

    Raises:
        InvalidInputError: The folder or a file is missing, unreadable, not UTF-8, or a link out of the folder.
        VersionConflictError: Two folders have the same version, or versions that cannot be ordered (`1` and `01`).
    """
    migrations = [_read_migration(entry, root=folder.resolve()) for entry in _version_folders(folder)]
    migrations.sort(key=lambda migration: version_key(migration.version))
    for older, newer in pairwise(migrations):
        if version_key(older.version) == version_key(newer.version):
            raise VersionConflictError(
                f"version {older.version} is there twice: {older.source.name} and {newer.source.name} in {folder}",
                hint="give one of them the next free version",
            )
    return tuple(migrations)


def _version_folders(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
        return [entry for entry in entries if _may_be_version(entry)]
    except FileNotFoundError:
        raise InvalidInputError(
            f"there is no migrations folder {folder}",
            hint="name it with --migrations DIR or in squizzle.toml; `squizzle init` makes one",
        ) from None
    except OSError as exc:
        raise InvalidInputError(
            f"the migrations folder {folder} cannot be read: {exc.strerror}", hint="check its owner and mode"
        ) from exc


def _may_be_version(entry: Path) -> bool:
    leads_nowhere = entry.is_symlink() and not entry.exists()
    return (entry.is_dir() or leads_nowhere) and not entry.name.startswith((".", "__"))


def _read_migration(folder: Path, *, root: Path) -> Migration:
    version, _, name = folder.name.partition("_")
    if not is_version(version) or not name:
        raise InvalidInputError(
            f"{folder} is not named <version>_<name>", hint="rename it (0001_create_users), or move it elsewhere"
        )
    up_sql = _read_script(folder / "up.sql", root=root)
    if up_sql is None:
        raise InvalidInputError(f"{folder} has no up.sql", hint="write it, or remove the folder")
    return Migration(
        version=version,
        name=name,
        up_sql=up_sql,
        down_sql=_read_script(folder / "down.sql", root=root),
        verify_sql=_read_script(folder / "verify.sql", root=root),
        checksum=checksum(up_sql),
        source=folder,
        labels=Labels(up=f"{folder.name}/up.sql", down=f"{folder.name}/down.sql", verify=f"{folder.name}/verify.sql"),
    )


def _read_script(path: Path, *, root: Path) -> str | None:
    if not path.is_symlink() and not path.exists():
        return None
    try:
        if not path.resolve().is_relative_to(root):
            raise InvalidInputError(f"{path} is a link out of {root}", hint="put the file itself there")
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as exc:
        raise InvalidInputError(
            f"{path} is not UTF-8 (byte {exc.start} is {exc.object[exc.start]:#04x})", hint="save the file as UTF-8"
        ) from exc
    except OSError as exc:
        raise InvalidInputError(f"{path} cannot be read: {exc.strerror}", hint="check its owner and mode") from exc
    except RuntimeError as exc:  # what Python before 3.13 raises for a link that leads to itself
        raise InvalidInputError(f"{path} cannot be read: {exc}", hint="put the file itself there") from exc


def checksum(up_sql: str) -> str:
    """SHA-256 of an up script; the text has Unix line ends already, so a checkout on Windows has the same."""
    return hashlib.sha256(up_sql.encode()).hexdigest()
