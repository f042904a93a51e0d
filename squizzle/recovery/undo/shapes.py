"""Asking the catalogue what the tables of an undo look like. Nothing is changed."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql
from psycopg.rows import class_row

from squizzle.backups.change_log.records import LoggedTable
from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql

_PACKAGE = "squizzle.recovery.undo"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """One table; the fields of `shapes.sql`.

    Attributes:
        id: Its OID.
        schema: Its schema.
        name: Its name.
        columns: All that are not generated, in order.
        always_identity: Columns `GENERATED ALWAYS AS IDENTITY`, which UPDATE may not set.
        key_columns: Of the primary key.
        key_operators: The equality of each, as SQL.
        members: OIDs of itself and its partitions.
        has_rules: Whether rules rewrite what is written to it.
    """

    id: int
    schema: str
    name: str
    columns: list[str]
    always_identity: list[str]
    key_columns: list[str]
    key_operators: list[str]
    members: list[int]
    has_rules: bool

    @property
    def place(self) -> sql.Identifier:
        """Its qualified name, as SQL."""
        return sql.Identifier(self.schema, self.name)


@dataclass(frozen=True, kw_only=True, slots=True)
class ForeignKey:
    """One foreign key; the fields of `foreign_keys.sql`."""

    id: int
    name: str
    child_id: int
    parent_id: int
    child_schema: str
    child_name: str
    parent_schema: str
    parent_name: str
    child_columns: list[str]
    parent_columns: list[str]
    operators: list[str]
    is_deferrable: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Unique:
    """One unique index besides the primary key; the fields of `uniques.sql`."""

    table_id: int
    name: str
    columns: list[str]
    operators: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class QuietTrigger:
    """One trigger that does not fire during an undo; the fields of `quiet_triggers.sql`."""

    table_id: int
    schema: str
    name: str
    trigger: str
    enabled: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """One table of an undo: its entry in the log, its shape, and its temporary tables of this transaction."""

    number: int
    logged: LoggedTable
    shape: Shape

    @property
    def row(self) -> sql.Identifier:
        """The temporary table whose row type holds one row: the columns that are not generated."""
        return sql.Identifier("pg_temp", f"squizzle_row_{self.number}")

    @property
    def seen(self) -> sql.Identifier:
        """The temporary table of changes."""
        return sql.Identifier("pg_temp", f"squizzle_seen_{self.number}")

    @property
    def own(self) -> sql.Identifier:
        """The temporary table of the undo's own changes, for verifying."""
        return sql.Identifier("pg_temp", f"squizzle_own_{self.number}")

    @property
    def plan(self) -> sql.Identifier:
        """The temporary table of rows, each with what it is now and what it will be."""
        return sql.Identifier("pg_temp", f"squizzle_plan_{self.number}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """The tables that are undone together, and what ties them to each other and to others."""

    subjects: tuple[Subject, ...]
    foreign_keys: tuple[ForeignKey, ...]
    uniques: tuple[Unique, ...]
    quiet_triggers: tuple[QuietTrigger, ...]

    def of(self, table_id: int) -> Subject | None:
        """The table that this is, or that this is a partition of."""
        return next((one for one in self.subjects if table_id in one.shape.members), None)


def read_group(connection: Connection, logged: dict[int, LoggedTable]) -> Group:
    """What the catalogue says about these tables.

    Args:
        connection: A session in the database.
        logged: Each table's entry in the log, by OID.
    """
    with connection.cursor(row_factory=class_row(Shape)) as cursor:
        shapes = cursor.execute(load_sql(_PACKAGE, "shapes"), {"tables": list(logged)}).fetchall()
    members = {"members": [member for shape in shapes for member in shape.members]}
    with connection.cursor(row_factory=class_row(ForeignKey)) as cursor:
        foreign_keys = cursor.execute(load_sql(_PACKAGE, "foreign_keys"), members).fetchall()
    with connection.cursor(row_factory=class_row(Unique)) as cursor:
        uniques = cursor.execute(load_sql(_PACKAGE, "uniques"), {"tables": list(logged)}).fetchall()
    with connection.cursor(row_factory=class_row(QuietTrigger)) as cursor:
        triggers = cursor.execute(load_sql(_PACKAGE, "quiet_triggers"), members).fetchall()
    return Group(
        subjects=tuple(
            Subject(number=number, logged=logged[shape.id], shape=shape) for number, shape in enumerate(shapes, 1)
        ),
        foreign_keys=tuple(foreign_keys),
        uniques=tuple(uniques),
        quiet_triggers=tuple(triggers),
    )
