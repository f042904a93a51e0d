"""Columns, types, defaults and constraints out of parse trees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from postgast import pg_query_pb2 as pg

from squizzle.analysis.actions import Column, Constraint, ConstraintKind, DefaultKind, Generated, TypeName
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
    return TypeName(name=name, modifiers=modifiers, is_array=bool(tree.array_bounds))


def column_of(tree: Tree) -> Column:
    """A column's definition in a ColumnDef node."""
    constraints = [one.constraint for one in tree.constraints]
    kinds = {one.contype for one in constraints}
    default = next((one for one in constraints if one.contype == pg.CONSTR_DEFAULT), None)
    generated = next((one for one in constraints if one.contype == pg.CONSTR_GENERATED), None)
    return Column(
        name=tree.colname,
        type=type_of(tree.type_name),
        not_null=bool(kinds & {pg.CONSTR_NOTNULL, pg.CONSTR_PRIMARY}),
        default=_default_kind(default.raw_expr) if default is not None else DefaultKind.NONE,
        generated=_generated(generated),
        is_identity=pg.CONSTR_IDENTITY in kinds,
        is_serial=type_of(tree.type_name).name in _SERIALS,
        constraints=tuple(_constraints(constraints, tree.colname)),
        location=tree.location,
    )


def _generated(tree: Tree | None) -> Generated:
    if tree is None:
        return Generated.NO
    return Generated.VIRTUAL if tree.generated_kind == "v" else Generated.STORED


def _constraints(trees: Iterable[Tree], column: str) -> Iterator[Constraint]:
    for tree in trees:
        if tree.contype in _KINDS:
            yield constraint_of(tree, column=column)


def constraint_of(tree: Tree, *, column: str = "") -> Constraint:
    """A constraint in a Constraint node; of a column when that is named."""
    keys = tree.fk_attrs if tree.contype == pg.CONSTR_FOREIGN else tree.keys
    columns = tuple(key.string.sval for key in keys)
    return Constraint(
        kind=_KINDS[tree.contype],
        name=tree.conname,
        columns=columns or ((column,) if column else ()),
        references=name_of(tree.pktable) if tree.contype == pg.CONSTR_FOREIGN else None,
        validated=not tree.skip_validation,
        index=tree.indexname,
    )


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


def _functions(tree: Tree) -> Iterator[str]:
    """Names of the functions that an expression calls."""
    for kind, value in tree.ListFields():
        if kind.name == "func_call":
            yield value.funcname[-1].string.sval
        for part in value if kind.is_repeated else [value]:
            if hasattr(part, "ListFields"):
                yield from _functions(part)


def functions_called(tree: Tree) -> tuple[str, ...]:
    """Names of the functions that a tree calls, without their schemas, each once."""
    return tuple(dict.fromkeys(_functions(tree)))
