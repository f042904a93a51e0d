"""The bookkeeping of other migration tools: read to adopt it, and written to keep it in step with our history."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from squizzle.errors import InvalidInputError
from squizzle.migrations.bookkeeping.alembic import AlembicBooks
from squizzle.migrations.bookkeeping.dbmate import DbmateBooks
from squizzle.migrations.bookkeeping.diesel import DieselBooks
from squizzle.migrations.bookkeeping.flyway import FlywayBooks
from squizzle.migrations.bookkeeping.golang_migrate import GolangMigrateBooks
from squizzle.migrations.bookkeeping.goose import GooseBooks
from squizzle.migrations.bookkeeping.sqitch import SqitchBooks
from squizzle.migrations.bookkeeping.sql_migrate import SqlMigrateBooks
from squizzle.migrations.bookkeeping.tool_books import ToolBooks
from squizzle.migrations.records import Migration

__all__ = ["BOOKS", "ToolBooks", "open_books"]

BOOKS: Mapping[str, Callable[[Path, Sequence[Migration]], ToolBooks]] = {
    "golang-migrate": GolangMigrateBooks,
    "diesel": DieselBooks,
    "dbmate": DbmateBooks,
    "goose": GooseBooks,
    "sql-migrate": SqlMigrateBooks,
    "flyway": FlywayBooks,
    "sqitch": SqitchBooks,
    "alembic": AlembicBooks,
}


def open_books(folder: Path, layout: str, migrations: Sequence[Migration]) -> ToolBooks:
    """How the layout's tool keeps its books about these migrations. No database is asked.

    Args:
        folder: The migrations folder; some tools write more about a file than a migration holds.
        layout: Of the folder; not `auto`.
        migrations: What `read_migrations` found in it.

    Raises:
        InvalidInputError: The layout's tool keeps no books, or a file cannot be read any more. Nothing was changed.
    """
    books = BOOKS.get(layout)
    if books is None:
        raise InvalidInputError(
            f"with the layout {layout!r} there are no books of another tool to adopt or to keep in step",
            hint=f"layouts with books are {', '.join(BOOKS)}: say which with --layout, or remove keep_in_step",
        )
    return books(folder, migrations)
