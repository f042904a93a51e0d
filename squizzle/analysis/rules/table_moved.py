"""A table's file is written anew in another form or place."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AlterTable
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Effect
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import qualified, quoted

_SAYS = {
    "SetLogged": "writes {} and its indexes anew, and all of it into the WAL",
    "SetUnLogged": "writes {} and its indexes anew",
    "SetTableSpace": "copies {} to another tablespace",
    "SetAccessMethod": "writes {} and its indexes anew for another access method",
}


def _check(action: AlterTable, context: Context) -> Iterator[Hit]:
    if action.command not in _SAYS or context.is_new(action.table):
        return
    hint = ""
    if action.kind == "INDEX":
        hint = f"REINDEX (TABLESPACE {quoted(action.column)}, CONCURRENTLY) INDEX {qualified(action.table)};"
    yield Hit(
        message=f"{_SAYS[action.command].format(action.table)} while nobody can use it",
        hint=hint,
        relation=action.table,
        mode=LockMode.ACCESS_EXCLUSIVE,
        location=action.location,
    )


RULE = Rule(
    code="L120",
    name="table-moved",
    severity=Severity.WARNING,
    condition="SET LOGGED, SET UNLOGGED, SET TABLESPACE or SET ACCESS METHOD of a table or index that was there"
    " before.",
    effect="All of it is written anew under ACCESS EXCLUSIVE: reads and writes wait for as long.",
    safe_way="A new table of the right form, filled in batches and swapped by renaming, or pg_repack; for an index"
    " REINDEX"
    " (TABLESPACE …, CONCURRENTLY).",
    bad="ALTER TABLE payments SET UNLOGGED;",
    good="REINDEX (TABLESPACE pg_default, CONCURRENTLY) INDEX orders_status_idx;",
    source="PostgreSQL manual, ALTER TABLE; measured on 15 and 18",
    on=(AlterTable,),
    check=_check,
    does=Effect.REWRITES,
)
