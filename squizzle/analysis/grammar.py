"""PostgreSQL's own grammar: a statement as a parse tree, and back. The only module that parses with libpg_query.

The grammar recurses, and a chain of 50,000 terms ends the process (measured), so long texts are not parsed at all: what
is not parsed is unknown, never harmless.
"""

from __future__ import annotations

from typing import Any

import postgast
from google.protobuf.message import DecodeError
from postgast import pg_query_pb2

# A level of nesting needs at least two characters, and 20,000 levels pass with the usual stack of 8 MiB (measured).
_LONGEST = 20_000

# A node of pg_query_pb2, whose generated stub mypy cannot read.
Tree = Any


def parse_statement(text: str) -> Tree | None:
    """The parse tree of one statement; None when it is too long, too deep, or not in the grammar of PostgreSQL 18.

    Args:
        text: One statement, without a NUL.
    """
    if len(text) > _LONGEST:
        return None
    try:
        statements = postgast.parse(text).stmts
    except (postgast.PgQueryError, DecodeError):
        return None
    return statements[0].stmt if len(statements) == 1 else None


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
