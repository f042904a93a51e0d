"""Functions, procedures and DO blocks: what they are, and the bodies that are looked into."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from squizzle.analysis.actions import Action, CallFunction, Routine
from squizzle.analysis.grammar import Tree
from squizzle.analysis.locks.tree import name_from_list

DEFAULT_LANGUAGE = "plpgsql"


@dataclass(frozen=True, kw_only=True, slots=True)
class Body:
    """What a routine or a rule does.

    Attributes:
        language: In small letters; empty for a rule.
        text: What stands in its quotes; empty for BEGIN ATOMIC and rules, whose statements are in `trees`.
        trees: The statements of a BEGIN ATOMIC body, or of a rule.
        runs_now: Whether it runs with the statement (DO), not when it is called later.
    """

    language: str
    text: str
    trees: tuple[Tree, ...]
    runs_now: bool


def create_routine(tree: Tree) -> Iterator[Action]:
    """CREATE FUNCTION and CREATE PROCEDURE."""
    options = {one.def_elem.defname: one.def_elem for one in tree.options}
    definer = options.get("security")
    names = [one.def_elem.arg.variable_set_stmt.name for one in tree.options if one.def_elem.defname == "set"]
    yield Routine(
        name=name_from_list(tree.funcname),
        language=_language(tree),
        security_definer=definer is not None and definer.arg.boolean.boolval,
        sets_search_path="search_path" in names,
    )


def alter_routine(tree: Tree) -> Iterator[Action]:
    """ALTER FUNCTION and ALTER PROCEDURE."""
    options = {one.def_elem.defname: one.def_elem for one in tree.actions}
    names = [one.def_elem.arg.variable_set_stmt.name for one in tree.actions if one.def_elem.defname == "set"]
    if "security" in options:
        yield Routine(
            name=name_from_list(tree.func.objname),
            language="",
            security_definer=options["security"].arg.boolean.boolval,
            sets_search_path="search_path" in names,
        )


def do_block(tree: Tree) -> Iterator[Action]:
    """DO."""
    yield Routine(name=None, language=_do_language(tree))


def call(tree: Tree) -> Iterator[Action]:
    """CALL."""
    names = tree.funccall.funcname
    yield CallFunction(name=names[-1].string.sval if names else "")


def body_of(kind: str, tree: Tree) -> Body | None:
    """The body of a routine's or a rule's statement; None for any other statement."""
    if kind == "do_stmt":
        texts = [one.def_elem.arg.string.sval for one in tree.args if one.def_elem.defname == "as"]
        return Body(language=_do_language(tree), text="".join(texts), trees=(), runs_now=True)
    if kind == "rule_stmt":
        return Body(language="", text="", trees=tuple(tree.actions), runs_now=False)
    if kind == "create_function_stmt":
        return Body(language=_language(tree), text=_text(tree), trees=_atomic(tree), runs_now=False)
    return None


def _language(tree: Tree) -> str:
    names = [one.def_elem.arg.string.sval for one in tree.options if one.def_elem.defname == "language"]
    return names[0].lower() if names else "sql"


def _do_language(tree: Tree) -> str:
    names = [one.def_elem.arg.string.sval for one in tree.args if one.def_elem.defname == "language"]
    return names[0].lower() if names else DEFAULT_LANGUAGE


def _text(tree: Tree) -> str:
    for one in tree.options:
        if one.def_elem.defname == "as":
            items = one.def_elem.arg.list.items
            return str(items[0].string.sval) if items else ""
    return ""


def _atomic(tree: Tree) -> tuple[Tree, ...]:
    if not tree.HasField("sql_body"):
        return ()
    if tree.sql_body.HasField("list"):
        return tuple(item for group in tree.sql_body.list.items for item in group.list.items)
    return (tree.sql_body,)
