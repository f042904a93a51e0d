"""Columns, types and constraints as a script writes them; what statements do with them is in `actions`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from squizzle.analysis.locks.records import RelationName


@dataclass(frozen=True, kw_only=True, slots=True)
class TypeName:
    """A data type as it is written: `varchar(10)[]` is name `varchar`, modifiers (10,), is_array.

    Attributes:
        name: Without `pg_catalog`; PostgreSQL's own name (`int4`, `timestamptz`, `bpchar`).
        modifiers: The numbers in parentheses.
        is_array: Whether it is an array of that.
        schema: Where it says so; empty for PostgreSQL's own.
    """

    name: str
    modifiers: tuple[int, ...] = ()
    is_array: bool = False
    schema: str = ""

    def __str__(self) -> str:
        modifiers = f"({','.join(map(str, self.modifiers))})" if self.modifiers else ""
        schema = f"{self.schema}." if self.schema else ""
        return f"{schema}{self.name}{modifiers}{'[]' if self.is_array else ''}"


class DefaultKind(StrEnum):
    """What a column's default means for rows that are there already."""

    NONE = "none"
    CONSTANT = "constant"
    STABLE = "stable"
    VOLATILE = "volatile"
    UNKNOWN = "unknown"


class Generated(StrEnum):
    """Whether a column is computed."""

    NO = "no"
    STORED = "stored"
    VIRTUAL = "virtual"


class ConstraintKind(StrEnum):
    """What a constraint demands."""

    CHECK = "check"
    NOT_NULL = "not null"
    FOREIGN_KEY = "foreign key"
    UNIQUE = "unique"
    PRIMARY_KEY = "primary key"
    EXCLUDE = "exclude"


@dataclass(frozen=True, kw_only=True, slots=True)
class Constraint:
    """One constraint of a table or a column.

    Attributes:
        kind: What it demands.
        name: Empty when PostgreSQL chooses it.
        columns: That it is about, as far as it names them.
        references: The table of a foreign key.
        validated: Whether rows that are there already are checked.
        index: The existing index that it takes over; empty for none.
        definition: It as SQL, without name and NOT VALID, where ALTER TABLE adds it.
        proves_not_null: The columns of which a CHECK says no more than that they are not null.
    """

    kind: ConstraintKind
    name: str = ""
    columns: tuple[str, ...] = ()
    references: RelationName | None = None
    validated: bool = True
    index: str = ""
    definition: str = ""
    proves_not_null: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column's definition."""

    name: str
    type: TypeName
    not_null: bool = False
    default: DefaultKind = DefaultKind.NONE
    default_text: str = ""
    generated: Generated = Generated.NO
    is_identity: bool = False
    is_serial: bool = False
    constraints: tuple[Constraint, ...] = ()
    location: int = 0
