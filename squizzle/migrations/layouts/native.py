"""The native layout: `<version>_<name>/up.sql`, `down.sql`, optional `verify.sql`."""

from __future__ import annotations

from pathlib import Path

from squizzle.errors import InvalidInputError
from squizzle.migrations.layouts.files import checksum, list_folder, may_be_folder, read_script, refused_code
from squizzle.migrations.layouts.order import in_order
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
    entries = [entry for entry in list_folder(folder) if may_be_folder(entry)]
    root = folder.resolve()
    migrations = [_read_version(entry, root=root) for entry in entries]
    return in_order(((version_key(one.version), one) for one in migrations), tool="Squizzle")


def _read_version(folder: Path, *, root: Path) -> Migration:
    version, _, name = folder.name.partition("_")
    if not is_version(version) or not name:
        raise InvalidInputError(
            f"{folder} is not named <version>_<name>", hint="rename it (0001_create_users), or move it elsewhere"
        )
    return read_version_folder(folder, version=version, name=name, root=root)


def read_version_folder(
    folder: Path, *, version: str, name: str, root: Path, in_transaction: bool | None = None
) -> Migration:
    """One migration that has a folder of its own, with `up.sql` and perhaps `down.sql` and `verify.sql`.

    What is declared counts for both directions.

    Raises:
        InvalidInputError: `up.sql` is missing, or a file cannot be used (`read_script`). Nothing was changed.
    """
    up_sql = read_script(f"{folder}/up.sql", root=root)
    if up_sql is None:
        raise _without_up(folder)
    return Migration(
        version=version,
        name=name,
        up_sql=up_sql,
        down_sql=read_script(f"{folder}/down.sql", root=root),
        verify_sql=read_script(f"{folder}/verify.sql", root=root),
        checksum=checksum(up_sql),
        source=folder,
        labels=Labels(up=f"{folder.name}/up.sql", down=f"{folder.name}/down.sql", verify=f"{folder.name}/verify.sql"),
        in_transaction=in_transaction,
        down_in_transaction=in_transaction,
    )


def _without_up(folder: Path) -> InvalidInputError:
    programs = (
        [entry for entry in list_folder(folder) if entry.stem == "up" and entry.suffix] if folder.is_dir() else []
    )
    if programs:
        return refused_code(programs[0])
    return InvalidInputError(f"{folder} has no up.sql", hint="write it, or remove the folder")
