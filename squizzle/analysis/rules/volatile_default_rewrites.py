"""A default that differs from row to row has to be written into each of them."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AddColumn
from squizzle.analysis.columns import DefaultKind
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Effect
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import LATER, alter, qualified, quoted, sql_type


def _check(action: AddColumn, context: Context) -> Iterator[Hit]:
    column = action.column
    if column.default not in {DefaultKind.VOLATILE, DefaultKind.UNKNOWN} or context.is_new(action.table):
        return
    is_sure = column.default is DefaultKind.VOLATILE
    verb = "writes" if is_sure else "may write (whether its default is VOLATILE, only the database knows)"
    table, name = alter(action.table), quoted(column.name)
    yield Hit(
        message=f"{verb} {action.table} and its indexes anew to fill {column.name} with {column.default_text}",
        hint=f"{table} ADD COLUMN {name} {sql_type(column.type)};\n{table} ALTER COLUMN {name} SET DEFAULT"
        f" {column.default_text};\n"
        f"{LATER}\nUPDATE {qualified(action.table)} SET {name} = {column.default_text} WHERE {name} IS NULL; -- in"
        f" batches",
        relation=action.table,
        mode=LockMode.ACCESS_EXCLUSIVE,
        location=action.location,
        severity=None if is_sure else Severity.INFO,
    )


RULE = Rule(
    code="L114",
    name="volatile-default-rewrites",
    severity=Severity.WARNING,
    condition="ADD COLUMN with a VOLATILE default (random(), gen_random_uuid(), clock_timestamp(), nextval() …)."
    " now() is"
    " STABLE and costs nothing.",
    effect="The table and all its indexes are written anew under ACCESS EXCLUSIVE: reads and writes wait for as long.",
    safe_way="Add the column without a default, set the default for new rows, fill the old ones in batches.",
    bad="ALTER TABLE orders ADD COLUMN token uuid DEFAULT gen_random_uuid();",
    good="""\
ALTER TABLE orders ADD COLUMN token uuid;
ALTER TABLE orders ALTER COLUMN token SET DEFAULT gen_random_uuid();""",
    source="PostgreSQL manual, ALTER TABLE, Notes; measured on 15 and 18",
    on=(AddColumn,),
    check=_check,
    does=Effect.REWRITES,
)
