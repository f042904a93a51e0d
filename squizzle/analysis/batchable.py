"""Where a range of keys goes in a statement, and whether the statement may be run in ranges at all. Pure.

The parse tree decides what the statement is; the text is cut at the scanner's tokens, so everything the author wrote
stays as it is. Then the cut is proven: the new text, parsed, must be the old tree with the range ANDed to the whole of
its WHERE, and nothing else. What cannot be proven is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from postgast import pg_query_pb2

from squizzle.analysis.grammar import Tree, Unparsed, read_statement
from squizzle.analysis.records import BatchOptions
from squizzle.analysis.scanner import scan
from squizzle.errors import InvalidInputError

# Far below what could end the process (squizzle.analysis.grammar), and more than anybody writes by hand.
_MOST_TOKENS = 4000
_PROBE = "squizzle range of keys"
# Only what everybody has; the server is asked about the others before the first range.
_AGGREGATES = frozenset(
    {"count", "sum", "avg", "min", "max", "array_agg", "string_agg", "json_agg", "jsonb_agg", "bool_and", "bool_or"}
)


class Verb(StrEnum):
    """What a statement does with the rows of a range."""

    UPDATE = "UPDATE"
    DELETE = "DELETE"
    INSERT = "INSERT"


@dataclass(frozen=True, kw_only=True, slots=True)
class TableName:
    """A table as a statement names it; `schema` is empty when the search path decides."""

    schema: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchShape:
    """A statement, cut where the range of keys goes.

    Attributes:
        verb: What it does.
        target: The table that it writes.
        source: The table that the key is a column of: the target, or what INSERT … SELECT reads.
        only: Whether it leaves tables that inherit from the source out (ONLY).
        called: What the statement calls the source: an alias, or the table's own name.
        columns: The key.
        functions: What the SELECT list calls; an aggregate among them would give a row for each range.
        head: The text before the condition.
        condition: The text of the original condition; empty for none.
        tail: The text behind it.
        stands_alone: Whether the condition names nothing but the source and what it asks itself: no FROM, USING, WITH.
    """

    verb: Verb
    target: TableName
    source: TableName
    only: bool
    called: str
    columns: tuple[str, ...]
    functions: frozenset[str]
    head: str
    condition: str
    tail: str
    stands_alone: bool

    def limited_to(self, condition: str) -> str:
        """The statement for the rows of one range.

        Args:
            condition: SQL that is true for the rows of the range.
        """
        # On a line of its own: the original may end with a comment.
        original = f" AND (\n{self.condition}\n)" if self.condition else ""
        return f"{self.head} WHERE ({condition}){original} {self.tail}".rstrip()


def read_shape(sql: str, options: BatchOptions, *, where: str) -> BatchShape:
    """Take a statement apart for running it in ranges.

    Args:
        sql: One statement, without a semicolon.
        options: Its mark.
        where: `0007_x/up.sql:12`, for messages.

    Raises:
        InvalidInputError: It cannot be run in ranges so that the result is the same, with the reason.
    """
    return _Reader(sql, options, where).shape()


class _Reader:
    def __init__(self, sql: str, options: BatchOptions, where: str) -> None:
        self.sql = sql
        self.options = options
        self.where = where
        self.tokens = scan(sql)

    def shape(self) -> BatchShape:
        if len(self.tokens) > _MOST_TOKENS:
            self.refuse(f"it has more than {_MOST_TOKENS} words, too many to take it apart", "put lists into a table")
        tree = self.parse(self.sql)
        kind = tree.WhichOneof("node")
        if kind == "insert_stmt":
            shape = self.insert(tree.insert_stmt)
        elif kind in {"update_stmt", "delete_stmt"}:
            shape = self.change(getattr(tree, kind), Verb.UPDATE if kind == "update_stmt" else Verb.DELETE)
        else:
            self.refuse("only UPDATE, DELETE and INSERT … SELECT run in batches")
        self.prove(tree, shape)
        return shape

    def parse(self, sql: str) -> Tree:
        tree = read_statement(sql)
        if isinstance(tree, Unparsed):
            self.refuse(tree.reason, "simplify it")
        return tree

    def refuse(self, reason: str, hint: str = "") -> NoReturn:
        raise InvalidInputError(
            f"{self.where}: this statement cannot run in batches: {reason}",
            hint=f"{hint or 'write it so that each row is treated by itself'}; or remove the mark and it runs whole",
        )

    # UPDATE and DELETE

    def change(self, tree: Tree, verb: Verb) -> BatchShape:
        if tree.where_clause.WhichOneof("node") == "current_of_expr":
            self.refuse("WHERE CURRENT OF names one row of a cursor")
        target = _name(tree.relation)
        called = tree.relation.alias.aliasname or tree.relation.relname
        self.check_qualifier(called)
        self.check_with(tree)
        self.check_reads(tree, target)
        if verb is Verb.UPDATE:
            self.check_key_stays(tree)
        head, condition, tail = self.cut(0, (("RETURNING",),))
        others = tree.from_clause if verb is Verb.UPDATE else tree.using_clause
        alone = not others and not tree.HasField("with_clause")
        return self.made(verb, target, target, tree.relation, called, frozenset(), (head, condition, tail), alone=alone)

    def check_key_stays(self, tree: Tree) -> None:
        changed = {node.res_target.name for node in tree.target_list}
        if both := sorted(changed & set(self.options.key)):
            self.refuse(
                f"it changes its own key ({', '.join(both)}), so rows would move from one range to another",
                "choose a key that it leaves alone",
            )

    # INSERT … SELECT

    def insert(self, tree: Tree) -> BatchShape:
        select = tree.select_stmt.select_stmt
        self.check_select(select)
        source = select.from_clause[0].range_var
        called = source.alias.aliasname or source.relname
        self.check_qualifier(called)
        self.check_with(tree)
        self.check_with(select)
        target = _name(tree.relation)
        if _may_be_same(target, _name(source)):
            self.refuse(
                f"it copies {target.name} into itself: new rows could be copied again", "copy it to another table"
            )
        self.check_reads(tree, target)
        functions = self.check_functions(select)
        position = next((place for place in self.outside() if self.tokens[place].word == "SELECT"), None)
        if position is None:
            self.refuse("its SELECT stands in parentheses, or is TABLE", "write INSERT INTO … SELECT … FROM …")
        parts = self.cut(position, (("RETURNING",), ("ON", "CONFLICT")))
        alone = not tree.HasField("with_clause") and not select.HasField("with_clause")
        return self.made(Verb.INSERT, target, _name(source), source, called, functions, parts, alone=alone)

    def check_select(self, select: Tree) -> None:
        found = {
            "UNION, INTERSECT or EXCEPT": select.HasField("larg"),
            "DISTINCT": bool(select.distinct_clause),
            "GROUP BY": bool(select.group_clause),
            "HAVING": select.HasField("having_clause"),
            "WINDOW": bool(select.window_clause),
            "LIMIT": select.HasField("limit_count"),
            "OFFSET": select.HasField("limit_offset"),
            "ORDER BY": bool(select.sort_clause),
            "FOR UPDATE or FOR SHARE": bool(select.locking_clause),
        }
        for word, is_there in found.items():
            if is_there:
                self.refuse(f"{word} looks at more than the rows of one range")
        if len(select.from_clause) != 1 or select.from_clause[0].WhichOneof("node") != "range_var":
            self.refuse("INSERT runs in batches only as INSERT … SELECT from one table", "put joins into subqueries")

    def check_functions(self, select: Tree) -> frozenset[str]:
        called: set[str] = set()
        for node in _nodes(select.target_list, stop_at=("SelectStmt",)):
            if node.DESCRIPTOR.name != "FuncCall":
                continue
            name = node.funcname[-1].string.sval
            is_aggregate = node.agg_star or node.agg_distinct or node.HasField("agg_filter") or bool(node.agg_order)
            if node.HasField("over"):
                self.refuse(f"the window function {name} looks at more than the rows of one range")
            if is_aggregate or name in _AGGREGATES:
                self.refuse(f"the aggregate {name} would give one row for each range")
            called.add(name)
        return frozenset(called)

    # Any of them

    def check_qualifier(self, called: str) -> None:
        if self.options.qualifier not in {"", called}:
            self.refuse(
                f"its key is said to be of {self.options.qualifier}, and the rows come from {called}",
                f"write key={called}.{self.options.key[0]}",
            )

    def check_with(self, tree: Tree) -> None:
        for node in tree.with_clause.ctes:
            if node.common_table_expr.ctequery.WhichOneof("node") != "select_stmt":
                self.refuse(f"{node.common_table_expr.ctename} in WITH writes, and would do so once for each range")

    def check_reads(self, tree: Tree, target: TableName) -> None:
        if self.options.reads_own_table:
            return
        names = [_name(node) for node in _nodes([tree]) if node.DESCRIPTOR.name == "RangeVar"]
        if sum(_may_be_same(one, target) for one in names) > 1:  # the target itself is one of them
            self.refuse(
                f"it reads {target.name}, which it writes: later ranges would see what earlier ones wrote",
                "say reads_own_table=yes in the mark when the result does not depend on that",
            )

    def outside(self) -> Iterator[int]:
        """The places of tokens that stand in no parentheses and name no column or label."""
        depth = 0
        for place, token in enumerate(self.tokens):
            depth += (token.word == "(") - (token.word == ")")
            if depth == 0 and (place == 0 or self.tokens[place - 1].word not in {".", "AS"}):
                yield place

    def cut(self, begin: int, ends: Sequence[tuple[str, ...]]) -> tuple[str, str, str]:
        """The text before the condition, the condition, and the text behind it."""
        words = [token.word for token in self.tokens]
        places = [place for place in self.outside() if place > begin]
        end = next((one for one in places for wanted in ends if tuple(words[one : one + len(wanted)]) == wanted), None)
        behind = self.tokens[end].start if end is not None else len(self.sql.encode())
        where = next((one for one in places if words[one] == "WHERE" and self.tokens[one].start < behind), None)
        encoded = self.sql.encode()
        if where is None:
            return encoded[:behind].decode(), "", encoded[behind:].decode()
        head, condition = encoded[: self.tokens[where].start], encoded[self.tokens[where].end : behind]
        return head.decode(), condition.decode().strip(), encoded[behind:].decode()

    def made(
        self,
        verb: Verb,
        target: TableName,
        source: TableName,
        relation: Tree,
        called: str,
        functions: frozenset[str],
        parts: tuple[str, str, str],
        *,
        alone: bool,
    ) -> BatchShape:
        head, condition, tail = parts
        return BatchShape(
            verb=verb,
            target=target,
            source=source,
            only=not relation.inh,
            called=called,
            columns=self.options.key,
            functions=functions,
            head=head,
            condition=condition,
            tail=tail,
            stands_alone=alone,
        )

    def prove(self, tree: Tree, shape: BatchShape) -> None:
        """The statement for a range is the statement with one more condition, and nothing else."""
        probe = pg_query_pb2.Node()
        probe.column_ref.fields.add().string.sval = _PROBE
        wanted = type(tree)()
        wanted.CopyFrom(tree)
        original = type(tree)()
        condition = _condition(wanted)
        original.CopyFrom(condition)
        condition.CopyFrom(probe if original.WhichOneof("node") is None else _both(probe, original))
        found = self.parse(shape.limited_to(f'"{_PROBE}"'))
        _forget_places(wanted)
        _forget_places(found)
        if wanted != found:
            self.refuse("the place for the range of keys was not found", "write it in a simpler way")


def _condition(tree: Tree) -> Tree:
    """The node of the WHERE that a range is added to; of an empty one there is a node, too."""
    if tree.WhichOneof("node") == "insert_stmt":
        return tree.insert_stmt.select_stmt.select_stmt.where_clause
    return getattr(tree, tree.WhichOneof("node")).where_clause


def _both(first: Tree, second: Tree) -> Tree:
    node = pg_query_pb2.Node()
    node.bool_expr.boolop = pg_query_pb2.AND_EXPR
    node.bool_expr.args.add().CopyFrom(first)
    node.bool_expr.args.add().CopyFrom(second)
    return node


# Where a node stood in the text is no part of what it says.
_PLACES = frozenset({"location", "rexpr_list_start", "rexpr_list_end", "list_start", "list_end"})


def _forget_places(tree: Tree) -> None:
    for node in _nodes([tree]):
        for field, _ in node.ListFields():
            if field.name in _PLACES:
                node.ClearField(field.name)


def _name(relation: Tree) -> TableName:
    return TableName(schema=relation.schemaname, name=relation.relname)


def _may_be_same(one: TableName, other: TableName) -> bool:
    return one.name == other.name and (one.schema == other.schema or not (one.schema and other.schema))


def _nodes(roots: Sequence[Tree], *, stop_at: Sequence[str] = ()) -> Iterator[Tree]:
    """Every message below these, themselves included."""
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node.DESCRIPTOR.name in stop_at:
            continue
        yield node
        for field, value in node.ListFields():
            if field.message_type is not None:
                stack.extend(value if field.is_repeated else [value])
