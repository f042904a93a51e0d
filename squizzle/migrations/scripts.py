"""Paths as scripts to look at: a migrations folder in any layout, a folder of plain SQL, or one file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from squizzle.analysis.lint import Script
from squizzle.analysis.rules.rule import Way
from squizzle.errors import InvalidInputError
from squizzle.migrations.layouts import detect_layout, read_migrations
from squizzle.migrations.layouts.files import read_present
from squizzle.migrations.records import Migration


def scripts_at(path: Path, *, layout: str = "auto", placeholders: Mapping[str, str] | None = None) -> Iterator[Script]:
    """The scripts that a path names; nothing is run.

    A folder that any layout reads gives the up and down scripts of its versions, in order. Any other folder gives every
    `.sql` file below it. One file is read by the layout of its folder where that knows it (a file of dbmate or goose
    holds both ways), otherwise as it is; what it is called tells which way it goes.

    Args:
        path: A folder or a file.
        layout: The layout of the folder; `auto` for what it looks like.
        placeholders: Values for Flyway's `${name}`.

    Raises:
        InvalidInputError: The path is not there or cannot be read.
    """
    if path.is_dir():
        chosen = _layout_of(path) if layout == "auto" else layout
        migrations = read_migrations(path, chosen, placeholders=placeholders) if chosen else ()
        if migrations:
            for migration in migrations:
                yield from _both_ways(migration, path)
        else:
            for file in sorted(path.rglob("*.sql")):
                yield _plain(file)
    elif path.exists():
        yield from _file(path)
    else:
        raise InvalidInputError(f"{path} is not there", hint="name a migrations folder or an SQL file")


def _layout_of(folder: Path) -> str | None:
    """None where no layout fits, or more than one: then every file is read by itself."""
    try:
        found = detect_layout(folder)
    except InvalidInputError:
        return None
    # A folder without any migration counts as native: one that is about to begin.
    has_versions = any((entry / "up.sql").exists() for entry in folder.iterdir())
    return found if found != "native" or has_versions else None


def _both_ways(migration: Migration, folder: Path) -> Iterator[Script]:
    yield Script(text=migration.up_sql, source=str(folder / migration.labels.up))
    if migration.down_sql is not None:
        yield Script(text=migration.down_sql, source=str(folder / migration.labels.down), way=Way.DOWN)


def _file(path: Path) -> Iterator[Script]:
    try:
        migrations = read_migrations(path.parent, detect_layout(path.parent))
    except InvalidInputError:
        migrations = ()
    found = [script for one in migrations for script in _both_ways(one, path.parent) if Path(script.source) == path]
    if found:
        yield from found
    else:
        yield _plain(path)


def _plain(path: Path) -> Script:
    text = read_present(path, root=path.parent.resolve())
    return Script(text=text, source=str(path), way=Way.DOWN if _goes_down(path) else Way.UP)


def _goes_down(path: Path) -> bool:
    name = path.name.lower()
    return name in {"down.sql", "undo.sql"} or ".down." in name or path.parent.name == "revert"
