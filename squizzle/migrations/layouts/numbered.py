"""Plain numbered files: `1_name.sql`, `2_name.sql`, `10_name.sql`. There is only a way forward.

Many small runners do this, so no tool's source settles the order: numbers count as numbers, and where several files
share one, their names count as text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from squizzle.errors import InvalidInputError
from squizzle.migrations.layouts.files import checksum, list_folder, plain_files, read_present, refuse_strays
from squizzle.migrations.layouts.golang_migrate import declared_alone
from squizzle.migrations.layouts.order import in_order
from squizzle.migrations.layouts.shared_numbers import with_own_versions
from squizzle.migrations.records import Labels, Migration

_FILE = re.compile(r"(?P<number>[0-9]+)(?:(?P<separator>[_-])(?P<name>[^.]+))?\.sql")
_UNDO = re.compile(r"(?:(?P<name>.+)[_-])?(?:down|revert|rollback|undo)")
_SIGNS = re.compile(r"[-\s/@!+#:]+")
# Comments that divide a file into a way forward and a way back, in tools that have no layout here.
_DIVIDERS = frozenset(
    {
        "create above drop below",
        "down",
        "down migration",
        "downs",
        "goose down",
        "micrate down",
        "migrate down",
        "migration down",
        "rollback",
        "undo",
    }
)


def read_migrations(folder: Path) -> tuple[Migration, ...]:
    """Every migration of the folder, lowest number first. Nothing else is touched.

    The version is the number; where several files share one, it is the whole name (`with_own_versions`).

    Raises:
        InvalidInputError: A name with a slip, what looks like a way back (it would run as a way forward), a step that
            is no SQL, or a file that cannot be used. Nothing was changed.
        VersionConflictError: Two names are the same version.
    """
    files = plain_files(list_folder(folder))
    matches = {file: match for file in files if (match := _FILE.fullmatch(file.name))}
    separators = {match["separator"] for match in matches.values()}
    if "_" in separators:
        matches = {file: match for file, match in matches.items() if match["separator"] != "-"}
    refuse_strays((file for file in files if file not in matches), wanted="<number>_<name>.sql")
    _refuse_ways_back(list(matches.values()), folder)
    root = folder.resolve()
    migrations = with_own_versions([_read(file, match, root=root) for file, match in matches.items()])
    keyed = (((int(matches[one.source]["number"]), matches[one.source]["name"] or ""), one) for one in migrations)
    return in_order(keyed, tool="a numbered folder")


def is_numbered(name: str) -> bool:
    """Whether a file may be a migration of this layout."""
    return _FILE.fullmatch(name) is not None


def _read(file: Path, match: re.Match[str], *, root: Path) -> Migration:
    up_sql = read_present(file, root=root)
    _refuse_divider(up_sql, file)
    return Migration(
        version=match["number"],
        name=match["name"] or match["number"],
        up_sql=up_sql,
        down_sql=None,
        verify_sql=None,
        checksum=checksum(up_sql),
        source=file,
        labels=Labels(up=file.name),
        in_transaction=declared_alone(up_sql),
    )


def _refuse_ways_back(matches: Sequence[re.Match[str]], folder: Path) -> None:
    """`7_users_down.sql` beside `7_users.sql` is no migration of its own; `7_tear_down.sql` alone is one."""
    for match in matches:
        undo = _UNDO.fullmatch(match["name"] or "")
        if undo is None:
            continue
        forward = [other for other in matches if other is not match and _undone(other, undo, match)]
        if forward:
            raise InvalidInputError(
                f"{folder / match.string} looks like the way back of {forward[0].string},"
                " and in this layout every file is a way forward",
                hint="name the two <number>_<name>.up.sql and <number>_<name>.down.sql",
            )


def _undone(other: re.Match[str], undo: re.Match[str], match: re.Match[str]) -> bool:
    same_name = undo["name"] is not None and other["name"] in {undo["name"], f"{undo['name']}_up"}
    return same_name or int(other["number"]) == int(match["number"])


def _refuse_divider(text: str, file: Path) -> None:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.startswith(("--", "#")) and " ".join(_SIGNS.sub(" ", line).split()).lower() in _DIVIDERS:
            raise InvalidInputError(
                f"{file}:{number}: {line.strip()!r} looks like the beginning of a way back,"
                " and in this layout the whole file is a way forward",
                hint="split it into <number>_<name>.up.sql and <number>_<name>.down.sql, or reword the comment",
            )
