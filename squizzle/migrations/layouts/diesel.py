"""Diesel's layout: `2017-09-23-123456_name/up.sql`, `down.sql`, optional `metadata.toml`.

Facts from diesel's sources (`migrations_internals/src/lib.rs`, `file_based_migrations.rs`): the version is what stands
before the first `_`, without its `-`; versions are compared as text; hidden folders are passed over, and any other one
without `up.sql` is an error; `run_in_transaction` is the one setting of `metadata.toml`.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

from squizzle.errors import InvalidInputError
from squizzle.migrations.layouts.files import list_folder, may_be_folder, read_script
from squizzle.migrations.layouts.native import read_version_folder
from squizzle.migrations.layouts.order import in_order
from squizzle.migrations.records import Migration

_NUMBER = re.compile(r"[0-9]+(?:-[0-9]+)*")
_DATED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:-[0-9]+)*_.*")
_FIRST = "_diesel_initial_setup"


def read_migrations(folder: Path) -> tuple[Migration, ...]:
    """Every migration of the folder, in diesel's order. Nothing else is touched.

    The version is the digits of the folder's name before the first `_`: `20170308120000_x` comes before
    `2017-09-23-123456_y`, which a listing of the folder has the other way round.

    Raises:
        InvalidInputError: A folder that is no migration, a file that cannot be used, or versions of different length
            that diesel orders otherwise than their numbers. Nothing was changed.
        VersionConflictError: Two folders have the same version.
    """
    migrations = [_read_version(entry, root=folder.resolve()) for entry in list_folder(folder) if may_be_folder(entry)]
    return in_order(((one.version, one) for one in migrations), tool="diesel")


def has_diesel_signs(folder: Path) -> bool:
    """Whether a migration's folder shows that diesel made it: a date with `-`, its first migration, or its settings."""
    name = folder.name
    return bool(_DATED.fullmatch(name)) or name.endswith(_FIRST) or os.path.lexists(f"{folder}/metadata.toml")


def split_name(folder_name: str) -> tuple[str, str] | None:
    """The version and the name that a folder's name holds; None when it is not named so."""
    number, _, name = folder_name.partition("_")
    if not _NUMBER.fullmatch(number):
        return None
    version = number.replace("-", "")
    return version, name or version


def _read_version(folder: Path, *, root: Path) -> Migration:
    parts = split_name(folder.name)
    if parts is None:
        raise InvalidInputError(
            f"{folder} is not named <version>_<name>",
            hint="rename it (2017-09-23-123456_create_users), or move it elsewhere",
        )
    version, name = parts
    declared = _declared(folder, root=root)
    return read_version_folder(folder, version=version, name=name, root=root, in_transaction=declared)


def _declared(folder: Path, *, root: Path) -> bool | None:
    file = folder / "metadata.toml"
    try:
        settings = tomllib.loads(read_script(file, root=root) or "")
    except tomllib.TOMLDecodeError as exc:
        raise InvalidInputError(f"{file} is not TOML: {exc}", hint="mend or remove it") from exc
    declared = settings.get("run_in_transaction")
    if declared is not None and not isinstance(declared, bool):
        raise InvalidInputError(f"{file}: run_in_transaction must be true or false", hint="mend or remove it")
    return declared
