"""A column as SQL. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from squizzle.migrations.reversal.definitions import Column, OwnSequence, Relation
from squizzle.migrations.reversal.trees import literal, quoted

_STORAGE = {"p": "PLAIN", "e": "EXTERNAL", "m": "MAIN", "x": "EXTENDED"}
_COMPRESSION = {"p": "pglz", "l": "lz4", "": "DEFAULT"}
_GENERATED = {"s": "STORED", "v": "VIRTUAL"}


def type_of(column: Column) -> str:
    """Type and collation."""
    return f"{column.type} COLLATE {column.collation}" if column.collation else column.type


def column_text(column: Column, relation: Relation, *, identity: bool) -> str:
    """What stands behind ADD COLUMN; NOT NULL is left to `column_attributes`, for there may be rows."""
    parts = [quoted(column.name), type_of(column)]
    if relation.kind == "f" and column.foreign_options:
        parts.append(f"OPTIONS ({_foreign(column.foreign_options)})")
    if column.generated:
        parts.append(f"GENERATED ALWAYS AS ({column.default}) {_GENERATED[column.generated]}")
    elif column.default is not None:
        parts.append(f"DEFAULT {column.default}")
    if identity and column.identity:
        parts.append(identity_text(column))
    return " ".join(parts)


def _foreign(options: Mapping[str, str]) -> str:
    return ", ".join(f"{quoted(name)} {literal(value)}" for name, value in sorted(options.items()))


def identity_text(column: Column) -> str:
    """GENERATED … AS IDENTITY, with the sequence's name and parameters."""
    how = "ALWAYS" if column.identity == "a" else "BY DEFAULT"
    sequence = column.sequence
    if sequence is None:
        return f"GENERATED {how} AS IDENTITY"
    return f"GENERATED {how} AS IDENTITY (SEQUENCE NAME {sequence.name} {sequence_options(sequence)})"


def sequence_options(sequence: OwnSequence) -> str:
    """Parameters of a sequence."""
    return (
        f"INCREMENT BY {sequence.increment} MINVALUE {sequence.minimum} MAXVALUE {sequence.maximum}"
        f" START WITH {sequence.start} CACHE {sequence.cache} {'' if sequence.cycle else 'NO '}CYCLE"
    )


def column_attributes(table: str, column: Column) -> Iterator[str]:
    """Everything about a column that ADD COLUMN does not say."""
    name = quoted(column.name)
    if column.not_null:
        yield not_null_text(table, column)
    if column.storage != column.type_storage:
        yield f"ALTER TABLE {table} ALTER COLUMN {name} SET STORAGE {_STORAGE[column.storage]}"
    if column.compression:
        yield f"ALTER TABLE {table} ALTER COLUMN {name} SET COMPRESSION {_COMPRESSION[column.compression]}"
    if column.statistics >= 0:
        yield f"ALTER TABLE {table} ALTER COLUMN {name} SET STATISTICS {column.statistics}"
    if column.options:
        options = ", ".join(f"{key} = {value}" for key, value in sorted(column.options.items()))
        yield f"ALTER TABLE {table} ALTER COLUMN {name} SET ({options})"
    for grant in column.grants:
        further = " WITH GRANT OPTION" if grant.grantable else ""
        yield f"GRANT {grant.privilege} ({name}) ON {table} TO {grant.grantee}{further}"
    if column.comment is not None:
        yield f"COMMENT ON COLUMN {table}.{name} IS {literal(column.comment)}"


def not_null_text(table: str, column: Column) -> str:
    """The statement that forbids NULL again, under the constraint's own name where it has one."""
    constraint = column.not_null_constraint
    if constraint is not None and (not constraint.default_name or not constraint.definition.startswith("NOT NULL ")):
        return f"ALTER TABLE {table} ADD CONSTRAINT {quoted(constraint.name)} {constraint.definition}"
    return f"ALTER TABLE {table} ALTER COLUMN {quoted(column.name)} SET NOT NULL"


def storage_text(column: Column) -> str:
    """SET STORAGE and what it was."""
    return f"SET STORAGE {_STORAGE[column.storage]}"


def compression_text(column: Column) -> str:
    """SET COMPRESSION and what it was."""
    return f"SET COMPRESSION {_COMPRESSION[column.compression]}"
