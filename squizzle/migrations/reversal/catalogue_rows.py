"""What the queries on the catalogue answer, as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from squizzle.migrations.reversal.definitions import (
    Column,
    Constraint,
    Counter,
    Grant,
    NotNull,
    OwnSequence,
    Reference,
    Relation,
    Switch,
)
from squizzle.migrations.reversal.trees import literal

# Oid of pg_class, the same everywhere (catalog/pg_class.h).
PG_CLASS = 1259


def relation_of(found: Mapping[str, Any]) -> Relation:
    """A relation from the document that `relation.sql` answers."""
    plain = {name: found[name] for name in _PLAIN_FIELDS}
    return Relation(
        **plain,
        parents=tuple(found["parents"]),
        columns=tuple(_column(one) for one in found["columns"]),
        constraints=tuple(_constraint(one) for one in found["constraints"]),
        triggers=tuple(Switch(**{**one, "uses": tuple(one["uses"])}) for one in found["triggers"]),
        rules=tuple(Switch(**one) for one in found["rules"]),
        sequences=tuple(Counter(**one) for one in found["sequences"]),
        references=tuple(_reference(one) for one in found["references"]),
    )


_PLAIN_FIELDS = (
    "name",
    "kind",
    "persistence",
    "options",
    "toast_options",
    "row_security",
    "force_row_security",
    "replica_identity",
    "replica_index",
    "clustered_on",
    "method",
    "tablespace",
    "bound",
    "of_type",
    "foreign_options",
    "populated",
)


def _reference(found: Mapping[str, Any]) -> Reference:
    rest = {name: value for name, value in found.items() if name not in {"columns", "targets"}}
    return Reference(**rest, columns=tuple(found["columns"]), targets=tuple(found["targets"]))


def _column(found: Mapping[str, Any]) -> Column:
    rest = {name: value for name, value in found.items() if name not in {"not_null_constraint", "sequence", "grants"}}
    not_null, sequence = found["not_null_constraint"], found["sequence"]
    return Column(
        **rest,
        not_null_constraint=NotNull(**not_null) if not_null else None,
        sequence=_own_sequence(sequence) if sequence else None,
        grants=tuple(Grant(grantee=who, privilege=what, grantable=more) for who, what, more in found["grants"]),
    )


def _own_sequence(found: Mapping[str, Any]) -> OwnSequence:
    return OwnSequence(
        name=found["name"],
        start=found["start"],
        increment=found["increment"],
        minimum=found["min"],
        maximum=found["max"],
        cache=found["cache"],
        cycle=found["cycle"],
    )


def _constraint(found: Mapping[str, Any]) -> Constraint:
    rest = {name: value for name, value in found.items() if name not in {"columns", "local"}}
    return Constraint(**rest, columns=tuple(found["columns"]))


@dataclass(frozen=True, slots=True)
class LostRow:
    """One row of `lost_objects.sql`, its columns in their order."""

    catalogue: int
    oid: int
    part: int
    label: str
    kind: str | None
    relation: str | None
    column: str | None
    internal: bool
    constraint: Mapping[str, Any] | None
    filled: bool

    def is_column_of_another(self, whole: set[tuple[int, int]]) -> bool:
        """A column with values, of a table that stays."""
        return bool(self.part) and self.kind in {"r", "p", "f"} and (self.catalogue, self.oid) not in whole

    def is_inline_constraint(self, covered: set[tuple[int, int]]) -> bool:
        """A check (or a named NOT NULL) that a dump writes into its CREATE TABLE, of a table that stays."""
        if self.constraint is None or (self.catalogue, self.oid) in covered:
            return False
        if self.constraint["type"] == "n":
            return False  # the column says it
        # Inherited ones come with the parent's.
        return (PG_CLASS, self.constraint["oid"]) not in covered and not self.constraint["inherited"]

    def making(self) -> tuple[str, ...]:
        """The statements that add the constraint again."""
        one = self.constraint or {}
        made = (f"ALTER TABLE {one['table']} ADD CONSTRAINT {one['name']} {one['definition']}",)
        if one["comment"] is None:
            return made
        return (*made, f"COMMENT ON CONSTRAINT {one['name']} ON {one['table']} IS {literal(one['comment'])}")

    def dropping(self) -> str:
        """The statement that drops it."""
        one = self.constraint or {}
        return f"ALTER TABLE {one['table']} DROP CONSTRAINT {one['name']}"

    def is_unknown(self, known: set[tuple[int, int]], whole: set[tuple[int, int]]) -> bool:
        """Whether it goes, is nobody's part, and has no definition here."""
        if self.part or self.internal or (self.catalogue, self.oid) in known:
            return False
        if self.constraint is not None:  # written into its table's definition; NOT NULL is the column's
            return (
                self.constraint["type"] != "n"
                and (PG_CLASS, self.constraint["oid"]) not in whole
                and not self.constraint["inherited"]
            )
        return not self.label.startswith(_PARTS_BY_LABEL)


# Described by PostgreSQL as parts of what is restored with them.
_PARTS_BY_LABEL = ("default value for", "rule _RETURN on", "toast", "constraint ", "index ")
