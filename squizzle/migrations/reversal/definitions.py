"""What a reverse has to know about the database before the statement; read by `catalogue`, faked by tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """One object as `pg_get_object_address` wants it (manual, "Object Information and Addressing Functions").

    Attributes:
        kind: Such as "table" or "operator class".
        names: Its name in parts, unquoted.
        args: Argument types, or whatever else its kind needs.
        by_name: A function that is named without its arguments.
    """

    kind: str
    names: tuple[str, ...]
    args: tuple[str, ...] = ()
    by_name: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """One privilege that somebody holds.

    Attributes:
        grantee: A quoted role, or PUBLIC.
        privilege: Such as SELECT.
        grantable: Whether it may be granted on.
        column: The quoted column; empty for the whole object.
    """

    grantee: str
    privilege: str
    grantable: bool = False
    column: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnSequence:
    """The sequence of an identity column."""

    name: str
    start: int
    increment: int
    minimum: int
    maximum: int
    cache: int
    cycle: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class NotNull:
    """A NOT NULL constraint with a catalogue entry of its own (PostgreSQL 18)."""

    name: str
    default_name: bool
    definition: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column; texts are SQL, names are unquoted; `built_in` says that its type is PostgreSQL's own."""

    name: str
    type: str
    collation: str | None = None
    not_null: bool = False
    not_null_constraint: NotNull | None = None
    default: str | None = None
    identity: str = ""
    generated: str = ""
    sequence: OwnSequence | None = None
    storage: str = "p"
    type_storage: str = "p"
    compression: str = ""
    statistics: int = -1
    options: Mapping[str, str] = field(default_factory=dict)
    foreign_options: Mapping[str, str] = field(default_factory=dict)
    grants: tuple[Grant, ...] = ()
    comment: str | None = None
    last: bool = False
    built_in: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Constraint:
    """A constraint of a table; `type` as in pg_constraint.contype."""

    name: str
    type: str
    definition: str
    columns: tuple[str, ...] = ()
    index: str | None = None
    validated: bool = True
    comment: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Switch:
    """A trigger or a rule and whether it fires: O, D, R or A.

    Attributes:
        name: Unquoted.
        enabled: As in pg_trigger.tgenabled.
        internal: Whether a constraint made it.
        events: What a trigger fires on, as bits (pg_trigger.tgtype).
        uses: The columns that a trigger depends on: of UPDATE OF, or of WHEN.
    """

    name: str
    enabled: str
    internal: bool = False
    events: int = 0
    uses: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Counter:
    """A sequence that a column owns, by its quoted name."""

    name: str
    increment: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """A foreign key of another table that points here; actions as in pg_constraint.confdeltype."""

    table: str
    columns: tuple[str, ...]
    targets: tuple[str, ...]
    on_delete: str = "a"
    on_update: str = "a"


@dataclass(frozen=True, kw_only=True, slots=True)
class Relation:
    """A table, view, index, sequence … as it is before the statement; `kind` as in pg_class.relkind."""

    name: str
    kind: str = "r"
    persistence: str = "p"
    options: Mapping[str, str] = field(default_factory=dict)
    toast_options: Mapping[str, str] = field(default_factory=dict)
    row_security: bool = False
    force_row_security: bool = False
    replica_identity: str = "d"
    replica_index: str | None = None
    clustered_on: str | None = None
    method: str | None = "heap"
    tablespace: str = "pg_default"
    bound: str | None = None
    of_type: str | None = None
    parents: tuple[str, ...] = ()
    foreign_options: Mapping[str, str] = field(default_factory=dict)
    populated: bool = True
    columns: tuple[Column, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    triggers: tuple[Switch, ...] = ()
    rules: tuple[Switch, ...] = ()
    references: tuple[Reference, ...] = ()
    sequences: tuple[Counter, ...] = ()

    def column(self, name: str) -> Column | None:
        """The column of this name."""
        return next((one for one in self.columns if one.name == name), None)

    def constraint(self, name: str) -> Constraint | None:
        """The constraint of this name."""
        return next((one for one in self.constraints if one.name == name), None)

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The columns of the primary key; empty when there is none."""
        return next((one.columns for one in self.constraints if one.type == "p"), ())

    @property
    def row_key(self) -> tuple[str, ...]:
        """Columns that tell every row from all others: the primary key, else unique ones that are never null."""
        never_null = {one.name for one in self.columns if one.not_null}
        unique = (one.columns for one in self.constraints if one.type == "u" and set(one.columns) <= never_null)
        return self.primary_key or next(unique, ())


@dataclass(frozen=True, kw_only=True, slots=True)
class LostColumn:
    """A column of a table that stays: `table` is its quoted name."""

    table: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Lost:
    """What dropping some objects takes away, and how it comes back.

    Attributes:
        restore: Statements that make it again, in order, without semicolons.
        drop: Statements that would drop it piece by piece, dependent objects first.
        columns: Columns of tables that stay.
        tables: Quoted names of tables and materialised views that go, which hold rows.
        sequences: Quoted names of sequences that go, which hold a position.
        unknown: What has no definition that could be read.
        labels: Names of all objects, for messages.
    """

    restore: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    columns: tuple[LostColumn, ...] = ()
    tables: tuple[str, ...] = ()
    sequences: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceFacts:
    """The parameters of a sequence; `owned_by` is a quoted column or NONE, `position` the next statement's setval."""

    name: str
    type: str
    start: int
    increment: int
    minimum: int
    maximum: int
    cache: int
    cycle: bool
    persistence: str
    owned_by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Domain:
    """A domain."""

    name: str
    not_null: bool
    default: str | None
    constraints: tuple[Constraint, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Enum:
    """An enumerated type: its labels in order, and each (quoted table, column, default) that has it, arrays too.

    Attributes:
        name: Quoted.
        schema: Unquoted.
        bare: Its own name, unquoted.
        labels: In order.
        columns: Where it is used in tables.
        other_users: What else depends on it, for messages.
    """

    name: str
    schema: str
    bare: str
    labels: tuple[str, ...]
    columns: tuple[EnumColumn, ...] = ()
    other_users: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class EnumColumn:
    """A column of an enumerated type; `name` and `default` are SQL."""

    table: str
    name: str
    array: bool
    default: str | None


class Definitions(Protocol):
    """Looks things up in the database before the statement. A method answers None when there is no such thing."""

    def exists(self, address: Address) -> bool:
        """Whether there is such an object."""

    def comment(self, address: Address) -> str | None:
        """Its comment."""

    def owner(self, address: Address) -> str | None:
        """Its owner, quoted."""

    def schema(self, address: Address) -> str | None:
        """Its schema, unquoted."""

    def grants(self, address: Address) -> tuple[Grant, ...]:
        """Who may do what with it, columns included, default privileges written out."""

    def relation(self, name: str) -> Relation | None:
        """A relation by its quoted, perhaps qualified, name."""

    def lost(self, addresses: Sequence[Address]) -> Lost:
        """What dropping these objects with CASCADE would take away."""

    def tables_lost(self, addresses: Sequence[Address]) -> tuple[str, ...]:
        """Quoted names of the tables with rows that dropping these objects with CASCADE would take away.

        Empty also when a column of a table that stays would go with them. Unlike `lost` it needs no dump, so it sees
        what the open transaction did.
        """

    def current_user(self) -> str:
        """Who the script runs as, quoted."""

    def made(self, address: Address) -> tuple[str, ...]:
        """The statements that make this one object with its comment, owner and privileges, nothing else."""

    def options(self, address: Address) -> Mapping[str, str]:
        """The options of a foreign server, wrapper or user mapping."""

    def sequence(self, address: Address) -> SequenceFacts | None:
        """A sequence's parameters."""

    def domain(self, address: Address) -> Domain | None:
        """A domain."""

    def enum(self, address: Address) -> Enum | None:
        """An enumerated type and who uses it."""

    def default_grants(self, role: str | None, schema: str | None, kind: str) -> tuple[Grant, ...]:
        """What is granted on new objects of a kind ('r', 'S', 'f', 'T', 'n').

        Args:
            role: Who makes the objects, unquoted; None for the current user.
            schema: Where, unquoted; None for everywhere.
            kind: As in pg_default_acl.defaclobjtype.
        """

    def in_schema(self, schema: str, kinds: str) -> tuple[str, ...]:
        """Quoted names of the relations of these kinds in a schema."""

    def descendants(self, name: str) -> tuple[str, ...]:
        """Quoted names of all tables that inherit from this one, partitions included."""

    def taken(self, name: str, schema: str) -> bool:
        """Whether a relation (or a constraint of a table in it) has this name in the schema."""

    def writing(self, names: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
        """Those of these functions, each in the parts of its name, that may change something."""
