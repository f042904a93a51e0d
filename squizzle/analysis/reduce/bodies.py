"""The statements inside a body of PL/pgSQL, found by tokens.

libpg_query's own reader of PL/pgSQL fails on types of other schemas and writes broken JSON for trigger functions
(measured with 0.2.0 of postgast), so a statement is found by where it may begin: behind `;`, BEGIN, THEN, ELSE, LOOP,
a `<<label>>`, and behind RETURN QUERY. Variables of the language stand in expressions, so nearly every statement is
plain SQL.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from squizzle.analysis.scanner import Token, UnreadableError, scan

_BEFORE = frozenset({";", "BEGIN", "THEN", "ELSE", "LOOP", "QUERY", "AS", "IN", ">>"})
_SQL = frozenset(
    {"ALTER", "ANALYZE", "CALL", "CLUSTER", "COMMENT", "COPY", "CREATE", "DELETE", "DROP", "GRANT", "IMPORT", "INSERT"}
    | {"LOCK", "MERGE", "REFRESH", "REINDEX", "RESET", "REVOKE", "SECURITY", "SET", "TRUNCATE", "UPDATE", "VACUUM"}
    | {"WITH", "SELECT", "COMMIT", "ROLLBACK"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One statement of a body.

    Attributes:
        text: Its SQL; for dynamic SQL the expression that makes it.
        is_dynamic: Whether it is EXECUTE of a text.
        line: How many lines of the body come before it.
    """

    text: str
    is_dynamic: bool
    line: int


def parts_of(body: str) -> tuple[Part, ...]:
    """The statements of a body, in order; none when it cannot be read at all (the server will say so)."""
    try:
        tokens = scan(body)
    except UnreadableError:
        return ()
    return tuple(_parts(tokens, body.encode()))


def _parts(tokens: list[Token], encoded: bytes) -> Iterator[Part]:
    position = 0
    # How many lines come before a place that only moves on: counting always from the top takes seconds for a megabyte.
    place = line = 0
    while position < len(tokens):
        begins = position == 0 or tokens[position - 1].word in _BEFORE
        word = tokens[position].word
        if begins and (word in _SQL or word in {"EXECUTE", "PERFORM"}):
            end = _end(tokens, position)
            begin = tokens[position].start
            line += encoded.count(b"\n", place, begin)
            place = begin
            yield _part(tokens[position:end], encoded, line)
            position = end
        position += 1


def _end(tokens: list[Token], position: int) -> int:
    """Behind the statement's last token: at its semicolon, or at the LOOP of `FOR … IN SELECT … LOOP`."""
    depth = 0
    for number in range(position, len(tokens)):
        word = tokens[number].word
        depth += (word == "(") - (word == ")")
        if depth <= 0 and word in {";", "LOOP"}:
            return number
    return len(tokens)


def _part(tokens: list[Token], encoded: bytes, line: int) -> Part:
    first, last = tokens[0], tokens[-1]
    text = encoded[first.start : last.end].decode()
    if first.word == "EXECUTE":
        return Part(text=text[len("EXECUTE") :].strip(), is_dynamic=True, line=line)
    if first.word == "PERFORM":
        return Part(text=f"SELECT{text[len('PERFORM') :]}", is_dynamic=False, line=line)
    return Part(text=text, is_dynamic=False, line=line)
