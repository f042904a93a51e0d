"""Columns, types, defaults and constraints out of parse trees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import postgast
from postgast import pg_query_pb2 as pg

from squizzle.analysis.columns import Column, Constraint, ConstraintKind, DefaultKind, Generated, TypeName
from squizzle.analysis.grammar import Tree
from squizzle.analysis.locks.tree import name_of

_SERIALS = frozenset({"serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"})
_KINDS = {
    pg.CONSTR_CHECK: ConstraintKind.CHECK,
    pg.CONSTR_NOTNULL: ConstraintKind.NOT_NULL,
    pg.CONSTR_FOREIGN: ConstraintKind.FOREIGN_KEY,
    pg.CONSTR_UNIQUE: ConstraintKind.UNIQUE,
    pg.CONSTR_PRIMARY: ConstraintKind.PRIMARY_KEY,
    pg.CONSTR_EXCLUSION: ConstraintKind.EXCLUDE,
}
# Functions whose volatility pg_proc.provolatile says is 's' or 'i', resp. 'v'; of any other the text cannot tell.
_STABLE = frozenset(
    {"now", "transaction_timestamp", "statement_timestamp", "current_setting", "timezone", "date_trunc", "to_char"}
    | {"to_date", "md5", "lower", "upper", "concat", "repeat", "array_fill", "make_date", "make_interval"}
    | {"jsonb_build_object", "json_build_object", "jsonb_build_array", "json_build_array", "pg_current_xact_id"}
)
_VOLATILE = frozenset(
    {"clock_timestamp", "timeofday", "random", "gen_random_uuid", "uuidv4", "uuidv7", "nextval", "setval"}
    | {"uuid_generate_v1", "uuid_generate_v1mc", "uuid_generate_v4", "gen_random_bytes"}
)


def type_of(tree: Tree) -> TypeName:
    """The type in a TypeName node."""
    name = tree.names[-1].string.sval if tree.names else ""
    modifiers = tuple(one.a_const.ival.ival for one in tree.typmods if one.HasField("a_const"))
    schema = tree.names[-2].string.sval if len(tree.names) > 1 else ""
    return TypeName(
        name=name,
        modifiers=modifiers,
        is_array=bool(tree.array_bounds),
        schema="" if schema == "pg_catalog" else schema,
    )


def column_of(tree: Tree, *, quote: bool = False) -> Column:
    """A column's definition in a ColumnDef node; its expressions are written out only when `quote` asks for it."""
    constraints = [one.constraint for one in tree.constraints]
    type_name = type_of(tree.type_name)
    kinds = {one.contype for one in constraints}
    default = next((one for one in constraints if one.contype == pg.CONSTR_DEFAULT), None)
    generated = next((one for one in constraints if one.contype == pg.CONSTR_GENERATED), None)
    return Column(
        name=tree.colname,
        type=type_name,
        not_null=bool(kinds & {pg.CONSTR_NOTNULL, pg.CONSTR_PRIMARY}),
        default=_default_kind(default.raw_expr) if default is not None else DefaultKind.NONE,
        default_text=_value_text(default if default is not None else generated) if quote else "",
        generated=_generated(generated),
        is_identity=pg.CONSTR_IDENTITY in kinds,
        is_serial=type_name.name in _SERIALS,
        constraints=tuple(_constraints(constraints, tree.colname, quote=quote)),
        location=tree.location,
    )


def _value_text(tree: Tree | None) -> str:
    return text_of(tree.raw_expr) if tree is not None else ""


def _generated(tree: Tree | None) -> Generated:
    if tree is None:
        return Generated.NO
    return Generated.VIRTUAL if tree.generated_kind == "v" else Generated.STORED


def _constraints(trees: Iterable[Tree], column: str, *, quote: bool) -> Iterator[Constraint]:
    for tree in trees:
        if tree.contype in _KINDS:
            yield constraint_of(tree, column=column, quote=quote)


def constraint_of(tree: Tree, *, column: str = "", quote: bool = False) -> Constraint:
    """A constraint in a Constraint node.

    Args:
        tree: The node.
        column: The column that it stands at; empty for one of the table.
        quote: Whether its definition is wanted: writing one costs 0.1 ms.
    """
    is_check = tree.contype == pg.CONSTR_CHECK
    keys = tree.fk_attrs if tree.contype == pg.CONSTR_FOREIGN else tree.keys
    columns = tuple(key.string.sval for key in keys)
    return Constraint(
        kind=_KINDS[tree.contype],
        name=tree.conname,
        columns=columns or ((column,) if column else ()),
        references=name_of(tree.pktable) if tree.contype == pg.CONSTR_FOREIGN else None,
        validated=not tree.skip_validation,
        index=tree.indexname,
        definition=_definition(tree, column) if quote else "",
        proves_not_null=tuple(_not_null_columns(tree.raw_expr)) if is_check else (),
    )


def _definition(tree: Tree, column: str) -> str:
    result = pg.ParseResult()
    statement = result.stmts.add().stmt.alter_table_stmt
    statement.objtype = pg.OBJECT_TABLE
    statement.relation.relname, statement.relation.inh = "t", True
    command = statement.cmds.add().alter_table_cmd
    command.subtype = pg.AT_AddConstraint
    constraint = getattr(command, "def").constraint
    constraint.CopyFrom(tree)
    constraint.conname, constraint.skip_validation = "", False
    keys = constraint.fk_attrs if tree.contype == pg.CONSTR_FOREIGN else constraint.keys
    if column and not keys and tree.contype != pg.CONSTR_CHECK:
        keys.add().string.sval = column
    return _written(result).removeprefix("ALTER TABLE t ADD ")


def text_of(expression: Tree) -> str:
    """An expression as SQL; `…` when libpg_query cannot write it."""
    result = pg.ParseResult()
    select = result.stmts.add().stmt.select_stmt
    select.target_list.add().res_target.val.CopyFrom(expression)
    select.limit_option, select.op = pg.LIMIT_OPTION_DEFAULT, pg.SETOP_NONE
    return _written(result).removeprefix("SELECT ")


def _written(result: Tree) -> str:
    try:
        return postgast.deparse(result)
    except postgast.PgQueryError:
        return "…"


def _not_null_columns(expression: Tree) -> Iterator[str]:
    """The columns that `a IS NOT NULL AND b IS NOT NULL` is about; PostgreSQL takes it as proof for each of them."""
    if expression.HasField("bool_expr") and expression.bool_expr.boolop == pg.AND_EXPR:
        for part in expression.bool_expr.args:
            yield from _not_null_columns(part)
    elif expression.HasField("null_test") and expression.null_test.nulltesttype == pg.IS_NOT_NULL:
        fields = expression.null_test.arg.column_ref.fields
        if fields:
            yield fields[-1].string.sval


def is_constraint(tree: Tree) -> bool:
    """Whether a Constraint node demands something of rows (a default and an identity do not)."""
    return tree.contype in _KINDS


def _default_kind(tree: Tree) -> DefaultKind:
    kinds = {_volatility(name) for name in _functions(tree)}
    for kind in (DefaultKind.VOLATILE, DefaultKind.UNKNOWN, DefaultKind.STABLE):
        if kind in kinds:
            return kind
    return DefaultKind.CONSTANT


def _volatility(function: str) -> DefaultKind:
    if function in _VOLATILE:
        return DefaultKind.VOLATILE
    return DefaultKind.STABLE if function in _STABLE else DefaultKind.UNKNOWN


# Most nodes of a tree, and none of them holds an expression.
_CALL_NOTHING = frozenset({"a_const", "column_ref", "relation", "range_var", "funcname", "name", "string", "names"})


def _functions(tree: Tree) -> Iterator[str]:
    """Names of the functions that an expression calls."""
    for kind, value in tree.ListFields():
        if kind.message_type is None or kind.name in _CALL_NOTHING:
            continue
        if kind.name == "func_call":
            yield value.funcname[-1].string.sval
        if not kind.is_repeated:
            yield from _functions(value)
            continue
        for part in value:
            # Rows of VALUES are nearly nothing else.
            if not part.HasField("a_const"):
                yield from _functions(part)


def functions_called(tree: Tree) -> tuple[str, ...]:
    """Names of the functions that a tree calls, without their schemas, each once."""
    return tuple(dict.fromkeys(_functions(tree)))
