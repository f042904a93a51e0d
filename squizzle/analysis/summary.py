"""A statement as rules see it: what it does, what it locks, and what is inside its body."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from squizzle.analysis.actions import Action, DynamicSql, LongName, Unknown
from squizzle.analysis.grammar import Tree, Unparsed, read_statement
from squizzle.analysis.locks.lock_map import LockMap
from squizzle.analysis.locks.readers import locks_of_tree
from squizzle.analysis.locks.records import Forecast
from squizzle.analysis.records import Statement
from squizzle.analysis.reduce import objects, routines, rows, tables
from squizzle.analysis.reduce.bodies import Part, parts_of
from squizzle.analysis.scanner import UnreadableError, scan
from squizzle.analysis.statements import split_statements
from squizzle.errors import InvalidInputError

# A function that makes a function that makes a function …: somewhere it has to end.
_DEEPEST = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Inner:
    """What a statement inside a body does.

    Attributes:
        action: The thing done.
        line: How many lines of the outer statement come before it.
        runs_now: Whether it runs with the outer statement (DO), or only when the function is called.
    """

    action: Action
    line: int
    runs_now: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What one statement does.

    Attributes:
        statement: The statement.
        actions: What it does itself.
        inner: What the statements in its body do.
        forecast: What it locks.
    """

    statement: Statement
    actions: tuple[Action, ...]
    inner: tuple[Inner, ...]
    forecast: Forecast


def summarize(statement: Statement, measured: LockMap | None = None) -> Summary:
    """Reduce a statement to what it does. What cannot be parsed is an `Unknown` action, never nothing.

    Args:
        statement: The statement.
        measured: The lock map of the server's version; the newest when nobody knows the server.
    """
    if statement.control is not None:
        return Summary(statement=statement, actions=(), inner=(), forecast=Forecast())
    tree = read_statement(statement.sql)
    if isinstance(tree, Unparsed):
        unknown = Unknown(reason=tree.reason, location=tree.location)
        return Summary(statement=statement, actions=(unknown,), inner=(), forecast=locks_of_tree(None))
    forecast = locks_of_tree(tree, measured)
    inner = tuple(_inner(tree, statement.sql, depth=0))
    actions = (*actions_of(tree), *_long_names(statement.sql))
    return Summary(statement=statement, actions=actions, inner=inner, forecast=forecast)


# Parse trees hold names that are cut off already (NAMEDATALEN - 1 bytes), so the text is asked.
_LONGEST_NAME = 63
_MAY_BE_LONG = re.compile(r'[^\s"\'(),;.]{22,}|"[^"]{22,}"')


def _long_names(text: str) -> Iterator[Action]:
    if not any(len(found[0].encode()) > _LONGEST_NAME for found in _MAY_BE_LONG.finditer(text)):
        return
    encoded = text.encode()
    for token in scan(text):
        word = encoded[token.start : token.end].decode().strip('"')
        if token.is_name and len(word.encode()) > _LONGEST_NAME:
            yield LongName(name=word, location=token.start)


def actions_of(tree: Tree) -> Iterator[Action]:
    """What the statement of a tree does, what is in its body left out."""
    kind = tree.WhichOneof("node")
    if kind in _OF_ROWS:
        yield from rows.change_rows(tree)
    elif kind in _READERS:
        yield from _READERS[kind](getattr(tree, kind))
        if kind == "create_schema_stmt":
            for element in tree.create_schema_stmt.schema_elts:
                # An index of it is on a table that is as new.
                if not element.HasField("index_stmt"):
                    yield from actions_of(element)
    elif kind not in _HARMLESS:
        yield Unknown(reason=f"nothing is known about {kind.removesuffix('_stmt').replace('_', ' ')}")


def _inner(tree: Tree, text: str, *, depth: int) -> Iterator[Inner]:
    kind = tree.WhichOneof("node")
    body = routines.body_of(kind, getattr(tree, kind))
    if body is None:
        return
    if depth == _DEEPEST:
        yield Inner(action=Unknown(reason="it is a body in more bodies than are looked into"), line=0, runs_now=False)
        return
    encoded = text.encode() if body.trees else b""
    for atomic in body.trees:
        for action in actions_of(atomic):
            line = encoded.count(b"\n", 0, getattr(action, "location", 0))
            yield Inner(action=action, line=line, runs_now=body.runs_now)
    if body.language in {"sql", "plpgsql"}:
        begins = text.count("\n", 0, max(0, text.find(body.text)))
        for part in _parts(body):
            yield from _inner_of_part(part, runs_now=body.runs_now, line=begins + part.line, depth=depth)


def _parts(body: routines.Body) -> tuple[Part, ...]:
    if body.language == "plpgsql":
        return parts_of(body.text)
    try:
        statements = split_statements(body.text, source="body")
    except (InvalidInputError, UnreadableError):
        return ()
    return tuple(Part(text=one.sql, is_dynamic=False, line=one.line - 1) for one in statements)


def _inner_of_part(part: Part, *, runs_now: bool, line: int, depth: int) -> Iterator[Inner]:
    if part.is_dynamic:
        yield Inner(action=DynamicSql(expression=part.text), line=line, runs_now=runs_now)
        return
    tree = read_statement(part.text)
    if isinstance(tree, Unparsed):
        # What is no SQL is the language's own, with variables in odd places; what was too much may be anything.
        if not tree.is_syntax:
            yield Inner(action=Unknown(reason=tree.reason), line=line, runs_now=runs_now)
        return
    for action in actions_of(tree):
        yield Inner(action=action, line=line, runs_now=runs_now)
    for deeper in _inner(tree, part.text, depth=depth + 1):
        yield Inner(action=deeper.action, line=line + deeper.line, runs_now=runs_now and deeper.runs_now)


_OF_ROWS = frozenset({"insert_stmt", "update_stmt", "delete_stmt", "merge_stmt", "select_stmt"})

_READERS: Mapping[str, Callable[[Tree], Iterator[Action]]] = {
    "create_stmt": tables.create_table,
    "create_foreign_table_stmt": lambda tree: tables.create_table(tree.base_stmt),
    "create_table_as_stmt": tables.create_table_as,
    "alter_table_stmt": tables.alter_table,
    "truncate_stmt": rows.truncate,
    "copy_stmt": rows.copy,
    "explain_stmt": rows.explain,
    "prepare_stmt": rows.prepare,
    "return_stmt": rows.returned,
    "index_stmt": objects.create_index,
    "drop_stmt": objects.drop,
    "dropdb_stmt": objects.drop_database,
    "drop_table_space_stmt": objects.drop_tablespace,
    "drop_role_stmt": objects.drop_role,
    "drop_owned_stmt": objects.drop_owned,
    "drop_subscription_stmt": objects.drop_subscription,
    "rename_stmt": objects.rename,
    "alter_object_schema_stmt": objects.set_schema,
    "create_enum_stmt": objects.create_enum,
    "alter_enum_stmt": objects.alter_enum,
    "create_domain_stmt": objects.create_domain,
    "alter_domain_stmt": objects.alter_domain,
    "view_stmt": objects.create_view,
    "create_seq_stmt": objects.create_sequence,
    "create_trig_stmt": objects.create_trigger,
    "rule_stmt": objects.create_rule,
    "create_policy_stmt": objects.create_policy,
    "create_extension_stmt": objects.create_extension,
    "createdb_stmt": objects.create_database,
    "create_role_stmt": objects.create_role,
    "alter_role_stmt": objects.alter_role,
    "create_table_space_stmt": objects.create_tablespace,
    "alter_policy_stmt": objects.alter_policy,
    "alter_extension_stmt": objects.alter_extension,
    "alter_database_stmt": objects.alter_database,
    "alter_seq_stmt": objects.alter_sequence,
    "transaction_stmt": objects.transaction,
    "create_schema_stmt": objects.create_schema,
    "create_stats_stmt": objects.create_statistics,
    "lock_stmt": objects.lock_table,
    "refresh_mat_view_stmt": objects.refresh,
    "reindex_stmt": objects.reindex,
    "vacuum_stmt": objects.vacuum,
    "cluster_stmt": objects.cluster,
    "variable_set_stmt": objects.set_parameter,
    "alter_system_stmt": objects.alter_system,
    "alter_database_set_stmt": objects.alter_database_set,
    "alter_role_set_stmt": objects.alter_role_set,
    "grant_stmt": objects.grant,
    "alter_default_privileges_stmt": objects.alter_default_privileges,
    "create_function_stmt": routines.create_routine,
    "alter_function_stmt": routines.alter_routine,
    "do_stmt": routines.do_block,
    "call_stmt": routines.call,
}

# Statements about which no rule has anything to say.
_HARMLESS = frozenset(
    {"alter_extension_contents_stmt", "alter_fdw_stmt"}
    | {"alter_foreign_server_stmt", "alter_op_family_stmt", "alter_operator_stmt"}
    | {"alter_owner_stmt", "alter_publication_stmt"}
    | {"alter_stats_stmt", "alter_subscription_stmt", "alter_tsconfiguration_stmt", "alter_tsdictionary_stmt"}
    | {"alter_type_stmt", "alter_user_mapping_stmt", "alter_collation_stmt"}
    | {"alter_database_refresh_coll_stmt", "alter_event_trig_stmt", "alter_object_depends_stmt"}
    | {"alter_table_space_options_stmt", "check_point_stmt", "close_portal_stmt", "comment_stmt"}
    | {"composite_type_stmt", "constraints_set_stmt", "create_am_stmt", "create_cast_stmt", "create_conversion_stmt"}
    | {"create_event_trig_stmt", "create_fdw_stmt", "create_foreign_server_stmt", "create_op_class_stmt"}
    | {"create_op_family_stmt", "create_plang_stmt", "create_publication_stmt", "create_range_stmt"}
    | {"create_subscription_stmt", "create_transform_stmt", "create_user_mapping_stmt"}
    | {"deallocate_stmt", "declare_cursor_stmt", "define_stmt", "discard_stmt", "drop_user_mapping_stmt"}
    | {"execute_stmt", "fetch_stmt", "grant_role_stmt", "import_foreign_schema_stmt", "listen_stmt"}
    | {"load_stmt", "notify_stmt", "reassign_owned_stmt", "sec_label_stmt"}
    | {"unlisten_stmt", "variable_show_stmt"}
)
