"""Saving the rows that an UPDATE or a DELETE touches, with what other tables lose along, and bringing them back. Pure.

Before the statement the rows that it will touch are found by its own conditions, locked, and put aside; behind it only
those that it really touched are kept, together with the values that it left. So what clients do in between cannot slip
through, and what they do afterwards is seen: a row that no longer holds what the statement left is not overwritten.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

from squizzle.migrations.reversal.context import Context
from squizzle.migrations.reversal.definitions import Column, Definitions, Reference, Relation
from squizzle.migrations.reversal.records import SavedTable, Saving
from squizzle.migrations.reversal.saving import (
    DELETE,
    INSERT,
    MAKE_SCHEMA,
    UPDATE,
    Saved,
    fill,
    firing,
    kept_value,
    kept_values,
    key_of,
    names_of,
    old_value,
    old_values,
    overriding,
    same_key,
    saved_name,
    stored,
    without_triggers,
)
from squizzle.migrations.reversal.trees import literal, quoted

# So many keys are named in an error.
_SHOWN = 20
_NEW = "squizzle_new_{}"
_CASCADE, _SET_NULL, _SET_DEFAULT = "c", "n", "d"
# What a foreign key does to other rows.
ACTS = frozenset({_CASCADE, _SET_NULL, _SET_DEFAULT})


@dataclass(kw_only=True, slots=True)
class _Pieces:
    """What is gathered on the way from the statement's own table to those that point at it."""

    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    checks: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    drops: list[str] = field(default_factory=list)
    tables: list[SavedTable] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def saved(self) -> Saved:
        return Saved(
            saving=Saving(
                before=(MAKE_SCHEMA, *self.before), after=tuple(self.after), tables=tuple(self.tables), counted=True
            ),
            restore=(*self.checks, *self.rows, *self.drops),
            loss="; ".join(self.losses),
        )


def why_not_saved(relation: Relation | None, table: str, definitions: Definitions | None) -> str:
    """Why the rows that a statement touches in a table cannot be told apart later; empty when they can."""
    if relation is None or definitions is None:
        return f"{table} is not known without a database in the state before the script"
    if relation.kind not in {"r", "p"}:
        return f"{table} is no table, so its rows have no key of their own"
    if not relation.row_key:
        return f"{table} has no primary key (nor another one without nulls) that would tell its rows apart"
    if relation.kind == "r" and definitions.descendants(table):
        return f"other tables inherit from {table}, and its key does not tell their rows apart"
    if relation.rules:
        return f"rules of {table} ({', '.join(one.name for one in relation.rules)}) may do something else instead"
    return ""


def save_updated(table: str, relation: Relation, columns: tuple[str, ...], query: str, context: Context) -> Saved:
    """Keep the rows that an UPDATE touches.

    Args:
        table: As the statement names it.
        relation: The same.
        columns: That it sets.
        query: Selects the keys of the rows that it will touch.
        context: What earlier statements did.
    """
    pieces = _Pieces()
    # A trigger may set any other column of the row along with those.
    wanted = [
        one
        for one in stored(relation)
        if one.name not in relation.row_key
        and one.identity != "a"
        and (one.name in columns or firing(relation, UPDATE))
    ]
    _update(pieces, table, relation, tuple(wanted), query, context)
    for one in relation.references:
        if one.on_update in ACTS and set(one.targets) & set(columns):
            pieces.losses.append(f"what ON UPDATE changes in {one.table} is not saved")
    return pieces.saved()


def save_deleted(definitions: Definitions, table: str, relation: Relation, query: str, context: Context) -> Saved:
    """Keep the rows that a DELETE takes, and those of other tables that a foreign key takes or empties with them.

    Args as for `save_updated`, and `definitions` of the database before it.
    """
    pieces = _Pieces()
    _delete(pieces, definitions, table, relation, query, context)
    return pieces.saved()


def _update(
    pieces: _Pieces, table: str, relation: Relation, columns: tuple[Column, ...], query: str, context: Context
) -> None:
    key = key_of(relation)
    where, aside = saved_name(context, table), _aside(pieces)
    pieces.before.append(
        f"CREATE TEMPORARY TABLE {aside} ON COMMIT DROP AS SELECT {kept_values((*key, *columns))},"
        f" tableoid AS squizzle_part, ctid AS squizzle_place FROM {table} WHERE ({names_of(key)}) IN ({query})"
        " FOR NO KEY UPDATE"
    )
    new = ", ".join(f"{kept_value(one, 't')} AS {_NEW.format(at)}" for at, one in enumerate(columns, start=1))
    olds = ", ".join(f"old.{quoted(one.name)}" for one in (*key, *columns))
    # A row that was touched lies somewhere else: PostgreSQL writes a new version of it.
    kept = (
        f"SELECT {olds}, {new} FROM pg_temp.{aside} AS old JOIN {table} AS t ON {same_key(key, 'old')}"
        " WHERE (t.tableoid, t.ctid) <> (old.squizzle_part, old.squizzle_place)"
    )
    pieces.after += [*fill(where, kept), f"DROP TABLE pg_temp.{aside}"]
    pieces.tables.append(SavedTable(table=table, name=where))
    # Bit by bit, for not every type has an equality; without the cast the comparison would be of column and column.
    left = f"ROW({', '.join(f'saved.{_NEW.format(at)}' for at in range(1, len(columns) + 1))})::record"
    now = f"ROW({', '.join(kept_value(one, 't') for one in columns)})::record"
    there = f"t.{quoted(key[0].name)}"
    if context.keep_newer:
        unchanged = f" AND {now} OPERATOR(pg_catalog.*=) {left}"
    else:
        unchanged = ""
        found = (
            f"FROM {where} AS saved LEFT JOIN {table} AS t ON {same_key(key)}"
            f" WHERE {there} IS NULL OR {now} OPERATOR(pg_catalog.*<>) {left}"
        )
        pieces.checks.append(_check(table, key, where, found, "were changed or deleted"))
    sets = ", ".join(f"{quoted(one.name)} = {old_value(one)}" for one in columns)
    back = f"UPDATE {table} AS t SET {sets} FROM {where} AS saved WHERE {same_key(key)}{unchanged}"
    pieces.rows += without_triggers(table, relation, UPDATE, back)
    pieces.drops.append(f"DROP TABLE {where}")
    _mention_triggers(pieces, table, relation, UPDATE)


def _delete(
    pieces: _Pieces, definitions: Definitions, table: str, relation: Relation, query: str, context: Context
) -> None:
    key, columns = key_of(relation), stored(relation)
    where, aside = saved_name(context, table), _aside(pieces)
    pieces.seen.add(relation.name)
    pieces.before.append(
        f"CREATE TEMPORARY TABLE {aside} ON COMMIT DROP AS SELECT {kept_values(columns)} FROM {table}"
        f" WHERE ({names_of(key)}) IN ({query}) FOR UPDATE"
    )
    kept = (
        f"SELECT old.* FROM pg_temp.{aside} AS old WHERE NOT EXISTS (SELECT FROM {table} AS t"
        f" WHERE {same_key(key, 'old')})"
    )
    pieces.after += [*fill(where, kept), f"DROP TABLE pg_temp.{aside}"]
    pieces.tables.append(SavedTable(table=table, name=where))
    found = f"FROM {where} AS saved JOIN {table} AS t ON {same_key(key)}"
    absent = ""
    if context.keep_newer:
        absent = f" WHERE NOT EXISTS (SELECT FROM {table} AS t WHERE {same_key(key)})"
    else:
        pieces.checks.append(_check(table, key, where, found, "were written again"))
    into = f"INSERT INTO {table} ({names_of(columns)}){overriding(relation)}"
    back = f"{into} SELECT {old_values(columns)} FROM {where} AS saved{absent}"
    pieces.rows += without_triggers(table, relation, INSERT, back)
    pieces.drops.append(f"DROP TABLE {where}")
    _mention_triggers(pieces, table, relation, DELETE)
    for reference in relation.references:
        if reference.on_delete in ACTS:
            _along(pieces, definitions, reference, relation, aside, context)


def _along(
    pieces: _Pieces,
    definitions: Definitions,
    reference: Reference,
    parent: Relation,
    aside: str,
    context: Context,
) -> None:
    """What a foreign key deletes or empties along with the rows that are put aside."""
    child = definitions.relation(reference.table)
    why = why_not_saved(child, reference.table, definitions)
    if child is None or why:
        pieces.losses.append(f"what the foreign key of {reference.table} takes along is not saved: {why}")
        return
    if child.name in pieces.seen:
        pieces.losses.append(f"rows of {child.name} go by more than one foreign key, and those are not all saved")
        return
    known = {one.name: one for one in stored(parent)}
    if not set(reference.targets) <= set(known):
        pieces.losses.append(f"what the foreign key of {child.name} to a generated column takes along is not saved")
        return
    targets = ", ".join(old_value(known[name], "up") for name in reference.targets)
    columns = ", ".join(quoted(name) for name in reference.columns)
    query = (
        f"SELECT {names_of(key_of(child))} FROM {child.name}"
        f" WHERE ({columns}) IN (SELECT {targets} FROM pg_temp.{aside} AS up)"
    )
    if reference.on_delete == _CASCADE:
        _delete(pieces, definitions, child.name, child, query, context)
        return
    pieces.seen.add(child.name)
    if set(reference.columns) & set(child.row_key):
        pieces.losses.append(f"the foreign key of {child.name} changes its own key, so that is not saved")
        return
    emptied = tuple(one for one in stored(child) if one.name in reference.columns)
    _update(pieces, child.name, child, emptied, query, context)


def _aside(pieces: _Pieces) -> str:
    return f"squizzle_touched_{len(pieces.tables) + 1}"


def _mention_triggers(pieces: _Pieces, table: str, relation: Relation, event: int) -> None:
    names = ", ".join(one.name for one in firing(relation, event))
    if names:
        pieces.losses.append(f"what triggers of {table} ({names}) did to other rows is not saved")


def _check(table: str, key: tuple[Column, ...], where: str, found: str, what: str) -> str:
    """A block that stops the way back when clients changed rows since: it counts them and names their keys."""
    names = ", ".join(one.name for one in key)
    return stop_where_any(
        lock=f"FROM {table} AS t, {where} AS saved WHERE {same_key(key)} FOR NO KEY UPDATE OF t",
        keys=", ".join(f"saved.{quoted(one.name)}" for one in key),
        found=found,
        complaint=f"rows of {table} {what} since the script, and are not overwritten: ({names})",
        hint=f"look at them and at {where}; --keep-newer brings back the others and leaves these as they are",
    )


def stop_where_any(*, lock: str, keys: str, found: str, complaint: str, hint: str) -> str:
    """A block that stops the way back, before it changes anything, where rows are found: counted, the first 20 named.

    Args:
        lock: FROM … FOR …: the rows that nobody may change between this look and the change.
        keys: Columns that tell the rows apart, as a list.
        found: FROM … WHERE …: the rows.
        complaint: What follows their number in the error; its end tells what the keys are.
        hint: What to do then.
    """
    message = literal(f"% {complaint.replace('%', '%%')} = %")
    lines = (
        "DECLARE many bigint; keys text;",
        "BEGIN",
        f"  PERFORM {lock};",
        f"  SELECT count(*), string_agg(one.key, ', ') FILTER (WHERE one.place <= {_SHOWN}) INTO many, keys",
        f"  FROM (SELECT ROW({keys})::text, row_number() OVER (ORDER BY {keys}) {found}) AS one (key, place);",
        f"  IF many > 0 THEN RAISE EXCEPTION {message}, many, keys USING HINT = {literal(hint)}; END IF;",
    )
    body = "\n".join(lines)
    # Values that stand in a script may hold the mark, too.
    mark = next(mark for n in count() if (mark := f"$squizzle{n or ''}$") not in body)
    return f"DO {mark}\n{body}\nEND {mark}"
