"""Whether a tool's books and our history say the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from squizzle.errors import VersionConflictError
from squizzle.migrations.bookkeeping.tool_books import Entry, ToolBooks
from squizzle.migrations.history import History
from squizzle.migrations.records import Migration
from squizzle.migrations.versions import version_key
from squizzle.postgres.access import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """How the two differ.

    Attributes:
        only_theirs: What the tool applied and our history does not have, with the tool's entry.
        only_ours: What our history has and the tool's books lack: it was taken back with the tool, or applied while
            nobody kept the books.
        unknown: What the tool applied and is not on disk.
    """

    only_theirs: tuple[tuple[Migration, Entry], ...] = ()
    only_ours: tuple[Migration, ...] = ()
    unknown: tuple[Entry, ...] = ()


def compare(books: ToolBooks, entries: Sequence[Entry], history: History) -> Difference:
    """Compare what the books say with what the history says. Pure."""
    theirs = {entry.key: entry for entry in entries if not entry.outdated}
    ours = _in_history(books.migrations, history)
    on_disk = {books.key(migration): migration for migration in books.migrations}
    only_theirs = [(on_disk[key], theirs[key]) for key in on_disk if key in theirs and on_disk[key].version not in ours]
    if books.newest_only and history.current is not None:
        # Below our newest version the table says nothing, so nothing may be concluded from it.
        current = version_key(history.current)
        only_theirs = [pair for pair in only_theirs if version_key(pair[0].version) > current]
    return Difference(
        only_theirs=tuple(only_theirs),
        only_ours=tuple(one for key, one in on_disk.items() if one.version in ours and key not in theirs),
        unknown=tuple(entry for entry in entries if entry.key not in on_disk),
    )


def _in_history(migrations: Sequence[Migration], history: History) -> frozenset[str]:
    """The versions that are in the database with the text that they have on disk, where it may change."""
    applied = history.applied()
    return frozenset(
        one.version
        for one in migrations
        if one.version in applied and not (one.repeatable and applied[one.version].checksum != one.checksum)
    )


def refuse_unknown(books: ToolBooks, unknown: Sequence[Entry], schema: str) -> None:
    """Refuse when the tool applied what is not on disk.

    Raises:
        VersionConflictError: It did; the message names it. Nothing was changed.
    """
    if unknown:
        names = ", ".join(sorted(entry.label for entry in unknown))
        raise VersionConflictError(
            f"{books.tool} applied what is not in the migrations folder: {names}",
            hint="check out the branch that has them, or take them back with the tool; when their files were removed on"
            f" purpose, take their rows out of {books.place(schema)}. Nothing was changed",
        )


def check_in_step(connection: Connection, schema: str, books: ToolBooks, history: History) -> None:
    """Refuse to run anything while the tool's books and our history differ.

    Raises:
        VersionConflictError: They differ, or the tool's last run failed half-way; the message names the versions.
        InvalidInputError: The table is another tool's.
        DatabaseError: The books cannot be read. Nothing was changed by any of these.
    """
    difference = compare(books, books.entries(connection, schema), history)
    refuse_unknown(books, difference.unknown, schema)
    if difference.only_theirs:
        names = ", ".join(migration.version for migration, _ in difference.only_theirs)
        raise VersionConflictError(
            f"{books.tool} applied what the history does not have: {names} (in {books.place(schema)})",
            hint="`squizzle adopt` takes them into the history, and runs nothing",
        )
    if difference.only_ours:
        names = ", ".join(migration.version for migration in difference.only_ours)
        raise VersionConflictError(
            f"the history has what {books.tool} does not know as applied: {names} (not in {books.place(schema)})",
            hint=which_is_right(books),
        )


def which_is_right(books: ToolBooks) -> str:
    """What to do when only a person can know which of the two is right."""
    return (
        f"look at the schema. Is their work gone, because {books.tool} took them back? `squizzle adopt --trust books`"
        " notes that in the history. Is it there? `squizzle adopt --trust history` writes them into the tool's books"
    )
