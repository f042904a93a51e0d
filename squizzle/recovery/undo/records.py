"""What travels: what is to be undone, what that does to which row, and what stands in its way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from squizzle.backups.change_log.changes import ChangeLogMark


class RowAction(StrEnum):
    """What undoing does to one row."""

    RESTORE = "restore"
    REVERT = "revert"
    REMOVE = "remove"


class ConflictReason(StrEnum):
    """Why a row stays as it is."""

    CHANGED_LATER = "changed_later"
    NOT_EXPLAINED = "not_explained"
    STILL_REFERENCED = "still_referenced"
    PARENT_MISSING = "parent_missing"
    VALUE_TAKEN = "value_taken"


CONFLICT_WORDS = {
    ConflictReason.CHANGED_LATER: "a transaction that is not undone changed it, too, at or after the first that is",
    ConflictReason.NOT_EXPLAINED: "it is not as the log left it: something changed it that was not logged",
    ConflictReason.STILL_REFERENCED: "rows that stay refer to it",
    ConflictReason.PARENT_MISSING: "the row that it refers to would not be there",
    ConflictReason.VALUE_TAKEN: "a row that stays has the same unique value",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class UndoRequest:
    """What is to be undone: transactions that changed these tables since a point, or of those only the chosen ones.

    Attributes:
        tables: (schema, name) of each, as when logging began.
        since: A mark: what was not over then. A time: whole transactions that changed anything at or after it.
        transactions: Only these (as the log names them); empty for all.
        roles: Only those of these roles, by login or by SET ROLE; empty for all.
        applications: Only those with these application_names; empty for all.
    """

    tables: tuple[tuple[str, str], ...]
    since: ChangeLogMark | datetime
    transactions: tuple[int, ...] = ()
    roles: tuple[str, ...] = ()
    applications: tuple[str, ...] = ()

    @property
    def is_everything(self) -> bool:
        """Whether every transaction since then is undone, whoever made it."""
        return not (self.transactions or self.roles or self.applications)


@dataclass(frozen=True, kw_only=True, slots=True)
class RowUndo:
    """One row, for showing.

    Attributes:
        action: What happens to it.
        key: Its primary key as JSON text.
        now: The row as it is, as JSON text; None when it is not there.
        then: The row as it will be, likewise.
    """

    action: RowAction
    key: str
    now: str | None
    then: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Conflict:
    """One row that stays as it is.

    Attributes:
        table: `schema.name`.
        key: Its primary key as JSON text.
        reason: Why.
        detail: Who changed it, or which constraint; empty when there is no more to say.
    """

    table: str
    key: str
    reason: ConflictReason
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TableUndo:
    """What undoing does to one table.

    Attributes:
        name: `schema.name`.
        restored: Rows that were deleted or truncated and come back.
        reverted: Rows that were updated and get their old values.
        removed: Rows that were inserted and go.
        conflicts: Rows that stay as they are though they were changed.
        rows: The first of those that change, for showing.
        quiet_triggers: Triggers of the table that do not fire for it.
    """

    name: str
    restored: int
    reverted: int
    removed: int
    conflicts: int
    rows: tuple[RowUndo, ...]
    quiet_triggers: tuple[str, ...]

    @property
    def changes(self) -> int:
        """Rows that change."""
        return self.restored + self.reverted + self.removed


@dataclass(frozen=True, kw_only=True, slots=True)
class UndoReport:
    """What would be, or was, undone.

    Attributes:
        dry_run: Whether nothing was changed.
        tables: Each table that was named.
        conflicts: The first rows that stay as they are; `TableUndo.conflicts` counts all.
        transactions: How many are undone.
        beyond: Other logged tables that those transactions changed, too; they stay as they are.
        digest: Over every row that changes, with its values before and after; equal plans have equal ones.
        xid: The transaction of the undo; to be undone itself by this number. None for a dry run.
        at: The server's clock, before anything was changed.
        raised_sequences: Sequences that stood below a value that came back (TRUNCATE … RESTART IDENTITY).
    """

    dry_run: bool
    tables: tuple[TableUndo, ...]
    conflicts: tuple[Conflict, ...]
    transactions: int
    beyond: tuple[str, ...]
    digest: str
    at: datetime
    xid: int | None = None
    raised_sequences: tuple[str, ...] = ()

    @property
    def changes(self) -> int:
        """Rows that change, in all tables."""
        return sum(one.changes for one in self.tables)

    @property
    def conflict_count(self) -> int:
        """Rows that stay as they are though they were changed, in all tables."""
        return sum(one.conflicts for one in self.tables)
