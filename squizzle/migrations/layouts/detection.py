"""Which tool's layout a folder has, told by what lies in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from squizzle.errors import InvalidInputError
from squizzle.migrations.layouts import alembic, dbmate, diesel, flyway, golang_migrate, goose, numbered, sql_migrate
from squizzle.migrations.layouts.files import list_folder, may_be_folder, plain_files, refuse_strays
from squizzle.migrations.layouts.marked import Grammar, has_marks
from squizzle.migrations.layouts.sqitch_plan import PLAN

_GRAMMARS: dict[str, Grammar] = {
    "dbmate": dbmate.GRAMMAR,
    "goose": goose.GRAMMAR,
    "sql-migrate": sql_migrate.GRAMMAR,
}
# Layouts that judge every file of the folder themselves: a plain numbered file among theirs is no second layout.
_JUDGES = frozenset({*_GRAMMARS, "golang-migrate", "flyway"})


def detect_layout(folder: Path) -> str:
    """The name of the folder's layout; `native` for a folder without any migration.

    A native folder and one of diesel's look alike. It is diesel's when a version is a date with `-`, when there is
    diesel's first migration, or a `metadata.toml`; read either way it is the same, but for the text of versions.

    Raises:
        InvalidInputError: Two layouts fit; or none does, though there are files that look like migrations; or the
            folder cannot be read. Nothing was changed.
    """
    entries = list_folder(folder)
    files = plain_files(entries)
    found = [*_of_folders(entries), *_of_files(folder, files)]
    if any(numbered.is_numbered(file.name) for file in files) and not _JUDGES.intersection(found):
        found.append("numbered")
    if len(found) > 1:
        raise InvalidInputError(
            f"{folder} may be laid out in more than one way: {' or '.join(sorted(found))}",
            hint=f"say which with --layout {found[0]} or in squizzle.toml, or move what is not meant elsewhere",
        )
    if not found or found[0] in {"native", "diesel", "sqitch"}:
        refuse_strays(files, wanted="in a way that any layout knows")
    return found[0] if found else "native"


def _of_folders(entries: Sequence[Path]) -> list[str]:
    versions = [entry for entry in entries if may_be_folder(entry) and os.path.lexists(f"{entry}/up.sql")]
    if not versions:
        return []
    return ["diesel" if any(diesel.has_diesel_signs(version) for version in versions) else "native"]


def _of_files(folder: Path, files: Sequence[Path]) -> list[str]:
    scripts = [file for file in files if file.suffix == ".sql" and file.name[:1].isdigit()]
    found = [tool for tool, grammar in _GRAMMARS.items() if any(has_marks(file, grammar) for file in scripts)]
    if golang_migrate.has_pairs(file.name for file in files):
        found.append("golang-migrate")
    is_alembic = alembic.has_alembic_signs(folder)
    if is_alembic:
        found.append("alembic")
    # Alembic's may be the folder of a whole project, with files of every kind somewhere below it.
    if flyway.has_flyway_names(folder, deep=not is_alembic):
        found.append("flyway")
    if os.path.lexists(folder / PLAN):
        found.append("sqitch")
    return found
