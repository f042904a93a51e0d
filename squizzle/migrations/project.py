"""What travels: a project folder as the command sees it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from squizzle.migrations.bookkeeping import ToolBooks
from squizzle.migrations.records import Migration, Policy


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """What a project folder holds.

    Attributes:
        migrations: What is on disk.
        policy: What the project allows its migrations.
        books: Another tool's that are kept in step; None for none.
        programs: Folder of pg_dump; None to find it.
    """

    migrations: tuple[Migration, ...]
    policy: Policy
    books: ToolBooks | None
    programs: Path | None
