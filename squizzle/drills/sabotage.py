"""Migrations that should never have been written, as a project has them on disk."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from squizzle.config import CONFIG_NAME
from squizzle.errors import ToolError

# After every version that a project can have: numbers, and times to the second.
VERSION = "99999999999991"
NEXT_VERSION = "99999999999992"


def write_migration(folder: Path, *, up: str, down: str | None, version: str = VERSION) -> Path:
    """Write a migration of the native layout; returns the folder, for whoever applies it.

    Args:
        folder: The project's folder of migrations; it is made.
        up: Its SQL.
        down: The SQL of its way back; None for none.
        version: Its version.

    Raises:
        ToolError: It cannot be written.
    """
    place = folder / f"{version}_drill"
    try:
        place.mkdir(parents=True)
        (place / "up.sql").write_text(f"{up};\n", encoding="utf-8")
        if down is not None:
            (place / "down.sql").write_text(f"{down};\n", encoding="utf-8")
    except OSError as exc:
        raise ToolError(
            f"the migration of the drill could not be written to {place}: {exc.strerror}",
            hint="free space there, or set TMPDIR to a folder with room",
        ) from exc
    return folder


def write_project(folder: Path, migrations: Sequence[Path]) -> Path:
    """Make a folder that has `migrations` a project of its own, with what was applied before; returns it.

    Args:
        folder: Has the drill's own migration in `migrations`.
        migrations: Folders of the migrations that came before.

    Raises:
        ToolError: It cannot be written.
    """
    try:
        for one in migrations:
            shutil.copytree(one, folder / "migrations", dirs_exist_ok=True)
        (folder / CONFIG_NAME).write_text("", encoding="utf-8")
    except OSError as exc:
        raise ToolError(
            f"the project of the drill could not be written to {folder}: {exc.strerror}",
            hint="free space there, or set TMPDIR to a folder with room",
        ) from exc
    return folder
