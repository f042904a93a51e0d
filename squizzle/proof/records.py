"""What travels: fingerprints, and how two of them differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

# Said in every digest, so that nobody reads more into equality than was compared.
COVERS = (
    "schemas, tables, columns, defaults, constraints, indexes, views, sequences, functions, triggers, rules, policies",
    "types, domains, enums, collations, conversions, operators and their classes, casts, text search, statistics",
    "extensions, languages, access methods, publications, event triggers, foreign data wrappers, servers and tables",
    "owners, privileges, comments, storage options",
    "rows of every ordinary table and partition, and positions of sequences",
)
NOT_COVERED = (
    "rows of materialized views (derived), of foreign tables (elsewhere), and those that an extension keeps for itself",
    "privileges and comments on objects of the system and of extensions, options of user mappings, security labels",
    "large objects, roles, tablespaces, settings, replication slots, subscriptions, transforms, text search parsers",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SchemaObject:
    """One object of a schema and the fingerprint of its definition.

    Attributes:
        kind: `table`, `column`, `index` …
        name: Qualified and quoted.
        parent: The table or type it belongs to; empty for none.
        strict: SHA-256 over position and definition as the server prints it.
        logical: SHA-256 over the definition in its canonical spelling, without the position.
    """

    kind: str
    name: str
    parent: str
    strict: str
    logical: str

    @property
    def label(self) -> str:
        """Kind and name, as a person would say it."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class SchemaDigest:
    """The objects of a schema, and two fingerprints over all of them.

    Attributes:
        strict: Equal only when the order of columns and every spelling are equal, too.
        logical: Equal when the same objects mean the same; survives dump and restore.
        objects: What they were made of, in a fixed order.
    """

    strict: str
    logical: str
    objects: tuple[SchemaObject, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TableDigest:
    """The rows of one table.

    Attributes:
        table: Qualified and quoted name.
        rows: How many.
        digest: Sum over the rows of a 64-bit hash of each row's text, its columns ordered by name; it depends neither
            on the order of rows nor of columns. Equal digests prove equal rows with overwhelming probability.
    """

    table: str
    rows: int
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseDigest:
    """The fingerprint of a database or of one of its schemas."""

    schema: SchemaDigest
    tables: tuple[TableDigest, ...]
    sequences: Mapping[str, int | None]

    @property
    def rows(self) -> int:
        """Rows of all tables together."""
        return sum(table.rows for table in self.tables)


class SchemaMatch(StrEnum):
    """How far two schemas are the same."""

    EXACT = "exact"
    LOGICAL = "logical"
    DIFFERENT = "different"


@dataclass(frozen=True, kw_only=True, slots=True)
class TableComparison:
    """One table, expected against found; None where it is not there."""

    table: str
    expected_rows: int | None
    found_rows: int | None
    equal: bool

    @property
    def missing_rows(self) -> int:
        """How many rows fewer there are than expected."""
        return max(0, (self.expected_rows or 0) - (self.found_rows or 0))


class RowChange(StrEnum):
    """How rows differ from what they should be."""

    MISSING = "missing"
    UNEXPECTED = "unexpected"
    CHANGED = "changed"


@dataclass(frozen=True, kw_only=True, slots=True)
class RowDifference:
    """Rows of one table that are not as expected, all in the same way.

    Attributes:
        table: Qualified and quoted name.
        change: How they differ.
        rows: How many.
        columns: Of changed rows, the columns that differ; empty when the rows cannot be told from each other.
        keys: Some of their primary keys as text, `(1)` or `(7,a)`; empty where the table has no key.
    """

    table: str
    change: RowChange
    rows: int
    columns: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    def sentence(self) -> str:
        """In one line: table, how many, which columns, some keys."""
        where = f" in {', '.join(self.columns)}" if self.columns else ""
        some = f", such as {', '.join(self.keys)}" if self.keys else ""
        return f"{self.table}: {self.rows:,} rows {self.change.value}{where}{some}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Everything in which a database differs from a fingerprint.

    Attributes:
        schema: How far the schemas are the same.
        missing: Objects that should be there and are not.
        changed: Objects that are there and are defined otherwise.
        unexpected: Objects that should not be there.
        tables: Every table, equal or not.
        sequences: Sequences that stand below the expected position, or are not there.
    """

    schema: SchemaMatch
    missing: tuple[str, ...]
    changed: tuple[str, ...]
    unexpected: tuple[str, ...]
    tables: tuple[TableComparison, ...]
    sequences: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        """Same meaning of the schema, same rows, no sequence behind."""
        return self.schema is not SchemaMatch.DIFFERENT and not self.different_tables and not self.sequences

    @property
    def different_tables(self) -> tuple[TableComparison, ...]:
        """The tables whose rows are not as expected."""
        return tuple(table for table in self.tables if not table.equal)

    def sentences(self) -> tuple[str, ...]:
        """Every difference, one short sentence each, the worst first; none only when the comparison `is_equal`."""
        return (*self.row_sentences(), *self.other_sentences())

    def row_sentences(self) -> tuple[str, ...]:
        """The differences in rows, a table each."""
        return tuple(
            f"{table.table}: {_count(table.found_rows)}, expected {_count(table.expected_rows)}"
            if table.found_rows != table.expected_rows
            else f"{table.table}: {_count(table.found_rows)}, but not the same ones"
            for table in self.different_tables
        )

    def other_sentences(self) -> tuple[str, ...]:
        """The differences in definitions and sequences."""
        return (
            *(f"missing: {label}" for label in self.missing),
            *(f"changed: {label}" for label in self.changed),
            *(f"unexpected: {label}" for label in self.unexpected),
            *self._nameless(),
            *(f"sequence behind: {text}" for text in self.sequences),
        )

    def _nameless(self) -> tuple[str, ...]:
        named = self.missing or self.changed or self.unexpected
        if self.schema is not SchemaMatch.DIFFERENT or named:
            return ()
        return ("the schema differs in the state of an index, a constraint or a trigger that one of the two lacks",)


def _count(rows: int | None) -> str:
    return "not there" if rows is None else f"{rows:,} rows"
