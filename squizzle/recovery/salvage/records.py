"""What travels about salvaged rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class RowKind(StrEnum):
    """How a row of the damaged database differs from the recovered one's.

    `added`: its key is only in the damaged one: written after the backup. `changed`: both have the key, with other
    values: written after the backup, or damaged. `gone`: only the recovered one has it: deleted after the backup, or
    lost; such rows are back already and are only counted.
    """

    ADDED = "added"
    CHANGED = "changed"
    GONE = "gone"


class RowState(StrEnum):
    """What became of a salvaged row."""

    KEPT = "kept"
    MERGED = "merged"
    CONFLICT = "conflict"


@dataclass(frozen=True, kw_only=True, slots=True)
class TableLayout:
    """What can be compared of one table that both databases have, or that only one has.

    Attributes:
        table: Qualified and quoted name.
        schema: Unquoted.
        name: Unquoted.
        key: The columns of the primary key; empty where there is none, and whole rows are compared.
        columns: Every column with its type as the server prints it, generated ones left out.
        partitioned: Whether rows lie in partitions below it.
    """

    table: str
    schema: str
    name: str
    key: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    partitioned: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class TableSalvage:
    """The rows of one table, damaged against recovered.

    Attributes:
        table: Qualified and quoted name.
        added: Keys that only the damaged one has.
        changed: Keys that both have, with other values.
        gone: Keys that only the recovered one has.
        kept: How many of the added and changed rows were kept; fewer than there are only where a limit was reached.
        note: What could not be compared, and why; empty when everything was.
    """

    table: str
    added: int = 0
    changed: int = 0
    gone: int = 0
    kept: int = 0
    note: str = ""

    @property
    def is_equal(self) -> bool:
        """Whether every row was compared and none differs."""
        return not (self.added or self.changed or self.gone or self.note)


@dataclass(frozen=True, kw_only=True, slots=True)
class Salvage:
    """One comparison of a damaged database with a recovered one, row by row.

    Attributes:
        id: Of the salvage; the kept rows are found by it.
        taken_at: When.
        damaged: Name of the damaged database at that time.
        backup_id: What the recovered one was restored from.
        tables: Those that differ, or could not be compared, in the order of their names.
    """

    id: str
    taken_at: datetime
    damaged: str
    backup_id: str
    tables: tuple[TableSalvage, ...]

    @property
    def rows_at_risk(self) -> int:
        """Rows that only the damaged database has as they are: lost unless they are merged."""
        return sum(one.added + one.changed for one in self.tables)

    @property
    def rows_left_out(self) -> int:
        """Rows at risk that were not kept, because a limit was reached."""
        return sum(one.added + one.changed - one.kept for one in self.tables)


@dataclass(frozen=True, kw_only=True, slots=True)
class Conflict:
    """A salvaged row that was not merged.

    Attributes:
        number: Of the row within its salvage.
        table: Whose.
        key: The primary key as text, or the row where there is none.
        why: What stands in the way.
    """

    number: int
    table: str
    key: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Merge:
    """What came of merging salvaged rows.

    Attributes:
        salvage_id: Whose rows.
        merged: How many rows of each table are in the database now, those that were there already included.
        conflicts: Every row that was not.
        dry_run: Whether everything was undone again at the end.
    """

    salvage_id: str
    merged: tuple[tuple[str, int], ...]
    conflicts: tuple[Conflict, ...]
    dry_run: bool
