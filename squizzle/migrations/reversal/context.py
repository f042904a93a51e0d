"""What earlier statements of the same script mean for a later one. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from postgast import pg_query_pb2 as pb

from squizzle.analysis.grammar import Tree
from squizzle.migrations.reversal.search_path import path_after
from squizzle.migrations.reversal.trees import dotted, range_name


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """What the script did before the statement.

    Attributes:
        created: Relations that the script made: their rows go with them.
        added: Columns (relation, unquoted name) that it added.
        save_as: What tables with saved rows begin with (`0007`); empty when rows are not to be saved.
        saved: The numbers of the statements whose rows are saved; None for all.
        keep_newer: Whether rows that clients changed since stay as they are, instead of stopping the way back.
        path: The statement that sets the search_path it has; empty in a script that never changes it.
        number: Which statement this is, counted from 1; makes names of saved rows different.
    """

    created: frozenset[str] = frozenset()
    added: frozenset[tuple[str, str]] = frozenset()
    save_as: str = ""
    saved: frozenset[int] | None = None
    keep_newer: bool = False
    path: str = ""
    number: int = 1

    @property
    def saves(self) -> bool:
        """Whether the rows that this statement touches are saved."""
        return bool(self.save_as) and (self.saved is None or self.number in self.saved)

    def after(self, tree: Tree | None) -> Context:
        """What holds behind this statement."""
        following = replace(self, number=self.number + 1)
        if tree is None:
            return following
        path = path_after(tree)
        if path is not None:
            # The same name may be another table from here on.
            return replace(following, path=path, created=frozenset(), added=frozenset())
        made, added = frozenset(_created(tree)), frozenset(_added(tree))
        known = following.without(tree)
        return replace(known, created=known.created | made, added=known.added | added)

    def without(self, tree: Tree) -> Context:
        """The same when a name comes to mean something else: a relation of ours has another one, or is gone.

        What we added under a name that is renamed or dropped is forgotten: an older thing may get that name next.
        """
        match tree.WhichOneof("node"):
            case "rename_stmt" if tree.rename_stmt.subname:
                table = range_name(tree.rename_stmt.relation)
                return replace(self, added=self.added - {(table, tree.rename_stmt.subname)})
            case "rename_stmt":
                old = range_name(tree.rename_stmt.relation)
                renamed = self._forget({old})
                if old not in self.created:
                    return renamed
                relation = type(tree.rename_stmt.relation)()
                relation.CopyFrom(tree.rename_stmt.relation)
                relation.relname = tree.rename_stmt.newname
                return replace(renamed, created=renamed.created | {range_name(relation)})
            case "drop_stmt" | "alter_object_schema_stmt":
                return self._forget(set(_gone(tree)))
            case "alter_table_stmt":
                return replace(self, added=self.added - frozenset(_dropped(tree)))
        return self

    def _forget(self, tables: set[str]) -> Context:
        added = frozenset(one for one in self.added if one[0] not in tables)
        return replace(self, created=self.created - tables, added=added)


def _gone(tree: Tree) -> Iterator[str]:
    if tree.WhichOneof("node") == "alter_object_schema_stmt":
        yield range_name(tree.alter_object_schema_stmt.relation)
        return
    for item in tree.drop_stmt.objects:
        yield dotted(one.string.sval for one in item.list.items)


def _dropped(tree: Tree) -> Iterator[tuple[str, str]]:
    table = range_name(tree.alter_table_stmt.relation)
    for command in tree.alter_table_stmt.cmds:
        if command.alter_table_cmd.subtype == pb.AT_DropColumn:
            yield table, command.alter_table_cmd.name


def _created(tree: Tree) -> Iterator[str]:
    match tree.WhichOneof("node"):
        case "create_stmt" if not tree.create_stmt.if_not_exists:
            yield range_name(tree.create_stmt.relation)
        case "create_table_as_stmt" if not tree.create_table_as_stmt.if_not_exists:
            yield range_name(tree.create_table_as_stmt.into.rel)


def _added(tree: Tree) -> Iterator[tuple[str, str]]:
    if tree.WhichOneof("node") != "alter_table_stmt":
        return
    for command in tree.alter_table_stmt.cmds:
        definition = getattr(command.alter_table_cmd, "def")
        is_column = definition.WhichOneof("node") == "column_def" and not command.alter_table_cmd.missing_ok
        if is_column and not command.alter_table_cmd.name and definition.column_def.colname:
            yield range_name(tree.alter_table_stmt.relation), definition.column_def.colname
