"""PostgreSQL's own scanner: a text as tokens. The only module that scans with libpg_query."""

from __future__ import annotations

from typing import NamedTuple

import postgast
from postgast import pg_query_pb2

_COMMENTS = frozenset(pg_query_pb2.Token.Value(name) for name in ("SQL_COMMENT", "C_COMMENT"))


class Token(NamedTuple):
    """One token or comment. A tuple, because a long history has hundreds of thousands of them.

    Attributes:
        start: Where it begins, in bytes.
        end: Where it ends, in bytes.
        word: Its text in capitals.
    """

    start: int
    end: int
    word: str


class UnreadableError(ValueError):
    """The text ends inside a quote or a comment; `line` is where that begins, counted from 1."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.line = line


def scan(text: str) -> list[Token]:
    """The tokens of a text, comments left out.

    Raises:
        UnreadableError: It ends inside a quote or a comment.
    """
    return scan_with_comments(text)[0]


def scan_with_comments(text: str) -> tuple[list[Token], list[Token]]:
    """The tokens of a text, and its comments.

    Raises:
        UnreadableError: It ends inside a quote or a comment.
    """
    try:
        scanned = postgast.scan(text)
    except postgast.PgQueryError as exc:
        # What it is "at or near" is all the rest of the file.
        reason = exc.message.partition(" at or near ")[0]
        raise UnreadableError(reason, text.count("\n", 0, max(0, exc.cursorpos - 1)) + 1) from exc
    encoded = text.encode()
    tokens: list[Token] = []
    comments: list[Token] = []
    for token in scanned.tokens:
        word = encoded[token.start : token.end].decode().upper()
        chosen = comments if token.token in _COMMENTS else tokens
        chosen.append(Token(start=token.start, end=token.end, word=word))
    return tokens, comments
