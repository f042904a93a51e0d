"""Reading a project folder: its migrations, what it allows, and the books it keeps."""

from __future__ import annotations

import os
from pathlib import Path

from squizzle.config import CONFIG_NAME, load_config
from squizzle.errors import InvalidInputError
from squizzle.migrations.bookkeeping import open_books
from squizzle.migrations.layouts import detect_layout, read_migrations
from squizzle.migrations.layouts.flyway_settings import placeholders_of
from squizzle.migrations.project import Project


def read_project(folder: Path) -> Project:
    """Read `squizzle.toml` and the migrations that it names.

    Raises:
        InvalidInputError: There is no squizzle.toml in the folder, or something in it or in a script cannot be read.
        VersionConflictError: See `read_migrations`.
    """
    file = folder / CONFIG_NAME
    if not file.is_file():
        raise InvalidInputError(
            f"there is no {CONFIG_NAME} in {folder.absolute()}",
            hint="give the folder of the project, as the worker sees it; `squizzle init` writes the file",
        )
    config = load_config(file)
    layout = detect_layout(config.migrations) if config.layout == "auto" else config.layout
    migrations = read_migrations(config.migrations, layout, placeholders=placeholders_of(os.environ))
    books = open_books(config.migrations, layout, migrations) if config.keep_in_step else None
    return Project(migrations=migrations, policy=config.policy, books=books, programs=config.programs)
