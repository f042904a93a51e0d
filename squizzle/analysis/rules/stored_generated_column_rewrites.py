"""A stored computed column has to be written into every row."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AddColumn
from squizzle.analysis.columns import Generated
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Effect
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import LATER, alter, qualified, quoted, sql_type


def _check(action: AddColumn, context: Context) -> Iterator[Hit]:
    column = action.column
    if column.generated is not Generated.STORED or context.is_new(action.table):
        return
    table, name = alter(action.table), quoted(column.name)
    yield Hit(
        message=f"writes {action.table} and its indexes anew to compute {column.name}",
        hint=f"{table} ADD COLUMN {name} {sql_type(column.type)}; -- kept by a trigger or the application:"
        f" {column.default_text}\n"
        f"{LATER}\nUPDATE {qualified(action.table)} SET {name} = {column.default_text} WHERE {name} IS NULL; -- in"
        f" batches",
        relation=action.table,
        mode=LockMode.ACCESS_EXCLUSIVE,
        location=action.location,
    )


RULE = Rule(
    code="L116",
    name="stored-generated-column-rewrites",
    severity=Severity.WARNING,
    condition="ADD COLUMN … GENERATED ALWAYS AS (…) STORED on a table that was there before.",
    effect="The table and all its indexes are written anew under ACCESS EXCLUSIVE: reads and writes wait for as long.",
    safe_way="A view, a VIRTUAL column (PostgreSQL 18), or a plain column that a trigger keeps and batches fill.",
    bad="ALTER TABLE orders ADD COLUMN total_cents bigint GENERATED ALWAYS AS (total * 100) STORED;",
    good="ALTER TABLE orders ADD COLUMN total_cents bigint;",
    source="PostgreSQL manual, ALTER TABLE, Notes; measured on 15 and 18",
    on=(AddColumn,),
    check=_check,
    does=Effect.REWRITES,
)
