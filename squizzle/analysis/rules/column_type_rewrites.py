"""A column's type changes, and every row is written anew."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AlterColumnType
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Effect
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import LATER, alter, qualified, quoted, sql_type
from squizzle.analysis.type_changes import TypeChange, cost_of

_UNSURE = {
    TypeChange.DEPENDS: "writes {} anew unless its type before was narrower of the same kind, which no script tells",
    TypeChange.TIME_ZONE: "writes {} anew unless the session's time zone is UTC",
}


def _check(action: AlterColumnType, context: Context) -> Iterator[Hit]:
    before = context.known(action.table).type_of(action.column)
    cost = cost_of(before, action.type)
    if cost is TypeChange.INSTANT or context.is_new(action.table):
        return
    is_sure = cost is TypeChange.REWRITES
    said = "writes {} and its indexes anew" if is_sure else _UNSURE[cost]
    origin = f" from {sql_type(before)}" if before is not None else ""
    change = f"{action.column}{origin} to {sql_type(action.type)}"
    yield Hit(
        message=f"{said.format(action.table)} to change {change}",
        hint=_hint(action),
        relation=action.table,
        mode=LockMode.ACCESS_EXCLUSIVE,
        location=action.location,
        severity=None if is_sure else Severity.INFO,
    )


def _hint(action: AlterColumnType) -> str:
    table, old, new = alter(action.table), quoted(action.column), quoted(f"{action.column}_new")
    return (
        f"{table} ADD COLUMN {new} {sql_type(action.type)}; -- and let a trigger or the application write"
        f" both\n{LATER}\n"
        f"UPDATE {qualified(action.table)} SET {new} = {old}::{sql_type(action.type)} WHERE {new} IS NULL; -- in"
        f" batches\n{LATER}\n"
        f"{table} RENAME COLUMN {old} TO {quoted(f'{action.column}_old')};\n{table} RENAME COLUMN {new} TO {old};"
    )


RULE = Rule(
    code="L118",
    name="column-type-rewrites",
    severity=Severity.WARNING,
    condition="ALTER COLUMN … TYPE that is not one of the instant changes: varchar or numeric wider, varchar to"
    " text, more"
    " precision, cidr to inet.",
    effect="The table and all its indexes are written anew under ACCESS EXCLUSIVE: reads and writes wait for as long.",
    safe_way="A second column of the new type, written by a trigger, filled in batches, and swapped by renaming.",
    bad="ALTER TABLE users ALTER COLUMN age TYPE bigint;",
    good="ALTER TABLE users ALTER COLUMN nickname TYPE varchar(100);",
    source="PostgreSQL manual, ALTER TABLE, Notes; measured on 15 and 18",
    on=(AlterColumnType,),
    check=_check,
    does=Effect.REWRITES,
)
