"""Migrations as they lie on disk, for every area."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from squizzle.migrations.layouts import detect_layout, read_migrations
from squizzle.migrations.records import Migration


@dataclass(frozen=True, kw_only=True, slots=True)
class MigrationsFolder:
    """A folder whose layout somebody named.

    Attributes:
        path: The folder.
        layout: One of `LAYOUTS`, and not `auto`.
        placeholders: What stands for what in scripts of Flyway, as (name, value).
    """

    path: Path
    layout: str
    placeholders: tuple[tuple[str, str], ...] = ()


# A path is read in the layout that it looks like.
Folder = Path | MigrationsFolder


def read_folders(*folders: Folder) -> tuple[Migration, ...]:
    """The migrations of several folders as one history."""
    return tuple(migration for folder in folders for migration in _read(folder))


def _read(folder: Folder) -> tuple[Migration, ...]:
    if isinstance(folder, MigrationsFolder):
        return read_migrations(folder.path, folder.layout, placeholders=dict(folder.placeholders))
    return read_migrations(folder, detect_layout(folder))
