"""What a statement does, as records: the parse tree is reduced to these once, and rules see nothing else.

`location` is where in the statement it is said, in bytes from the statement's first.
"""

from __future__ import annotations

from dataclasses import dataclass

from squizzle.analysis.columns import Column, Constraint, TypeName
from squizzle.analysis.locks.records import RelationName


@dataclass(frozen=True, kw_only=True, slots=True)
class Action:
    """One thing that a statement does."""

    location: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class TableAction(Action):
    """One thing that is done to a relation."""

    table: RelationName


@dataclass(frozen=True, kw_only=True, slots=True)
class AnyStatement(Action):
    """A statement runs, whatever it does; BEGIN and COMMIT, too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LongName(Action):
    """A name that PostgreSQL cuts off."""

    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TransactionControl(Action):
    """COMMIT, ROLLBACK or SAVEPOINT inside a body, SAVEPOINT in a script; `command` as libpg_query calls it."""

    command: str


# Tables


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateTable(TableAction):
    """CREATE TABLE."""

    columns: tuple[Column, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    parents: tuple[RelationName, ...] = ()
    is_partition: bool = False
    is_partitioned: bool = False
    is_unlogged: bool = False
    copies_others: bool = False
    is_temporary: bool = False
    if_not_exists: bool = False
    from_query: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class AddColumn(TableAction):
    """ALTER TABLE … ADD COLUMN."""

    column: Column
    if_not_exists: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class DropColumn(TableAction):
    """ALTER TABLE … DROP COLUMN."""

    column: str
    cascade: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class AlterColumnType(TableAction):
    """ALTER TABLE … ALTER COLUMN … TYPE."""

    column: str
    type: TypeName
    has_using: bool = False
    has_collation: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class SetNotNull(TableAction):
    """ALTER TABLE … ALTER COLUMN … SET NOT NULL."""

    column: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AddConstraint(TableAction):
    """ALTER TABLE … ADD CONSTRAINT."""

    constraint: Constraint


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidateConstraint(TableAction):
    """ALTER TABLE … VALIDATE CONSTRAINT."""

    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DropConstraint(TableAction):
    """ALTER TABLE … DROP CONSTRAINT."""

    name: str
    cascade: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class AttachPartition(TableAction):
    """ALTER TABLE … ATTACH PARTITION."""

    partition: RelationName


@dataclass(frozen=True, kw_only=True, slots=True)
class DetachPartition(TableAction):
    """ALTER TABLE … DETACH PARTITION."""

    partition: RelationName
    concurrently: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class SetStorageOptions(TableAction):
    """ALTER TABLE or INDEX … SET (…); `options` as (name, value)."""

    options: tuple[tuple[str, str], ...]
    is_index: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class AlterTable(TableAction):
    """Any other command of ALTER TABLE, by libpg_query's name without `AT_` (`SetLogged`).

    Attributes:
        command: Which.
        column: The column, or the object (trigger, rule, index), that it names; empty for none.
        kind: Of the relation, in capitals: `TABLE`, `INDEX`, `VIEW`, `TYPE` ….
        value: What it sets: a default's expression, an identity's `always` or `default`, a replica identity's `full`.
    """

    command: str
    column: str = ""
    kind: str = "TABLE"
    value: str = ""


# Objects


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateIndex(TableAction):
    """CREATE INDEX; `index` is empty when PostgreSQL chooses the name."""

    index: str
    columns: tuple[str, ...] = ()
    is_unique: bool = False
    concurrently: bool = False
    method: str = "btree"
    only: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Create(Action):
    """CREATE of any other object, by the words of the command (`VIEW`, `TRIGGER`).

    Attributes:
        kind: Which kind, in capitals.
        name: The object, as far as it has one.
        table: The table that it belongs to (triggers, policies, rules, statistics).
        replace: CREATE OR REPLACE.
    """

    kind: str
    name: RelationName
    table: RelationName | None = None
    replace: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Drop(Action):
    """DROP of one or more objects of a kind (`TABLE`, `INDEX`, `TRIGGER`).

    Attributes:
        kind: Which kind, in capitals.
        names: The objects; for triggers, policies and rules their tables with the object in `parts`.
        parts: Names of triggers, policies and rules.
        cascade: What depends on them goes, too.
        concurrently: DROP INDEX CONCURRENTLY.
        if_exists: Nothing is said when they are not there.
    """

    kind: str
    names: tuple[RelationName, ...]
    parts: tuple[str, ...] = ()
    cascade: bool = False
    concurrently: bool = False
    if_exists: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Rename(Action):
    """ALTER … RENAME; of a part (column, constraint, attribute) when `part` is set."""

    kind: str
    name: RelationName
    new_name: str
    part: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Alter(Action):
    """ALTER of an object that has no action of its own.

    Attributes:
        kind: Which kind, in capitals (`POLICY`, `EXTENSION`, `DATABASE`, `SEQUENCE`).
        name: The object.
        table: Of a policy.
        options: What is set, by name: `restart`, `allow_connections`, `new_version`.
    """

    kind: str
    name: RelationName
    table: RelationName | None = None
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeRole(Action):
    """CREATE ROLE or ALTER ROLE.

    Attributes:
        name: The role.
        grants: The attributes that it gets (`superuser`, `bypassrls`).
        has_password: Whether a password stands in the script.
    """

    name: str
    grants: tuple[str, ...] = ()
    has_password: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class SetSchema(Action):
    """ALTER … SET SCHEMA."""

    kind: str
    name: RelationName
    new_schema: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateEnum(Action):
    """CREATE TYPE … AS ENUM."""

    name: RelationName
    values: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class AlterEnum(Action):
    """ALTER TYPE … ADD VALUE or RENAME VALUE; `old_value` is set for a rename."""

    name: RelationName
    value: str
    old_value: str = ""
    has_place: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class AlterDomain(Action):
    """ALTER DOMAIN; `adds_constraint` when the tables that use it are checked."""

    name: RelationName
    adds_constraint: bool = False
    validated: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateDomain(Action):
    """CREATE DOMAIN."""

    name: RelationName
    has_constraint: bool = False


# Locks, maintenance, settings


@dataclass(frozen=True, kw_only=True, slots=True)
class LockTable(Action):
    """LOCK TABLE; `mode` as in `LockMode`."""

    tables: tuple[RelationName, ...]
    mode: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Refresh(TableAction):
    """REFRESH MATERIALIZED VIEW."""

    concurrently: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Reindex(Action):
    """REINDEX; `name` is None for a schema, database or system."""

    kind: str
    name: RelationName | None
    concurrently: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Vacuum(Action):
    """VACUUM, ANALYZE or CLUSTER."""

    command: str
    tables: tuple[RelationName, ...] = ()
    is_full: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class SetParameter(Action):
    """SET or RESET; `value` is empty for RESET and DEFAULT.

    Attributes:
        name: The parameter, in small letters.
        value: As it is written, without quotes.
        scope: `SESSION`, `LOCAL`, `SYSTEM`, `DATABASE` or `ROLE`.
    """

    name: str
    value: str
    scope: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant(Action):
    """GRANT or REVOKE of privileges.

    Attributes:
        is_grant: False for REVOKE.
        to_public: Whether everybody is among the grantees.
        privileges: In small letters; empty for ALL.
        kind: Of the objects (`TABLE`, `SCHEMA` …).
        names: Of the objects, as far as they are relations.
        for_new_ones: Whether it is about objects that are made later (ALTER DEFAULT PRIVILEGES).
    """

    is_grant: bool
    to_public: bool
    privileges: tuple[str, ...] = ()
    kind: str = ""
    names: tuple[RelationName, ...] = ()
    for_new_ones: bool = False


# Code


@dataclass(frozen=True, kw_only=True, slots=True)
class CallFunction(Action):
    """A function that a query or CALL calls, without its schema."""

    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Routine(Action):
    """CREATE FUNCTION, CREATE PROCEDURE or DO, or ALTER that says whose rights it has.

    Attributes:
        name: None for DO.
        language: In small letters; empty where it is not said.
        security_definer: Runs with its owner's rights.
        sets_search_path: Whether it pins its search path.
    """

    name: RelationName | None
    language: str
    security_definer: bool = False
    sets_search_path: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class DynamicSql(Action):
    """EXECUTE of a text that is put together at run time."""

    expression: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Unknown(Action):
    """What cannot be parsed or is not known; `reason` says why, `location` where in the statement, in bytes."""

    reason: str
    location: int = 0
