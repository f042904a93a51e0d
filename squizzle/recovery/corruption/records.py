"""What an examination of a damaged cluster found, saved and lost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path


class Role(StrEnum):
    """What a damaged relation is, and with it what to do about it."""

    TABLE = "table"
    INDEX = "index"
    TOAST = "long values of a table"
    TOAST_INDEX = "index of long values"
    CATALOGUE = "system catalogue"
    VIEW = "materialized view"
    SEQUENCE = "sequence"
    MAP = "map of free or visible pages"
    ELSEWHERE = "another database"
    UNKNOWN = "no relation that is known"


@dataclass(frozen=True, kw_only=True, slots=True)
class DamagedPage:
    """One page that PostgreSQL refuses.

    Attributes:
        file: Within the data folder, such as `base/5/16384.1`.
        block: Its number within the relation, over all of the relation's files.
        offset: Where it begins in the file, in bytes.
        why: What is wrong with it.
        sha256: Of its bytes as they were found.
        kept_as: The file in the evidence folder that holds them; empty for zeros, and for a page that is not there.
    """

    file: str
    block: int
    offset: int
    why: str
    sha256: str
    kept_as: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What amcheck says about a relation whose pages can all be read, or about one between its damaged pages.

    Attributes:
        relation: Qualified and quoted name.
        message: In amcheck's words.
        block: Where; None when it does not say.
        line: Which row of that page; None when it does not say.
    """

    relation: str
    message: str
    block: int | None = None
    line: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DamagedRelation:
    """Everything that is wrong with one relation.

    Attributes:
        name: Qualified and quoted name; the file's where nobody knows one.
        role: What it is.
        table: Whose index or long values it is; its own name for a table.
        pages: The pages that cannot be read.
        findings: What else is wrong.
        advice: What to do about it.
    """

    name: str
    role: Role
    table: str
    pages: tuple[DamagedPage, ...] = ()
    findings: tuple[Finding, ...] = ()
    advice: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class LostValue:
    """A value that cannot be read, of a row that was saved without it.

    Attributes:
        table: Qualified and quoted name.
        row: Key, or place where there is none, as text.
        column: Whose value is lost.
        why: In the server's words.
    """

    table: str
    row: str
    column: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedTable:
    """What became of one damaged table.

    Attributes:
        table: Qualified and quoted name.
        schema: Unquoted.
        name: Unquoted.
        columns: What the file of rows holds, in this order.
        rows: Rows that were read from sound pages, those without a value among them.
        rows_file: Where they are, in COPY's text form, in the evidence folder.
        rows_sha256: Of that file.
        doubtful: Rows that were read from damaged pages: they may be wrong.
        doubtful_file: Where these are.
        unreadable_pages: Blocks that gave no row at all.
        unreadable_rows: Rows of sound pages that could not be read, by place.
        lost_values: Values that could not be read.
        key: The columns of the index that keys are known from.
        lost: Keys that the index knows and that were not saved, as texts; None when that could not be told.
        lost_unknown: Why not.
        in_backup: How many rows that were not saved a backup has; None when none was looked at.
        backup_file: Where these are, as they were then, as CSV.
    """

    table: str
    schema: str
    name: str
    columns: tuple[str, ...]
    rows: int
    rows_file: str
    rows_sha256: str
    doubtful: int = 0
    doubtful_file: str = ""
    unreadable_pages: tuple[int, ...] = ()
    unreadable_rows: tuple[str, ...] = ()
    lost_values: tuple[LostValue, ...] = ()
    key: tuple[str, ...] = ()
    lost: tuple[str, ...] | None = None
    lost_unknown: str = ""
    in_backup: int | None = None
    backup_file: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Constraint:
    """A foreign key, to be made anew where rows are missing.

    Attributes:
        table: Qualified and quoted name.
        name: Of the constraint.
        definition: As the server prints it.
    """

    table: str
    name: str
    definition: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Examination:
    """What was found out about a cluster, on a copy of it.

    Attributes:
        database: The database whose rows matter.
        source: What was copied.
        at: When.
        folder: Where the evidence lies.
        checksums: Whether the cluster has page checksums.
        failures: What the server itself had counted (`pg_stat_database.checksum_failures`); None when it was not asked.
        pages_read: How many pages were looked at.
        relations: What is damaged.
        doubts: What could not be verified, a sentence each.
        saved: What was saved, table by table.
        dump: The rest of the database, in the evidence folder; empty when only a look was wanted.
        constraints: Its foreign keys.
        copy_kept: Where the untouched copy lies; empty when it was not kept.
        mended: What was mended in the copy, so that more could be read, a sentence each.
        backup_id: The backup that was asked for what was not saved; empty without one.
    """

    database: str
    source: str
    at: datetime
    folder: Path
    checksums: bool
    failures: int | None
    pages_read: int
    relations: tuple[DamagedRelation, ...]
    doubts: tuple[str, ...] = ()
    saved: tuple[SavedTable, ...] = ()
    dump: str = ""
    constraints: tuple[Constraint, ...] = ()
    copy_kept: str = ""
    mended: tuple[str, ...] = ()
    backup_id: str = ""

    @property
    def is_sound(self) -> bool:
        """Whether nothing is damaged; says nothing about what could not be verified."""
        return not self.relations

    @property
    def catalogue_is_damaged(self) -> bool:
        """Whether the server's own tables are: then no table of this cluster can be trusted."""
        return any(one.role is Role.CATALOGUE for one in self.relations)

    @property
    def rows_lost(self) -> int:
        """Keys that are known to be lost, over all tables."""
        return sum(len(one.lost or ()) for one in self.saved)


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedTable:
    """What came of loading one table.

    Attributes:
        table: Qualified and quoted name.
        expected: Rows that were saved.
        found: Rows that are there now.
        doubtful: Doubtful rows that were taken in beside it.
    """

    table: str
    expected: int
    found: int
    doubtful: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """The database that was made of what was saved.

    Attributes:
        database: Its name.
        tables: The damaged tables in it.
        problems: What is missing in it, a sentence each: constraints, indexes, rows.
    """

    database: str
    tables: tuple[LoadedTable, ...]
    problems: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether every row that was saved is in it."""
        return all(one.found == one.expected for one in self.tables)
