"""Migration folders, laid out by Squizzle or by another tool, as one kind of record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from squizzle.errors import InvalidInputError
from squizzle.migrations.layouts import (
    alembic,
    dbmate,
    diesel,
    flyway,
    golang_migrate,
    goose,
    native,
    numbered,
    sqitch,
    sql_migrate,
)
from squizzle.migrations.layouts.detection import detect_layout
from squizzle.migrations.records import Migration

__all__ = ["READERS", "detect_layout", "read_migrations"]

READERS: Mapping[str, Callable[[Path], tuple[Migration, ...]]] = {
    "native": native.read_migrations,
    "golang-migrate": golang_migrate.read_migrations,
    "diesel": diesel.read_migrations,
    "dbmate": dbmate.read_migrations,
    "goose": goose.read_migrations,
    "sql-migrate": sql_migrate.read_migrations,
    "flyway": flyway.read_migrations,
    "sqitch": sqitch.read_migrations,
    "numbered": numbered.read_migrations,
    "alembic": alembic.read_migrations,
}


def read_migrations(
    folder: Path, layout: str = "auto", *, placeholders: Mapping[str, str] | None = None
) -> tuple[Migration, ...]:
    """Every migration of the folder, in the order of its tool, which is also the order of versions.

    Args:
        folder: The migrations folder.
        layout: A name of READERS, or `auto` for what `detect_layout` finds.
        placeholders: Values for Flyway's `${name}`; other layouts have no placeholders.

    Raises:
        InvalidInputError: No such layout, or the folder cannot be read as one (see the layout). Nothing was changed.
        VersionConflictError: Two migrations have the same version. Nothing was changed.
    """
    chosen = detect_layout(folder) if layout == "auto" else layout
    reader = READERS.get(chosen)
    if reader is None:
        raise InvalidInputError(f"there is no layout {chosen!r}", hint=f"known are auto, {', '.join(READERS)}")
    if chosen == "flyway":
        reader = partial(flyway.read_migrations, placeholders=placeholders)
    return reader(folder)
