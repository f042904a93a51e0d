"""Flyway's layout: `V1__name.sql`, `V1_2__name.sql`, `U1__name.sql`, `R__name.sql`, in folders as deep as one likes.

Facts from Flyway's documentation and sources (`ResourceNameParser`, `MigrationVersion`); its program was not at hand:
a version is numbers with `.` or `_` between them, compared one by one, and zeros at its end do not count; what stands
behind `__` is the description, in which `_` is a blank; repeatable migrations run after all versioned ones, in the
order of their descriptions as text, and again when their text has changed; `NAME.sql.conf` holds a script's settings;
`${name}` is a placeholder wherever it stands, also in comments and quotes, and its name is not case-sensitive.
"""

from __future__ import annotations

import os
import re
import string
from collections.abc import Iterable, Mapping
from pathlib import Path

from squizzle.errors import InvalidInputError
from squizzle.migrations.layouts.files import (
    checksum,
    entry_is_folder,
    is_note,
    is_program,
    list_folder,
    read_present,
    refuse_strays,
    refused_code,
)
from squizzle.migrations.layouts.flyway_settings import ScriptSettings, put_in, read_settings
from squizzle.migrations.layouts.order import as_version_text, in_order
from squizzle.migrations.layouts.pairing import Script, pair_scripts
from squizzle.migrations.records import Labels, Migration
from squizzle.migrations.versions import is_repeatable, repeatable_version

# Descriptions as text: a blank, hyphen, digits, letters. A digit stands alone behind a sign (see `order.NAMES`).
_DESCRIPTIONS: Mapping[str, str] = {
    " ": "+",
    "-": "-",
    **{digit: f".{digit}" for digit in string.digits},
    **{letter: letter for letter in string.ascii_uppercase + string.ascii_lowercase},
}
_VERSIONED = re.compile(r"(?P<prefix>[VU])(?P<version>[0-9]+(?:[._][0-9]+)*)(?:__(?P<name>.*))?\.sql")
_REPEATABLE = re.compile(r"R__(?P<name>.+)\.sql")
_SETTINGS = re.compile(r".+\.sql\.conf")
_STEP = re.compile(r"(?:[VU][0-9][0-9._]*|R)__.*")
_WANTED = "V<version>__<name>.sql, U<version>__<name>.sql or R__<name>.sql"
_REFUSED = (
    (
        re.compile(r"(?:(?:before|after)[A-Z]|createSchema).*\.sql"),
        "is a callback of Flyway, which Squizzle does not run",
        "make it a repeatable migration (R__name.sql), or move it elsewhere",
    ),
    (
        re.compile(r"B[0-9].*\.sql"),
        "is a baseline migration of Flyway, which stands for all versions up to its own",
        "keep the versioned scripts and move it elsewhere, or name it V… when they are gone",
    ),
    (
        re.compile(r"(?:[VURB][0-9].*|(?-i:[VUR]_).*|.*__.*)\.sql.*", re.IGNORECASE),
        f"looks like a migration, but is not named {_WANTED}",
        "rename it, or move it elsewhere when it is none",
    ),
)


def read_migrations(folder: Path, *, placeholders: Mapping[str, str] | None = None) -> tuple[Migration, ...]:
    """Every migration of the folder and of the folders in it, in Flyway's order. Nothing else is touched.

    A repeatable migration has the version `99999999999999999999-name` (`is_repeatable`), which stays the same when its
    text changes; only the checksum tells. The checksum is of the text as it is written; that of a repeatable migration
    is of the text with placeholders put in, because it is to run again when a value has changed, as with Flyway.

    Args:
        folder: The migrations folder.
        placeholders: What `${name}` stands for, by name.

    Raises:
        InvalidInputError: A placeholder without a value, a name with a slip, an undo script that fits nothing, a
            callback, a baseline or a step that is no SQL, or a file that cannot be used. Nothing was changed.
        VersionConflictError: Two scripts have the same version, or two repeatable ones the same description.
    """
    root = folder.resolve()
    ups, downs, repeatables, left = _sort_out(_walk(folder, root=root))
    scripts = {script.path for script in (*ups, *downs, *repeatables)}
    _refuse_left(path for path in left if not (_SETTINGS.fullmatch(path.name) and path.with_suffix("") in scripts))
    ways_back = pair_scripts(ups, downs)

    def read(script: Script) -> Migration:
        return _read(script, ways_back.get(script.path), folder=folder, placeholders=placeholders or {})

    versioned = [((0, script.number, ""), read(script)) for script in ups]
    repeated = [((1, (), _description(script)), read(script)) for script in repeatables]
    return in_order((*versioned, *repeated), tool="Flyway")


def has_flyway_names(folder: Path, *, deep: bool = True) -> bool:
    """Whether there is a versioned or repeatable script of Flyway in the folder, or below it (`deep`)."""
    for _place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if deep and not name.startswith((".", "__"))]
        if any(name.endswith(".sql") and _STEP.fullmatch(name) for name in names):
            return True
    return False


def _walk(folder: Path, *, root: Path) -> list[Path]:
    files = []
    for entry in list_folder(folder):
        if not entry_is_folder(entry) or entry.name.endswith(".sql"):
            files.append(entry)
        elif not entry.is_symlink():
            files += _walk(entry, root=root)
        elif not entry.resolve().is_relative_to(root):
            raise InvalidInputError(f"{entry} is a link out of {root}", hint="put the folder itself there")
    return files


def _sort_out(files: Iterable[Path]) -> tuple[list[Script], list[Script], list[Script], list[Path]]:
    ups: list[Script] = []
    downs: list[Script] = []
    repeatables: list[Script] = []
    left: list[Path] = []
    for path in files:
        if match := _VERSIONED.fullmatch(path.name):
            (ups if match["prefix"] == "V" else downs).append(_versioned(match, path))
        elif match := _REPEATABLE.fullmatch(path.name):
            version = _repeatable_version(match["name"], path)
            repeatables.append(Script(number=path, version=version, name=match["name"], path=path))
        else:
            left.append(path)
    return ups, downs, repeatables, left


def _versioned(match: re.Match[str], path: Path) -> Script:
    version = match["version"].replace("_", ".")
    numbers = [int(number) for number in version.split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:  # 1.0 is the same version as 1
        numbers.pop()
    return Script(number=tuple(numbers), version=version, name=match["name"] or version, path=path)


def _repeatable_version(name: str, path: Path) -> str:
    text = as_version_text(name.replace("_", " "), _DESCRIPTIONS)
    if text is None:
        raise InvalidInputError(
            f"the description in the name of {path} cannot be a version",
            hint="name it with letters, digits, _ and - alone",
        )
    return repeatable_version(text)


def _description(script: Script) -> str:
    return script.name.replace("_", " ")


def _read(script: Script, undo: Path | None, *, folder: Path, placeholders: Mapping[str, str]) -> Migration:
    root = folder.resolve()
    label = script.path.relative_to(folder).as_posix()
    undo_label = undo.relative_to(folder).as_posix() if undo else ""
    settings = read_settings(script.path, root=root)
    written = read_present(script.path, root=root)
    up_sql = put_in(written, label, settings, placeholders)
    undo_sql, undo_settings = None, ScriptSettings()
    if undo:
        undo_settings = read_settings(undo, root=root)
        undo_sql = put_in(read_present(undo, root=root), undo_label, undo_settings, placeholders)
    return Migration(
        version=script.version,
        name=script.name,
        up_sql=up_sql,
        down_sql=undo_sql,
        verify_sql=None,
        checksum=checksum(up_sql if is_repeatable(script.version) else written),
        source=script.path,
        labels=Labels(up=label, down=undo_label),
        in_transaction=settings.in_transaction,
        down_in_transaction=undo_settings.in_transaction,
    )


def _refuse_left(files: Iterable[Path]) -> None:
    files = [path for path in files if not is_note(path.name)]
    for path in files:
        if _STEP.fullmatch(path.name) and is_program(path.name):
            raise refused_code(path)
        for pattern, problem, hint in _REFUSED:
            if pattern.fullmatch(path.name):
                raise InvalidInputError(f"{path} {problem}", hint=hint)
    refuse_strays(files, wanted=_WANTED)
