"""The way back of the rarer ALTERs, and of what leaves nothing or nothing that could be taken back. Pure."""

from __future__ import annotations

from collections.abc import Callable

from postgast import pg_query_pb2 as pb

from squizzle.analysis.grammar import Tree
from squizzle.migrations.reversal.context import Context
from squizzle.migrations.reversal.definitions import Address, Definitions, SequenceFacts
from squizzle.migrations.reversal.foreign_options import options_back
from squizzle.migrations.reversal.records import Reverse, exact, irreversible, lossy, nothing_to_do
from squizzle.migrations.reversal.remaking import remade, replaced
from squizzle.migrations.reversal.trees import (
    address_of,
    dotted,
    item_of_relation,
    name_list,
    quoted,
    relation_address,
    string_item,
    strings,
)

Handler = Callable[[Tree, Definitions | None, Context], Reverse]
_NEEDS_DATABASE = "what it was before is not known without a database in the state before the script"


def leaves_nothing(reason: str) -> Handler:
    """A statement that changes no definition and no row."""

    def handler(_: Tree, __: Definitions | None, ___: Context) -> Reverse:
        return nothing_to_do(reason)

    return handler


def has_no_way_back(reason: str) -> Handler:
    """A statement whose effect cannot be told, or not taken back."""

    def handler(_: Tree, __: Definitions | None, ___: Context) -> Reverse:
        return irreversible(reason)

    return handler


def _remade(address_in: Callable[[Tree], Address | None]) -> Handler:
    """A statement that changes something which can be dropped and made as it was."""

    def handler(tree: Tree, definitions: Definitions | None, _: Context) -> Reverse:
        address = address_in(tree)
        if definitions is None or address is None:
            return irreversible(_NEEDS_DATABASE)
        return remade(definitions, address, what=dotted(address.names))

    return handler


def _named(node: str, field: str, object_type: int) -> Callable[[Tree], Address | None]:
    return lambda tree: address_of(object_type, string_item(getattr(getattr(tree, node), field)))


def _listed(node: str, field: str, object_type: int) -> Callable[[Tree], Address | None]:
    return lambda tree: address_of(object_type, name_list(strings(getattr(getattr(tree, node), field))))


def _policy(tree: Tree) -> Address | None:
    statement = tree.alter_policy_stmt
    return address_of(pb.OBJECT_POLICY, item_of_relation(statement.table, statement.policy_name))


def _operator(tree: Tree) -> Address | None:
    item = pb.Node()
    item.object_with_args.CopyFrom(tree.alter_operator_stmt.opername)
    return address_of(pb.OBJECT_OPERATOR, item)


def _operator_family(tree: Tree) -> Address | None:
    statement = tree.alter_op_family_stmt
    return address_of(pb.OBJECT_OPFAMILY, name_list((statement.amname, *strings(statement.opfamilyname))))


def _reverse_function(tree: Tree, definitions: Definitions | None, _: Context) -> Reverse:
    item = pb.Node()
    item.object_with_args.CopyFrom(tree.alter_function_stmt.func)
    address = address_of(tree.alter_function_stmt.objtype, item)
    if definitions is None or address is None:
        return irreversible(_NEEDS_DATABASE)
    return replaced(definitions, address, what=dotted(address.names))


def _reverse_sequence(tree: Tree, definitions: Definitions | None, _: Context) -> Reverse:
    statement = tree.alter_seq_stmt
    if definitions is None:
        return irreversible(_NEEDS_DATABASE)
    found = definitions.sequence(relation_address(statement.sequence))
    if found is None:
        if statement.missing_ok:
            return nothing_to_do("there was no such sequence, so nothing was changed")
        return irreversible("the sequence was not found in the database")
    back = sequence_as_it_was(found)
    if any(one.def_elem.defname == "restart" for one in statement.options):
        return lossy(back, reason=f"the position of {found.name} before RESTART is lost")
    return exact(back)


def sequence_as_it_was(found: SequenceFacts) -> str:
    """ALTER SEQUENCE with every parameter."""
    return (
        f"ALTER SEQUENCE {found.name} AS {found.type} INCREMENT BY {found.increment} MINVALUE {found.minimum}"
        f" MAXVALUE {found.maximum} START WITH {found.start} CACHE {found.cache}"
        f" {'' if found.cycle else 'NO '}CYCLE OWNED BY {found.owned_by}"
    )


def _reverse_wrapper(tree: Tree, definitions: Definitions | None, _: Context) -> Reverse:
    statement = tree.alter_fdw_stmt
    address = address_of(pb.OBJECT_FDW, string_item(statement.fdwname))
    if definitions is None or address is None:
        return irreversible(_NEEDS_DATABASE)
    if statement.func_options:
        return irreversible("the handler that it had before is not read")
    text = options_back([one.def_elem for one in statement.options], definitions.options(address))
    return exact(f"ALTER FOREIGN DATA WRAPPER {quoted(statement.fdwname)} OPTIONS ({text})")


def _reverse_server(tree: Tree, definitions: Definitions | None, _: Context) -> Reverse:
    statement = tree.alter_foreign_server_stmt
    address = address_of(pb.OBJECT_FOREIGN_SERVER, string_item(statement.servername))
    if definitions is None or address is None:
        return irreversible(_NEEDS_DATABASE)
    if statement.has_version:
        return irreversible("PostgreSQL cannot take the version of a server away, and the old one is not read")
    text = options_back([one.def_elem for one in statement.options], definitions.options(address))
    return exact(f"ALTER SERVER {quoted(statement.servername)} OPTIONS ({text})")


def _reverse_refresh(tree: Tree, definitions: Definitions | None, _: Context) -> Reverse:
    statement = tree.refresh_mat_view_stmt
    name = dotted((statement.relation.schemaname, statement.relation.relname))
    found = definitions.relation(name) if definitions else None
    if found is None:
        return irreversible(_NEEDS_DATABASE)
    if found.populated == (not statement.skip_data):
        return nothing_to_do("its rows are computed, and can be computed again", certain=False)
    ending = "" if found.populated else " WITH NO DATA"
    return exact(f"REFRESH MATERIALIZED VIEW {name}{ending}", reason="filled, or emptied, as it was before")


def _reverse_cluster(tree: Tree, definitions: Definitions | None, _: Context) -> Reverse:
    statement = tree.cluster_stmt
    if not statement.HasField("relation"):
        return nothing_to_do("only the order of rows on disk changes")
    name = dotted((statement.relation.schemaname, statement.relation.relname))
    found = definitions.relation(name) if definitions else None
    if found is None:
        return irreversible(_NEEDS_DATABASE)
    action = f"CLUSTER ON {found.clustered_on}" if found.clustered_on else "SET WITHOUT CLUSTER"
    return exact(f"ALTER TABLE {name} {action}", reason="the index that it is clustered on is the old one again")


_TEXT_SEARCH = "text search configurations are made as they were"

OTHERS: dict[str, Handler] = {
    "alter_collation_stmt": leaves_nothing("only the recorded version of the collation changes"),
    "alter_event_trig_stmt": _remade(_named("alter_event_trig_stmt", "trigname", pb.OBJECT_EVENT_TRIGGER)),
    "alter_fdw_stmt": _reverse_wrapper,
    "alter_foreign_server_stmt": _reverse_server,
    "alter_function_stmt": _reverse_function,
    "alter_op_family_stmt": _remade(_operator_family),
    "alter_operator_stmt": _remade(_operator),
    "alter_policy_stmt": _remade(_policy),
    "alter_publication_stmt": _remade(_named("alter_publication_stmt", "pubname", pb.OBJECT_PUBLICATION)),
    "alter_seq_stmt": _reverse_sequence,
    "alter_stats_stmt": _remade(_listed("alter_stats_stmt", "defnames", pb.OBJECT_STATISTIC_EXT)),
    "alter_tsconfiguration_stmt": _remade(_listed("alter_tsconfiguration_stmt", "cfgname", pb.OBJECT_TSCONFIGURATION)),
    "alter_tsdictionary_stmt": _remade(_listed("alter_tsdictionary_stmt", "dictname", pb.OBJECT_TSDICTIONARY)),
    "cluster_stmt": _reverse_cluster,
    "refresh_mat_view_stmt": _reverse_refresh,
    # What changes nothing that a way back would have to restore.
    "check_point_stmt": leaves_nothing("it changes no definition and no row"),
    "close_portal_stmt": leaves_nothing("a cursor ends with the session"),
    "constraints_set_stmt": leaves_nothing("it holds only until the end of the transaction"),
    "deallocate_stmt": leaves_nothing("a prepared statement ends with the session"),
    "declare_cursor_stmt": leaves_nothing("a cursor ends with the session"),
    "discard_stmt": leaves_nothing("it concerns only the session"),
    "fetch_stmt": leaves_nothing("it only reads"),
    "listen_stmt": leaves_nothing("it concerns only the session"),
    "load_stmt": leaves_nothing("it concerns only the session"),
    "lock_stmt": leaves_nothing("a lock ends with the transaction"),
    "notify_stmt": leaves_nothing("a notification cannot be called back, and leaves nothing in the database"),
    "prepare_stmt": leaves_nothing("a prepared statement ends with the session"),
    "reindex_stmt": leaves_nothing("an index is built anew, its definition stays"),
    "transaction_stmt": leaves_nothing("it only begins or ends a transaction"),
    "unlisten_stmt": leaves_nothing("it concerns only the session"),
    "vacuum_stmt": leaves_nothing("it changes no definition and no row"),
    "variable_set_stmt": leaves_nothing("a setting ends with the session"),
    "variable_show_stmt": leaves_nothing("it only reads"),
    # What cannot be told from the text.
    "call_stmt": has_no_way_back("what the procedure does cannot be told from the statement"),
    "do_stmt": has_no_way_back("what the block does cannot be told from its text"),
    "execute_stmt": has_no_way_back("what the prepared statement does cannot be told from its name"),
    "explain_stmt": has_no_way_back("EXPLAIN may run the statement"),
    # What belongs to the whole cluster, or holds a secret.
    "alter_database_set_stmt": has_no_way_back("settings of a database are not part of its schema"),
    "alter_database_stmt": has_no_way_back("properties of a database are not part of its schema"),
    "alter_extension_contents_stmt": has_no_way_back("what belongs to an extension is for its author to change"),
    "alter_extension_stmt": has_no_way_back(
        "PostgreSQL has no way from a newer version of an extension to an older one"
    ),
    "alter_role_set_stmt": has_no_way_back("roles belong to the whole cluster"),
    "alter_role_stmt": has_no_way_back("roles belong to the whole cluster, and a password cannot be read"),
    "alter_subscription_stmt": has_no_way_back("a subscription holds a password, which is never read"),
    "alter_system_stmt": has_no_way_back("settings belong to the whole server"),
    "alter_table_move_all_stmt": has_no_way_back("which relations were moved is not read"),
    "alter_table_space_options_stmt": has_no_way_back("tablespaces belong to the whole cluster"),
    "alter_user_mapping_stmt": has_no_way_back("a user mapping holds a password, which is never read"),
    "create_role_stmt": has_no_way_back("roles belong to the whole cluster; other databases may use it by now"),
    "create_subscription_stmt": has_no_way_back("a subscription reaches another server; drop it by hand"),
    "create_table_space_stmt": has_no_way_back("tablespaces belong to the whole cluster"),
    "createdb_stmt": has_no_way_back("dropping a database is never generated"),
    "drop_owned_stmt": has_no_way_back("what the role owned is not named; take it from a backup"),
    "drop_role_stmt": has_no_way_back("roles belong to the whole cluster, and a password cannot be read"),
    "drop_subscription_stmt": has_no_way_back("a subscription holds a password, which is never read"),
    "drop_table_space_stmt": has_no_way_back("tablespaces belong to the whole cluster"),
    "drop_user_mapping_stmt": has_no_way_back("a user mapping holds a password, which is never read"),
    "dropdb_stmt": has_no_way_back("a dropped database comes back only from a backup"),
    "import_foreign_schema_stmt": has_no_way_back("which foreign tables were made depends on the other server"),
    "reassign_owned_stmt": has_no_way_back("what the role owned is not named"),
    "sec_label_stmt": has_no_way_back("security labels are not read"),
}
