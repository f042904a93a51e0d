"""The names that PostgreSQL chooses for indexes, constraints and statistics that a statement leaves unnamed. Pure.

The rules are those of ChooseRelationName, ChooseIndexNameAddition, ChooseConstraintName and makeObjectName in
PostgreSQL's indexcmds.c and pg_constraint.c; a wrong guess makes the reverse fail, never drop something else, because
a name that is taken already is never chosen.
"""

from __future__ import annotations

from collections.abc import Sequence

from squizzle.analysis.grammar import Tree
from squizzle.migrations.reversal.definitions import Address, Definitions

# NAMEDATALEN - 1.
_LONGEST = 63


def make_object_name(first: str, second: str, label: str) -> str:
    """Two names and a label joined by `_`, the longer one cut until it fits into 63 bytes."""
    one, two = first.encode(), second.encode()
    overhead = (1 if second else 0) + (len(label) + 1 if label else 0)
    room = _LONGEST - overhead
    length_one, length_two = len(one), len(two)
    while length_one + length_two > room:
        if length_one > length_two:
            length_one -= 1
        else:
            length_two -= 1
    parts = [one[:length_one].decode(errors="ignore")]
    if second:
        parts.append(two[:length_two].decode(errors="ignore"))
    return "_".join([*parts, label] if label else parts)


def choose_name(first: str, second: str, label: str, *, schema: str, definitions: Definitions) -> str:
    """The first such name that is free in the schema."""
    number = 0
    while True:
        name = make_object_name(first, second, f"{label}{number or ''}")
        if not definitions.taken(name, schema):
            return name
        number += 1


def columns_part(names: Sequence[str]) -> str:
    """The columns' part of a name: joined by `_`, cut at 63 bytes."""
    joined = ""
    for name in names:
        joined = f"{joined}_{name}" if joined else name
        if len(joined.encode()) >= _LONGEST:
            break
    return joined.encode()[:_LONGEST].decode(errors="ignore")


def schema_of(relation: Tree, definitions: Definitions) -> str:
    """The schema of a relation that a statement names."""
    names = tuple(part for part in (relation.schemaname, relation.relname) if part)
    return relation.schemaname or definitions.schema(Address(kind="relation", names=names)) or "public"


def chosen_index_name(statement: Tree, definitions: Definitions | None) -> str | None:
    """The name of an index that CREATE INDEX leaves unnamed; None without a database."""
    if definitions is None:
        return None
    used: list[str] = []
    for one in (*statement.index_params, *statement.index_including_params):
        element = one.index_elem
        base = element.indexcolname or element.name or _expression_name(element.expr)
        name, number = base, 1
        while name in used:
            name, number = f"{base}{number}", number + 1
        used.append(name)
    schema = schema_of(statement.relation, definitions)
    return choose_name(statement.relation.relname, columns_part(used), "idx", schema=schema, definitions=definitions)


def _expression_name(expression: Tree) -> str:
    """The name that FigureIndexColname gives an expression."""
    kind = expression.WhichOneof("node")
    if kind == "func_call":
        return str(expression.func_call.funcname[-1].string.sval)
    if kind == "type_cast":
        inner = _expression_name(expression.type_cast.arg)
        return inner if inner != "expr" else str(expression.type_cast.type_name.names[-1].string.sval)
    if kind == "collate_clause":
        return _expression_name(expression.collate_clause.arg)
    if kind == "column_ref":
        return str(expression.column_ref.fields[-1].string.sval)
    return {"coalesce_expr": "coalesce", "case_expr": "case"}.get(kind, "expr")


def chosen_statistics_name(statement: Tree, definitions: Definitions | None) -> tuple[str, ...]:
    """The name of statistics that CREATE STATISTICS leaves unnamed; empty without a database."""
    if definitions is None or not statement.relations:
        return ()
    relation = statement.relations[0].range_var
    columns = columns_part([one.stats_elem.name or "expr" for one in statement.exprs])
    schema = schema_of(relation, definitions)
    return (schema, choose_name(relation.relname, columns, "stat", schema=schema, definitions=definitions))
