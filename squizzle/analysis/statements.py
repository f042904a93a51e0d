"""A script as statements with their place in the file, and which of them cannot run in a transaction.

The server's own scanner (libpg_query) makes the tokens, so comments, quoted names and dollar-quoted bodies are read as
PostgreSQL reads them. Only tokens are used here, never the grammar: the scanner does not recurse, so no nesting in a
file can end the process, and syntax that is newer than the bundled grammar is left to the server to judge. Statements
that a script marks for running in batches are the exception (`squizzle.analysis.batchable`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from squizzle.analysis.annotations import Annotation, annotations_of
from squizzle.analysis.batch_mark import read_batch_mark
from squizzle.analysis.psql import separate
from squizzle.analysis.records import BatchOptions, Control, Statement
from squizzle.errors import InvalidInputError

if TYPE_CHECKING:
    from squizzle.analysis.scanner import Token

_SEMICOLON = ";"


def split_statements(script: str, *, source: str) -> tuple[Statement, ...]:
    """Split a script at the semicolons that end statements, as psql does.

    Semicolons inside parentheses (CREATE RULE) and inside the body of a BEGIN ATOMIC function do not end one.

    Args:
        script: The text of the file.
        source: The file's name, for messages.

    Raises:
        InvalidInputError: A NUL character (what follows it would be hidden from analysis), an unterminated quote or
            comment, a command of psql that cannot be passed over, a COPY without its data, or an annotation
            (`-- squizzle: …`) that is wrong or belongs to no statement. Nothing was run.
    """
    if "\0" in script:
        line = script.count("\n", 0, script.index("\0")) + 1
        raise InvalidInputError(f"{source}:{line}: a NUL character", hint="remove it; PostgreSQL accepts none in SQL")
    separated = separate(script, source=source, last_words=_last_words)
    encoded = separated.sql.encode()
    tokens, comments = _tokens(separated.sql, encoded, source)
    groups = [group for group in _group(tokens) if group]
    statements = [_statement(group, encoded, separated.data) for group in groups]
    for group, statement in zip(groups, statements, strict=True):
        if statement.data is None:
            _refuse_client_copy(group, encoded, source)
    if "squizzle" not in script.lower():
        return tuple(statements)
    annotations = annotations_of(encoded, tokens, comments, source=source)
    return tuple(_annotated(groups, statements, annotations, source))


def _annotated(
    groups: list[list[Token]], statements: list[Statement], annotations: dict[int, list[Annotation]], source: str
) -> Iterator[Statement]:
    for group, statement in zip(groups, statements, strict=True):
        marks = annotations.pop(group[0].start, [])
        yield replace(statement, batch=_batch(statement, marks, source)) if marks else statement
    for lost in annotations.values():
        raise InvalidInputError(
            f"{lost[0].where}: an annotation stands inside a statement", hint="put it before the statement's first line"
        )


def _batch(statement: Statement, marks: list[Annotation], source: str) -> BatchOptions | None:
    from squizzle.analysis.batchable import read_shape  # noqa: PLC0415 - see _tokens

    batches = [mark for mark in marks if mark.word == "batch"]
    if not batches:
        return None
    options = read_batch_mark(batches)
    read_shape(statement.sql, options, where=f"{source}:{statement.line}")
    return options


def _last_words(text: str) -> list[str] | None:
    from squizzle.analysis.scanner import UnreadableError, scan  # noqa: PLC0415 - see _tokens

    try:
        groups = [group for group in _group(scan(text)) if group]
    except UnreadableError:
        return None
    return [token.word for token in groups[-1]] if groups else []


def _tokens(script: str, encoded: bytes, source: str) -> tuple[list[Token], list[Token]]:
    """The tokens of a script, and its comments."""
    # Imported when a script is really read: it costs 40 ms, and `squizzle status` reads none.
    from squizzle.analysis.scanner import UnreadableError, scan_with_comments  # noqa: PLC0415

    try:
        tokens, comments = scan_with_comments(script)
    except UnreadableError as exc:
        raise InvalidInputError(
            f"{source}:{exc.line}: not readable as SQL: {exc}",
            hint="close the quote, dollar quote or comment that begins there",
        ) from exc
    for token in tokens:
        if token.word == "\\":
            line = encoded.count(b"\n", 0, token.start) + 1
            raise InvalidInputError(
                f"{source}:{line}: a psql command (backslash) in the middle of a line",
                hint="write the same in SQL; psql's commands stand on lines of their own",
            )
    return tokens, comments


def _group(tokens: list[Token]) -> list[list[Token]]:
    groups: list[list[Token]] = [[]]
    parentheses = 0
    atomic = 0
    for token in tokens:
        if token.word == _SEMICOLON and parentheses == 0 and atomic == 0:
            groups.append([])
            continue
        groups[-1].append(token)
        parentheses = max(0, parentheses + (token.word == "(") - (token.word == ")"))
        atomic = _atomic_depth(atomic, groups[-1])
    return groups


def _atomic_depth(depth: int, group: list[Token]) -> int:
    """Depth of BEGIN ATOMIC … END, in which CASE … END nests (the rule psql follows)."""
    word = group[-1].word
    if depth == 0:
        begins = word == "ATOMIC" and len(group) > 1 and group[-2].word == "BEGIN" and group[0].word == "CREATE"
        return 1 if begins else 0
    return depth + (word in {"BEGIN", "CASE"}) - (word == "END")


def _refuse_client_copy(group: list[Token], encoded: bytes, source: str) -> None:
    """COPY … FROM STDIN waits for data that nobody sends, in the middle of the transaction."""
    parentheses = 0
    for token, following in pairwise(group):
        parentheses += (token.word == "(") - (token.word == ")")
        through = (token.word, following.word) in {("FROM", "STDIN"), ("TO", "STDOUT")}
        if group[0].word == "COPY" and parentheses == 0 and through:
            line = encoded.count(b"\n", 0, group[0].start) + 1
            raise InvalidInputError(
                f"{source}:{line}: COPY … {token.word} {following.word} needs a client to send or take the data",
                hint="write INSERT, or COPY a file that lies on the server",
            )


def _statement(group: list[Token], encoded: bytes, data: dict[int, str]) -> Statement:
    words = tuple(token.word for token in group)
    last_line = encoded.count(b"\n", 0, group[-1].end) + 1
    return Statement(
        sql=encoded[group[0].start : group[-1].end].decode(),
        line=encoded.count(b"\n", 0, group[0].start) + 1,
        words=tuple(word[:_WORD_KEPT] for word in words[:_WORDS_KEPT]),
        transactional=not _refuses_transaction(words),
        control=_control(words),
        data=data.get(last_line) if words[0] == "COPY" else None,
        adds_enum_value=_added_enum_value(group, encoded),
    )


# Enough for every rule that looks at how a statement begins; all words of a large INSERT would be a second copy of it.
_WORDS_KEPT = 16
_WORD_KEPT = 64


def _added_enum_value(group: list[Token], encoded: bytes) -> str | None:
    words = [token.word for token in group]
    if words[:2] != ["ALTER", "TYPE"] or "ADD" not in words or "VALUE" not in words:
        return None
    literals = (encoded[token.start : token.end].decode() for token in group if token.word.startswith("'"))
    return next((text[1:-1].replace("''", "'") for text in literals), None)


# Statements that call PreventInTransactionBlock in PostgreSQL's sources, by their first words.
_ALWAYS_ALONE = (
    ("VACUUM",),
    ("CREATE", "DATABASE"),
    ("DROP", "DATABASE"),
    ("CREATE", "TABLESPACE"),
    ("DROP", "TABLESPACE"),
    ("ALTER", "SYSTEM"),
    ("REINDEX", "DATABASE"),
    ("REINDEX", "SYSTEM"),
    ("REINDEX", "SCHEMA"),
    ("CREATE", "SUBSCRIPTION"),
    ("DROP", "SUBSCRIPTION"),
)


def _refuses_transaction(words: tuple[str, ...]) -> bool:
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


def _control(words: tuple[str, ...]) -> Control | None:
    if (control := _plain_control(words)) is not None:
        return control
    # The server may see the end of a BEGIN ATOMIC body earlier than we do (a column may be labelled CASE).
    behind = (words[position + 1 :] for position, word in enumerate(words[:-1]) if word == _SEMICOLON)
    hidden = (_plain_control(rest) for rest in behind if rest[0] != "END")
    return next((Control.PREPARE for control in hidden if control is not None), None)


def _plain_control(words: tuple[str, ...]) -> Control | None:
    if words[:2] in {("PREPARE", "TRANSACTION"), ("COMMIT", "PREPARED"), ("ROLLBACK", "PREPARED")}:
        return Control.PREPARE
    if words[0] == "ROLLBACK" and "TO" in words[1:3]:
        return None  # ROLLBACK TO SAVEPOINT stays inside
    return _CONTROLS.get(words[0])
