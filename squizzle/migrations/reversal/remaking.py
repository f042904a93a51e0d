"""Bringing an object back from its own definition: after it was dropped, or by dropping and making it again. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from squizzle.migrations.reversal.columns import column_attributes, column_text
from squizzle.migrations.reversal.definitions import Address, Definitions, Lost
from squizzle.migrations.reversal.records import Reverse, Reversibility, exact, irreversible

# What stands before other things in every dump, and what columns of tables may need.
_BEFORE_COLUMNS = (
    "CREATE AGGREGATE",
    "CREATE CAST",
    "CREATE COLLATION",
    "CREATE DOMAIN",
    "CREATE EXTENSION",
    "CREATE FOREIGN TABLE",
    "CREATE FUNCTION",
    "CREATE OPERATOR",
    "CREATE PROCEDURE",
    "CREATE SCHEMA",
    "CREATE SEQUENCE",
    "CREATE SERVER",
    "CREATE TABLE",
    "CREATE TYPE",
    "CREATE UNLOGGED",
)
_BODIES_UNCHECKED = "SET LOCAL check_function_bodies = off"


def bring_back(definitions: Definitions, addresses: Sequence[Address], *, what: str) -> Reverse:
    """The way back of a drop: everything that goes with these objects is made again.

    Args:
        definitions: Of the database before the drop.
        addresses: What is dropped.
        what: The dropped object, for the reason.
    """
    lost = definitions.lost(addresses)
    statements = restoring(definitions, lost)
    if lost.unknown:
        return Reverse(
            statements=statements,
            reversibility=Reversibility.LOSSY if statements else Reversibility.NONE,
            reason=f"has no definition that can be read, or one with a secret in it: {', '.join(lost.unknown)}",
        )
    if not statements:
        return irreversible(f"no definition of {what} was found in the database")
    return Reverse(statements=statements, **_what_is_lost(lost))  # type: ignore[arg-type]


def _what_is_lost(lost: Lost) -> dict[str, object]:
    holders = [*lost.tables, *(f"{one.table}.{one.name}" for one in lost.columns)]
    if holders:
        reason = (
            f"the definition comes back, the rows of {', '.join(holders)} do not: take them from a backup or from a"
            " point in time before the script, or save them first with --save-rows"
        )
        return {"reversibility": Reversibility.LOSSY, "reason": reason}
    extensions = [label for label in lost.labels if label.startswith("extension ")]
    if extensions:
        reason = f"{', '.join(extensions)} comes back in the version that the server has now, without rows of its own"
        return {"reversibility": Reversibility.LOSSY, "reason": reason}
    if lost.sequences:
        reason = f"the position of {', '.join(lost.sequences)} is lost; setval() puts it behind the highest key"
        return {"reversibility": Reversibility.LOSSY, "reason": reason}
    return {"reason": "made again from its definition, with owner, privileges, comment and what depends on it"}


def restoring(definitions: Definitions, lost: Lost) -> tuple[str, ...]:
    """The statements that make everything again that was lost, columns of tables that stay included."""
    columns: list[str] = []
    for one in lost.columns:
        relation = definitions.relation(one.table)
        column = relation.column(one.name) if relation else None
        if relation is not None and column is not None:
            columns.append(f"ALTER TABLE {one.table} ADD COLUMN {column_text(column, relation, identity=False)}")
            columns += column_attributes(one.table, column)
    if not columns:
        return _unchecked(lost.restore)
    first = [text for text in lost.restore if text.startswith(_BEFORE_COLUMNS)]
    rest = [text for text in lost.restore if not text.startswith(_BEFORE_COLUMNS)]
    return _unchecked((*first, *columns, *rest))


def _unchecked(statements: Sequence[str]) -> tuple[str, ...]:
    """Function bodies name things that come later, or that are found on another search_path."""
    if any(text.startswith(("CREATE FUNCTION", "CREATE PROCEDURE")) for text in statements):
        return (_BODIES_UNCHECKED, *statements)
    return tuple(statements)


def remade(definitions: Definitions, address: Address, *, what: str) -> Reverse:
    """The way back of a change: the object and what depends on it is dropped and made as it was.

    Nothing that holds rows is ever dropped for that.

    Args:
        definitions: Of the database before the change.
        address: What is changed; it has the same name afterwards.
        what: Its name, for the reason.
    """
    lost = definitions.lost([address])
    if lost.tables or lost.columns or lost.sequences:
        holders = ", ".join([*lost.tables, *(f"{one.table}.{one.name}" for one in lost.columns), *lost.sequences])
        return irreversible(f"{what} can only be made as it was by dropping {holders}, which holds data")
    if lost.unknown or not lost.restore:
        unreadable = ", ".join(lost.unknown) or what
        return irreversible(f"{what} would have to be made anew, and {unreadable} has no definition that can be read")
    return exact(
        *lost.drop, *_unchecked(lost.restore), reason=f"{what} and what depends on it is dropped and made as it was"
    )


def replaced(definitions: Definitions, address: Address, *, what: str) -> Reverse:
    """The way back of CREATE OR REPLACE: the old definition replaces the new one, or the object is made anew."""
    anew = remade(definitions, address, what=what)
    old = definitions.made(address)
    if not old:
        return anew
    first = _or_replace(old[0])
    unchecked = (_BODIES_UNCHECKED,) if "FUNCTION" in first or "PROCEDURE" in first else ()
    again = exact(*unchecked, first, reason=f"the old definition of {what} replaces the new one")
    return again.or_try(anew)


def _or_replace(text: str) -> str:
    return text if text.startswith("CREATE OR REPLACE ") else text.replace("CREATE ", "CREATE OR REPLACE ", 1)
