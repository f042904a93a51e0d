"""Everything that is neither a table nor rows: indexes, views, types, privileges, settings, maintenance."""

from __future__ import annotations

from collections.abc import Iterator

from postgast import pg_query_pb2 as pg

from squizzle.analysis.actions import (
    Action,
    Alter,
    AlterDomain,
    AlterEnum,
    ChangeRole,
    Create,
    CreateDomain,
    CreateEnum,
    CreateIndex,
    Drop,
    Grant,
    LockTable,
    Refresh,
    Reindex,
    Rename,
    SetParameter,
    SetSchema,
    TransactionControl,
    Vacuum,
)
from squizzle.analysis.grammar import Tree
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import RelationName
from squizzle.analysis.locks.tree import name_from_list, name_of
from squizzle.analysis.reduce.kinds import kind_of


def create_index(tree: Tree) -> Iterator[Action]:
    """CREATE INDEX."""
    yield CreateIndex(
        table=name_of(tree.relation),
        index=tree.idxname,
        columns=tuple(one.index_elem.name for one in tree.index_params),
        is_unique=tree.unique,
        concurrently=tree.concurrent,
        method=tree.access_method or "btree",
        only=not tree.relation.inh,
        location=tree.relation.location,
    )


_ON_TABLES = frozenset({pg.OBJECT_TRIGGER, pg.OBJECT_POLICY, pg.OBJECT_RULE})


def drop(tree: Tree) -> Iterator[Action]:
    """DROP of anything that is no database, role or tablespace."""
    names, parts = [], []
    for one in tree.objects:
        words = _dropped(one)
        if tree.remove_type in _ON_TABLES:
            names.append(name_from_list(words[:-1]))
            parts.append(words[-1].string.sval)
        elif words:
            names.append(name_from_list(words))
    yield Drop(
        kind=kind_of(tree.remove_type),
        names=tuple(names),
        parts=tuple(parts),
        cascade=tree.behavior == pg.DROP_CASCADE,
        concurrently=tree.concurrent,
        if_exists=tree.missing_ok,
    )


def _dropped(tree: Tree) -> list[Tree]:
    """The words of the name of a dropped object, whatever kind of node holds them."""
    kind = tree.WhichOneof("node")
    if kind == "list":
        return [item for item in tree.list.items if item.HasField("string")]
    if kind == "object_with_args":
        return list(tree.object_with_args.objname)
    if kind == "type_name":
        return list(tree.type_name.names)
    return [tree] if kind == "string" else []


def drop_database(tree: Tree) -> Iterator[Action]:
    """DROP DATABASE."""
    yield Drop(kind="DATABASE", names=(RelationName(name=tree.dbname),), if_exists=tree.missing_ok)


def drop_tablespace(tree: Tree) -> Iterator[Action]:
    """DROP TABLESPACE."""
    yield Drop(kind="TABLESPACE", names=(RelationName(name=tree.tablespacename),), if_exists=tree.missing_ok)


def drop_role(tree: Tree) -> Iterator[Action]:
    """DROP ROLE."""
    names = tuple(RelationName(name=one.role_spec.rolename) for one in tree.roles)
    yield Drop(kind="ROLE", names=names, if_exists=tree.missing_ok)


def drop_owned(tree: Tree) -> Iterator[Action]:
    """DROP OWNED."""
    names = tuple(RelationName(name=one.role_spec.rolename) for one in tree.roles)
    yield Drop(kind="OWNED", names=names, cascade=tree.behavior == pg.DROP_CASCADE)


def drop_subscription(tree: Tree) -> Iterator[Action]:
    """DROP SUBSCRIPTION."""
    yield Drop(kind="SUBSCRIPTION", names=(RelationName(name=tree.subname),), if_exists=tree.missing_ok)


_PARTS = frozenset({pg.OBJECT_COLUMN, pg.OBJECT_TABCONSTRAINT, pg.OBJECT_ATTRIBUTE, pg.OBJECT_DOMCONSTRAINT})
_ON_A_TABLE = frozenset({*_PARTS, *_ON_TABLES})


def rename(tree: Tree) -> Iterator[Action]:
    """ALTER … RENAME."""
    if tree.HasField("relation"):
        name = name_of(tree.relation)
    else:
        words = _dropped(tree.object)
        name = name_from_list(words) if words else RelationName(name=tree.subname)
    part = tree.subname if tree.rename_type in _ON_A_TABLE else ""
    yield Rename(kind=kind_of(tree.rename_type), name=name, new_name=tree.newname, part=part)


def set_schema(tree: Tree) -> Iterator[Action]:
    """ALTER … SET SCHEMA."""
    words = [] if tree.HasField("relation") else _dropped(tree.object)
    name = name_of(tree.relation) if tree.HasField("relation") else name_from_list(words)
    yield SetSchema(kind=kind_of(tree.object_type), name=name, new_schema=tree.newschema)


def create_enum(tree: Tree) -> Iterator[Action]:
    """CREATE TYPE … AS ENUM."""
    yield CreateEnum(name=name_from_list(tree.type_name), values=tuple(one.string.sval for one in tree.vals))


def alter_enum(tree: Tree) -> Iterator[Action]:
    """ALTER TYPE … ADD VALUE, RENAME VALUE."""
    yield AlterEnum(
        name=name_from_list(tree.type_name),
        value=tree.new_val,
        old_value=tree.old_val,
        has_place=bool(tree.new_val_neighbor),
    )


def create_domain(tree: Tree) -> Iterator[Action]:
    """CREATE DOMAIN."""
    yield CreateDomain(name=name_from_list(tree.domainname), has_constraint=bool(tree.constraints))


def alter_domain(tree: Tree) -> Iterator[Action]:
    """ALTER DOMAIN."""
    constraint = getattr(tree, "def").constraint
    yield AlterDomain(
        name=name_from_list(tree.type_name),
        adds_constraint=tree.subtype in {"C", "O"},
        validated=not constraint.skip_validation,
    )


def create_view(tree: Tree) -> Iterator[Action]:
    """CREATE VIEW."""
    yield Create(kind="VIEW", name=name_of(tree.view), replace=tree.replace, location=tree.view.location)


def create_sequence(tree: Tree) -> Iterator[Action]:
    """CREATE SEQUENCE."""
    yield Create(kind="SEQUENCE", name=name_of(tree.sequence), location=tree.sequence.location)


def create_trigger(tree: Tree) -> Iterator[Action]:
    """CREATE TRIGGER."""
    name = RelationName(name=tree.trigname)
    yield Create(
        kind="TRIGGER", name=name, table=name_of(tree.relation), replace=tree.replace, location=tree.relation.location
    )


def create_rule(tree: Tree) -> Iterator[Action]:
    """CREATE RULE."""
    yield Create(kind="RULE", name=RelationName(name=tree.rulename), table=name_of(tree.relation), replace=tree.replace)


def create_policy(tree: Tree) -> Iterator[Action]:
    """CREATE POLICY."""
    yield Create(kind="POLICY", name=RelationName(name=tree.policy_name), table=name_of(tree.table))


def create_extension(tree: Tree) -> Iterator[Action]:
    """CREATE EXTENSION."""
    yield Create(kind="EXTENSION", name=RelationName(name=tree.extname))


def create_database(tree: Tree) -> Iterator[Action]:
    """CREATE DATABASE."""
    yield Create(kind="DATABASE", name=RelationName(name=tree.dbname))


def create_tablespace(tree: Tree) -> Iterator[Action]:
    """CREATE TABLESPACE."""
    yield Create(kind="TABLESPACE", name=RelationName(name=tree.tablespacename))


def create_role(tree: Tree) -> Iterator[Action]:
    """CREATE ROLE."""
    yield Create(kind="ROLE", name=RelationName(name=tree.role))
    yield _role(tree.role, tree)


def alter_role(tree: Tree) -> Iterator[Action]:
    """ALTER ROLE."""
    yield _role(tree.role.rolename, tree)


def _role(name: str, tree: Tree) -> ChangeRole:
    options = [one.def_elem for one in tree.options]
    return ChangeRole(
        name=name,
        grants=tuple(one.defname for one in options if one.arg.boolean.boolval),
        # An empty one is PASSWORD NULL, which takes a password away.
        has_password=any(one.defname == "password" and one.arg.string.sval for one in options),
    )


def alter_policy(tree: Tree) -> Iterator[Action]:
    """ALTER POLICY."""
    yield Alter(kind="POLICY", name=RelationName(name=tree.policy_name), table=name_of(tree.table))


def alter_extension(tree: Tree) -> Iterator[Action]:
    """ALTER EXTENSION … UPDATE."""
    yield Alter(kind="EXTENSION", name=RelationName(name=tree.extname), options=tuple(_options(tree)))


def alter_database(tree: Tree) -> Iterator[Action]:
    """ALTER DATABASE with options."""
    yield Alter(kind="DATABASE", name=RelationName(name=tree.dbname), options=tuple(_options(tree)))


def alter_sequence(tree: Tree) -> Iterator[Action]:
    """ALTER SEQUENCE."""
    name = name_of(tree.sequence)
    yield Alter(kind="SEQUENCE", name=name, options=tuple(_options(tree)), location=tree.sequence.location)


def _options(tree: Tree) -> Iterator[tuple[str, str]]:
    for one in tree.options:
        argument = one.def_elem.arg
        kind = argument.WhichOneof("node")
        value = str(argument.integer.ival) if kind == "integer" else argument.string.sval
        yield one.def_elem.defname, "true" if kind == "boolean" and argument.boolean.boolval else value


def transaction(tree: Tree) -> Iterator[Action]:
    """COMMIT, ROLLBACK, SAVEPOINT …, where the script's pieces do not come from it."""
    yield TransactionControl(command=pg.TransactionStmtKind.Name(tree.kind).removeprefix("TRANS_STMT_"))


def create_schema(tree: Tree) -> Iterator[Action]:
    """CREATE SCHEMA."""
    yield Create(kind="SCHEMA", name=RelationName(name=tree.schemaname))


def create_statistics(tree: Tree) -> Iterator[Action]:
    """CREATE STATISTICS."""
    table = name_of(tree.relations[0].range_var) if tree.relations else None
    name = name_from_list(tree.defnames) if tree.defnames else RelationName(name="")
    yield Create(kind="STATISTICS", name=name, table=table)


def lock_table(tree: Tree) -> Iterator[Action]:
    """LOCK TABLE."""
    tables = tuple(name_of(one.range_var) for one in tree.relations)
    yield LockTable(tables=tables, mode=tuple(LockMode)[tree.mode - 1].value)


def refresh(tree: Tree) -> Iterator[Action]:
    """REFRESH MATERIALIZED VIEW."""
    yield Refresh(table=name_of(tree.relation), concurrently=tree.concurrent, location=tree.relation.location)


def reindex(tree: Tree) -> Iterator[Action]:
    """REINDEX."""
    kind = pg.ReindexObjectType.Name(tree.kind).removeprefix("REINDEX_OBJECT_")
    concurrently = any(one.def_elem.defname == "concurrently" for one in tree.params)
    name = name_of(tree.relation) if tree.HasField("relation") else None
    yield Reindex(kind=kind, name=name, concurrently=concurrently)


def vacuum(tree: Tree) -> Iterator[Action]:
    """VACUUM and ANALYZE."""
    is_full = any(one.def_elem.defname == "full" for one in tree.options)
    tables = tuple(name_of(one.vacuum_relation.relation) for one in tree.rels)
    yield Vacuum(command="VACUUM" if tree.is_vacuumcmd else "ANALYZE", tables=tables, is_full=is_full)


def cluster(tree: Tree) -> Iterator[Action]:
    """CLUSTER."""
    tables = (name_of(tree.relation),) if tree.HasField("relation") else ()
    yield Vacuum(command="CLUSTER", tables=tables, is_full=True)


def set_parameter(tree: Tree) -> Iterator[Action]:
    """SET and RESET."""
    yield _parameter(tree, "LOCAL" if tree.is_local else "SESSION")


def alter_system(tree: Tree) -> Iterator[Action]:
    """ALTER SYSTEM."""
    yield _parameter(tree.setstmt, "SYSTEM")


def alter_database_set(tree: Tree) -> Iterator[Action]:
    """ALTER DATABASE … SET."""
    yield _parameter(tree.setstmt, "DATABASE")


def alter_role_set(tree: Tree) -> Iterator[Action]:
    """ALTER ROLE … SET."""
    yield _parameter(tree.setstmt, "ROLE")


def _parameter(tree: Tree, scope: str) -> SetParameter:
    return SetParameter(name=tree.name.lower(), value=", ".join(map(_constant, tree.args)), scope=scope)


def _constant(tree: Tree) -> str:
    kind = tree.a_const.WhichOneof("val")
    if kind == "ival":
        return str(tree.a_const.ival.ival)
    if kind == "fval":
        return str(tree.a_const.fval.fval)
    if kind == "boolval":
        return "true" if tree.a_const.boolval.boolval else "false"
    return str(tree.a_const.sval.sval)


def grant(tree: Tree) -> Iterator[Action]:
    """GRANT and REVOKE of privileges."""
    yield Grant(
        is_grant=tree.is_grant,
        to_public=any(one.role_spec.roletype == pg.ROLESPEC_PUBLIC for one in tree.grantees),
        privileges=tuple(one.access_priv.priv_name for one in tree.privileges),
        kind=kind_of(tree.objtype),
        names=tuple(name_of(one.range_var) for one in tree.objects if one.HasField("range_var")),
        for_new_ones=tree.targtype == pg.ACL_TARGET_DEFAULTS,
    )


def alter_default_privileges(tree: Tree) -> Iterator[Action]:
    """ALTER DEFAULT PRIVILEGES."""
    yield from grant(tree.action)
