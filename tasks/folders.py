"""Migrations as they lie on disk, for every area."""

from __future__ import annotations

from pathlib import Path

from squizzle.migrations.layouts import detect_layout, read_migrations
from squizzle.migrations.records import Migration


def read_folders(*folders: Path) -> tuple[Migration, ...]:
    """The migrations of several folders as one history, each in the layout that it looks like."""
    return tuple(migration for folder in folders for migration in read_migrations(folder, detect_layout(folder)))
