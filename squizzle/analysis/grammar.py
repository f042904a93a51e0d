"""PostgreSQL's own grammar: a statement as a parse tree, and back. With `parser_child` the only modules that parse.

The grammar recurses and never looks at its stack: a chain of 50,000 terms ends the process (measured, 8 MiB of stack).
So this process parses only what is short, or moderately long and shown by its tokens to be flat; everything else is
parsed in a child process that may die of it (`parser_process`). What is not parsed is unknown, never harmless.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import postgast
from google.protobuf.message import DecodeError
from postgast import pg_query_pb2

from squizzle.analysis.nesting import levels_of
from squizzle.analysis.parser_child import SHALLOW
from squizzle.analysis.parser_process import NotParsed, ParsedBytes, ParserProcess

# Characters. A level of nesting has at least one (`+++1`), and the smallest stack of a thread that we met, 512 KiB on
# macOS, bears 1,000 levels and not 2,000 (measured); with 8 MiB 20,000 pass.
_SHORT = 1_000
_MODERATE = 20_000
# Levels that a text of moderate length may have here.
_FLAT = 250
# Characters; the worst 4 MiB, calls of functions, took 13 s and 750 MB (measured). Rows take 2 s and 140 MB.
LONGEST = 1 << 22
# Messages in each other, two for most levels. Whoever walks a tree may recurse once for each and Python allows 1,000
# calls in each other; deparsing needs the most stack, and 512 KiB bear 250 levels (measured).
_DEEPEST = 400

# A node of pg_query_pb2, whose generated stub mypy cannot read.
Tree = Any

_PARSER = ParserProcess()


@dataclass(frozen=True, kw_only=True, slots=True)
class Unparsed:
    """Why a statement has no tree.

    Attributes:
        reason: For a reader, a sentence that goes on after a colon.
        location: Where in the text the grammar stopped, in bytes; 0 when it is about the whole.
        is_syntax: Whether it is not in the grammar; otherwise it is too much to be parsed.
    """

    reason: str
    location: int = 0
    is_syntax: bool = False


def parse_statement(text: str) -> Tree | None:
    """The parse tree of one statement; None when it has none (`read_statement` says why).

    Args:
        text: One statement, without a NUL.
    """
    tree = read_statement(text)
    return None if isinstance(tree, Unparsed) else tree


def read_statement(text: str) -> Tree | Unparsed:
    """The parse tree of one statement, or why there is none.

    It is never more than 400 messages deep, so that it can be walked by functions that call themselves. A statement
    that had to be parsed in the child process takes some seconds at the most.

    Args:
        text: One statement, without a NUL.
    """
    if len(text) > LONGEST:
        return Unparsed(reason=f"it has more than {LONGEST:,} characters and is not parsed")
    read = _read_here(text) if _may_be_parsed_here(text) else None
    if read is not None:
        return read
    parsed = _PARSER.parse(text)
    if isinstance(parsed, NotParsed):
        if parsed.is_syntax:
            return _refused(text, parsed.reason, parsed.place)
        return Unparsed(reason=parsed.reason)
    return _decode(parsed)


def _read_here(text: str) -> Tree | Unparsed | None:
    """Parsed in this process; None when it is deeper than protobuf reads unasked: how deep, the child finds out."""
    try:
        return _only(postgast.parse(text).stmts)
    except DecodeError:
        return None
    except postgast.PgQueryError as exc:
        return _refused(text, exc.message, max(0, exc.cursorpos - 1))


def deparse_statement(tree: Tree) -> str | None:
    """The SQL of one statement's parse tree, perhaps a changed one; None when it cannot be printed.

    Args:
        tree: What `parse_statement` gave.
    """
    whole = pg_query_pb2.ParseResult()
    whole.stmts.add().stmt.CopyFrom(tree)
    try:
        return postgast.deparse(whole)
    except (postgast.PgQueryError, DecodeError):
        return None


def write_index_statement(tree: Tree) -> str | None:
    """A CREATE INDEX as text again; None when it cannot be written.

    Args:
        tree: The `index_stmt` of a parse tree, perhaps changed.
    """
    node = pg_query_pb2.Node()
    node.index_stmt.CopyFrom(tree)
    return deparse_statement(node)


def _may_be_parsed_here(text: str) -> bool:
    if len(text) <= _SHORT:
        return True
    return len(text) <= _MODERATE and levels_of(text) <= _FLAT


def _only(statements: Any) -> Tree | Unparsed:
    return statements[0].stmt if len(statements) == 1 else Unparsed(reason="it is not one statement", is_syntax=True)


def _refused(text: str, message: str, place: int) -> Unparsed:
    location = len(text[:place].encode())
    # The grammar's own stack is full, at 10,000 symbols: the server says the same.
    if message.startswith("memory exhausted"):
        return Unparsed(reason="it nests more deeply than the grammar of PostgreSQL allows", location=location)
    return Unparsed(
        reason=f"it cannot be parsed by the grammar of PostgreSQL 18: {message}", location=location, is_syntax=True
    )


def _decode(parsed: ParsedBytes) -> Tree | Unparsed:
    levels = f"it nests too deeply: {parsed.depth:,} levels of its tree"
    if parsed.depth > _DEEPEST:
        return Unparsed(reason=f"{levels}, {_DEEPEST} are the most")
    if parsed.depth <= SHALLOW:
        return _only(pg_query_pb2.ParseResult.FromString(parsed.content).stmts)
    with _PARSER.reading_deep_trees():
        try:
            return _only(pg_query_pb2.ParseResult.FromString(parsed.content).stmts)
        except DecodeError:
            return Unparsed(reason=f"{levels}, more than protobuf reads here")
