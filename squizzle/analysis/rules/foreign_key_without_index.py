"""Deletes of the other table read this one from end to end."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Action, AddColumn, AddConstraint, CreateTable
from squizzle.analysis.columns import Constraint, ConstraintKind
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.records import RelationName
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import bracketed, name_for, qualified


def _check(action: Action, context: Context) -> Iterator[Hit]:
    if isinstance(action, AddConstraint):
        yield from _look(action.table, action.constraint, context, action.location)
    elif isinstance(action, AddColumn):
        for constraint in action.column.constraints:
            yield from _look(action.table, constraint, context, action.location)
    elif isinstance(action, CreateTable) and not action.is_partition:
        inline = (one for column in action.columns for one in column.constraints)
        for constraint in (*action.constraints, *inline):
            yield from _look(action.table, constraint, context, action.location)


def _look(table: RelationName, key: Constraint, context: Context, location: int) -> Iterator[Hit]:
    if key.kind is not ConstraintKind.FOREIGN_KEY or not key.columns:
        return
    column = key.columns[0]
    known, whole = context.known(table), context.state.whole.table(table)
    is_sure = known.created or whole.created
    if known.leads_an_index(column) or whole.leads_an_index(column) or not is_sure:
        return
    concurrently = "" if whole.created else "CONCURRENTLY "
    yield Hit(
        message=f"no index of {table} begins with {column}, which refers to {key.references}",
        hint=f"CREATE INDEX {concurrently}{name_for(table, *key.columns, 'idx')} ON {qualified(table)}"
        f" {bracketed(key.columns)};",
        relation=table,
        location=location,
    )


RULE = Rule(
    code="T112",
    name="foreign-key-without-index",
    severity=Severity.INFO,
    condition="A foreign key whose first column no index begins with, in the script or in earlier ones that made the"
    " table.",
    effect="DELETE, and UPDATE of the key, in the other table reads this one from end to end for every row.",
    safe_way="An index over the columns of the key.",
    bad="CREATE TABLE reviews (id bigint PRIMARY KEY, user_id bigint REFERENCES users (id));",
    good="""\
CREATE TABLE reviews (id bigint PRIMARY KEY, user_id bigint REFERENCES users (id));
CREATE INDEX reviews_user_id_idx ON reviews (user_id);""",
    source="PostgreSQL manual, Foreign Keys; eugene, E15",
    on=(AddConstraint, AddColumn, CreateTable),
    check=_check,
)
