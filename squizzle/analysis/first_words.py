"""What the words of a statement tell without its grammar: does it run alone, end transactions, want a client."""

from __future__ import annotations

from itertools import pairwise

from squizzle.analysis.records import Control
from squizzle.errors import InvalidInputError


def through_client(words: list[str]) -> tuple[str, str] | None:
    """Where a COPY wants its client to send rows or to take them: FROM STDIN or TO STDOUT."""
    parentheses = 0
    if words[:1] != ["COPY"]:
        return None
    for word, following in pairwise(words):
        parentheses += (word == "(") - (word == ")")
        # The grammar takes either name for either way.
        if parentheses == 0 and word in {"FROM", "TO"} and following in {"STDIN", "STDOUT"}:
            return word, following
    return None


def refuse_client_copy(words: list[str], *, source: str, line: int) -> None:
    """COPY … FROM STDIN waits for data that nobody sends, in the middle of the transaction."""
    through = through_client(words)
    if through is not None:
        raise InvalidInputError(
            f"{source}:{line}: COPY … {through[0]} {through[1]} needs a client to send or take the data",
            hint="write INSERT, or COPY a file that lies on the server",
        )


def added_enum_value(words: tuple[str, ...], literal: str | None) -> str | None:
    """The value that ALTER TYPE … ADD VALUE adds; None for any other statement."""
    if words[:2] != ("ALTER", "TYPE") or "ADD" not in words or "VALUE" not in words:
        return None
    return literal[1:-1].replace("''", "'") if literal and literal.startswith("'") else None


# Statements that call PreventInTransactionBlock in PostgreSQL's sources, by their first words.
_ALWAYS_ALONE = (
    ("VACUUM",),
    ("CREATE", "DATABASE"),
    ("DROP", "DATABASE"),
    ("CREATE", "TABLESPACE"),
    ("DROP", "TABLESPACE"),
    ("ALTER", "SYSTEM"),
    ("DISCARD", "ALL"),
    ("REINDEX", "DATABASE"),
    ("REINDEX", "SYSTEM"),
    ("REINDEX", "SCHEMA"),
    ("CREATE", "SUBSCRIPTION"),
    ("DROP", "SUBSCRIPTION"),
)


def refuses_transaction(words: tuple[str, ...]) -> bool:
    """Whether PostgreSQL runs it only outside a transaction block."""
    plain = _without_options(words)
    if any(plain[: len(start)] == start for start in _ALWAYS_ALONE):
        return True
    if plain in {("CLUSTER",), ("CLUSTER", "VERBOSE")}:
        return True
    if words[:2] == ("ALTER", "DATABASE"):
        return words[3:5] == ("SET", "TABLESPACE")
    if words[:2] == ("ALTER", "SUBSCRIPTION"):
        return "PUBLICATION" in words[4:5]  # REFRESH, and ADD, SET and DROP, which refresh unless told not to
    return _is_concurrent(words)


def _without_options(words: tuple[str, ...]) -> tuple[str, ...]:
    """The words without the options in parentheses that may follow the first one."""
    if words[1:2] != ("(",) or ")" not in words:
        return words
    return words[:1] + words[words.index(")") + 1 :]


def _is_concurrent(words: tuple[str, ...]) -> bool:
    """CONCURRENTLY where the grammar puts it; REFRESH MATERIALIZED VIEW CONCURRENTLY is fine in a transaction."""
    if words[:1] == ("CREATE",):
        return words[1:3] == ("INDEX", "CONCURRENTLY") or words[1:4] == ("UNIQUE", "INDEX", "CONCURRENTLY")
    if words[:3] == ("DROP", "INDEX", "CONCURRENTLY"):
        return True
    if words[:1] == ("REINDEX",):
        return "CONCURRENTLY" in words
    return words[:2] == ("ALTER", "TABLE") and "DETACH" in words and words[-1] == "CONCURRENTLY"


_CONTROLS = {
    "BEGIN": Control.BEGIN,
    "START": Control.BEGIN,
    "COMMIT": Control.COMMIT,
    "END": Control.COMMIT,
    "ROLLBACK": Control.ROLLBACK,
    "ABORT": Control.ROLLBACK,
}


def control(words: tuple[str, ...]) -> Control | None:
    """How it begins or ends a transaction; None where it does not."""
    if (plain := _plain_control(words)) is not None:
        return plain
    # The server may see the end of a BEGIN ATOMIC body earlier than we do (a column may be labelled CASE).
    behind = (words[position + 1 : position + 4] for position, word in enumerate(words[:-1]) if word == ";")
    hidden = (_plain_control(rest) for rest in behind if rest[0] != "END")
    return next((Control.PREPARE for one in hidden if one is not None), None)


def _plain_control(words: tuple[str, ...]) -> Control | None:
    if words[:2] in {("PREPARE", "TRANSACTION"), ("COMMIT", "PREPARED"), ("ROLLBACK", "PREPARED")}:
        return Control.PREPARE
    if words[0] == "ROLLBACK" and "TO" in words[1:3]:
        return None  # ROLLBACK TO SAVEPOINT stays inside
    return _CONTROLS.get(words[0])
