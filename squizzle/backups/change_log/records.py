"""What is said about the change log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class TableState:
    """One table as it is now; the fields of `table_state.sql`.

    Attributes:
        id: Its OID.
        schema: Its schema.
        name: Its name.
        kind: `pg_class.relkind`.
        persistence: `pg_class.relpersistence`.
        is_partition: Whether it is a part of a partitioned table.
        has_children: Whether tables inherit from it without being partitions.
        owner: Its owner's name.
        is_ours: Whether we may do what its owner may.
        forces_row_security: Whether policies hold even for its owner.
        log_may_read: Whether the owner of the log may read it, which TRUNCATE's rows need.
        key_columns: Of the primary key, in its order; empty when it has none.
        columns: `name type` of each.
        needs_exact: Whether JSON alone would lose something of a type.
        unfit_partitions: Those that are foreign, unlogged or temporary.
        partitions: OIDs of its leaves.
        logged_parent: The partitioned table above it that is logged; None for none.
    """

    id: int
    schema: str
    name: str
    kind: str
    persistence: str
    is_partition: bool
    has_children: bool
    owner: str
    is_ours: bool
    forces_row_security: bool
    log_may_read: bool
    key_columns: list[str]
    columns: list[str]
    needs_exact: bool
    unfit_partitions: list[str]
    partitions: list[int]
    logged_parent: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Trigger:
    """One trigger of ours.

    Attributes:
        table_id: OID of the table or partition.
        schema: Its schema.
        table: Its name.
        kind: `pg_class.relkind` of it.
        of_rows: Whether it logs rows; else it logs TRUNCATE.
        enabled: `pg_trigger.tgenabled`: A always, O unless replicating, R only then, D never.
        logged: Which entry of `squizzle_log.logged_table` it writes for.
        exact: Whether it keeps rows as text, too.
    """

    table_id: int
    schema: str
    table: str
    kind: str
    of_rows: bool
    enabled: str
    logged: int
    exact: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedTable:
    """One table that is, or was, logged; a row of `squizzle_log.logged_table`.

    Attributes:
        id: Of the entry.
        schema: The table's schema when logging began.
        table: Its name then.
        key_columns: Of its primary key then.
        columns: `name type` of each column then.
        exact: Whether rows are kept as text, too.
        since: From then on every change was logged, but for what `gaps` says.
        enabled_by: Who switched it on.
        until: When it was switched off; None while it is on.
        gaps: What is missing or differs now, as sentences; empty when all is well.
    """

    id: int
    schema: str
    table: str
    key_columns: list[str]
    columns: list[str]
    exact: bool
    since: datetime
    enabled_by: str
    until: datetime | None
    gaps: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Schema and table, for messages."""
        return f"{self.schema}.{self.table}"


@dataclass(frozen=True, kw_only=True, slots=True)
class LogStatus:
    """The whole change log of a database.

    Attributes:
        tables: Every table that is or was logged.
        size_bytes: Of the log with its indexes.
        rows: How many changes it holds, as the statistics say.
        oldest: When the oldest change in it was logged; None when it is empty.
    """

    tables: tuple[LoggedTable, ...] = ()
    size_bytes: int = 0
    rows: int = 0
    oldest: datetime | None = None
