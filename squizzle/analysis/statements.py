"""A script as statements with their place in the file, and which of them cannot run in a transaction.

The server's own scanner (libpg_query) makes the tokens, so comments, quoted names and dollar-quoted bodies are read as
PostgreSQL reads them. Only tokens are used here, never the grammar: the scanner does not recurse, so no nesting in a
file can end the process, and syntax that is newer than the bundled grammar is left to the server to judge. Statements
that a script marks for running in batches are the exception (`squizzle.analysis.batchable`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from squizzle.analysis.annotations import KNOWN, Annotation, before_nothing, read_annotation
from squizzle.analysis.batch_mark import read_batch_mark
from squizzle.analysis.first_words import (
    added_enum_value,
    control,
    refuse_client_copy,
    refuses_transaction,
    through_client,
)
from squizzle.analysis.psql import find_data, pass_over, refuse_variable
from squizzle.analysis.records import BatchOptions, Control, Statement
from squizzle.errors import InvalidInputError

if TYPE_CHECKING:
    from squizzle.analysis.scanner import Scanner, Stretch

_SEMICOLON = ";"


def split_statements(script: str, *, source: str) -> tuple[Statement, ...]:
    """Split a script at the semicolons that end statements, as psql does.

    Semicolons inside parentheses (CREATE RULE) and inside the body of a BEGIN ATOMIC function do not end one. Besides
    the statements it takes some megabytes of memory, however large the script is.

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
    # Imported when a script is really read: it costs 40 ms, and `squizzle status` reads none.
    from squizzle.analysis.scanner import Scanner, UnreadableError, kinds_of  # noqa: PLC0415

    try:
        return _Splitter(script, source, Scanner(script), telling=kinds_of(*_TELLING)).split()
    except UnreadableError as exc:
        raise InvalidInputError(
            f"{source}:{exc.line}: not readable as SQL: {exc}",
            hint="close the quote, dollar quote or comment that begins there",
        ) from exc


# What decides where a statement ends.
_TELLING = (_SEMICOLON, "(", ")", "\\", ":", "BEGIN", "ATOMIC", "CASE", "END")
# What stands for a number or a text among the words of a statement.
LITERAL = "'…'"
# Enough for every rule that looks at how a statement begins.
_WORDS_KEPT = 16
_WORD_KEPT = 64
# A value of an enum has 63 bytes at the most, and twice that when all of it is quotes.
_LITERAL_KEPT = 128
# A longer statement holds rows: of what follows, only the keywords that do not stand in every row could matter.
_LONG = 1 << 12
# Besides slices of arrays, only these have a colon between two expressions.
_COLONS = frozenset({"JSON_OBJECT", "JSON_OBJECTAGG"})
_OFF = frozenset({"OFF", "OF", "FALSE", "F", "NO", "N", "0"})
_IN_ROWS = frozenset({"", *"(),[].:+-*/", "NULL", "TRUE", "FALSE", "DEFAULT", "ROW", "ARRAY"})


class _Splitter:
    """Divides one script; used once."""

    def __init__(self, script: str, source: str, scanner: Scanner, *, telling: frozenset[int]) -> None:
        self._script = script
        self._source = source
        self._scanner = scanner
        self._telling = telling
        self._lines = _Lines(script)
        self._done: list[Statement] = []
        # Rows of one table are alike a million times.
        self._judged: dict[tuple[str, ...], _Judgement] = {}
        self._quit_line = 0
        self._escapes = False
        self._start_statement()

    def _start_statement(self) -> None:
        self._begin = self._end = 0
        # Lines within the statement that are psql's: where each begins and ends.
        self._cuts: list[tuple[int, int]] = []
        self._words: list[str] = []
        self._literal: str | None = None
        self._marks: list[Annotation] = []
        self._nesting = _Nesting()

    def split(self) -> tuple[Statement, ...]:
        while (stretch := self._scanner.read()) is not None:
            self._take(stretch)
        self._finish(data=None)
        return tuple(self._done)

    def _take(self, stretch: Stretch) -> None:
        begin = 0
        for index in stretch.all_of(self._telling):
            word = stretch.word(index)
            if word == _SEMICOLON and self._nesting.is_closed:
                self._add(stretch, begin, index)
                begin = index + 1
                if self._end_at(stretch.end_of(index)):
                    return
            elif word == "\\":
                self._add(stretch, begin, index)
                self._pass_over(stretch.start_of(index))
                return
            elif word == ":":
                self._refuse_variable(stretch, begin, index)
            elif word != "ATOMIC" or self._is_body(stretch, begin, index):
                self._nesting.take(word)
        self._add(stretch, begin, len(stretch.kinds))

    def _is_body(self, stretch: Stretch, begin: int, index: int) -> bool:
        """Whether ATOMIC here follows BEGIN in a CREATE [OR REPLACE] FUNCTION or PROCEDURE."""
        words = self._words + stretch.words(begin, index)
        made = words[3:4] if words[1:3] == ["OR", "REPLACE"] else words[1:2]
        return words[:1] == ["CREATE"] and words[-1] == "BEGIN" and made in (["FUNCTION"], ["PROCEDURE"])

    def _pass_over(self, position: int) -> None:
        line = self._lines.at(position)
        passed = pass_over(self._script, position, source=self._source, line=line)
        if passed.quits:
            self._quit_line = line
            self._refuse_after_quit(self._words)
        if self._words:
            self._cuts.append((position, passed.end))
        self._scanner.continue_at(passed.end)

    def _refuse_after_quit(self, words: Sequence[object]) -> None:
        """What follows, and the statement in whose middle it is said, psql would not run."""
        if self._quit_line and words:
            raise InvalidInputError(
                f"{self._source}:{self._quit_line}: psql stops at \\q, and a statement is not run because of that",
                hint="remove \\q, or what is not meant to run",
            )

    def _refuse_escapes(self, stretch: Stretch, begin: int, end: int) -> None:
        """The scanner reads plain quotes by the standard; where a backslash escapes in them, they may end elsewhere."""
        for index in filter(stretch.is_literal, range(begin, end)):
            place = stretch.start_of(index)
            text = self._script[place : stretch.end_of(index)]
            if text.startswith("'") and "\\" in text:
                raise InvalidInputError(
                    f"{self._source}:{self._lines.at(place)}: a backslash in plain quotes, where"
                    " standard_conforming_strings is off",
                    hint="write E'…', and leave standard_conforming_strings on",
                )

    def _refuse_variable(self, stretch: Stretch, begin: int, index: int) -> None:
        words = self._words + stretch.words(begin, index)
        if words.count("[") > words.count("]") or not _COLONS.isdisjoint(words):
            return
        place = stretch.end_of(index)
        refuse_variable(self._script, place, source=self._source, line=self._lines.at(place))

    def _add(self, stretch: Stretch, begin: int, end: int) -> None:
        """These tokens belong to the statement."""
        self._read_remarks(stretch, begin, end)
        if begin == end:
            return
        self._refuse_after_quit(stretch.kinds[begin:end])
        if self._escapes:
            self._refuse_escapes(stretch, begin, end)
        if not self._words:
            self._begin = stretch.start_of(begin)
        words = stretch.words(begin, end)
        self._add_names(stretch, begin, words)
        if len(self._words) > _LONG:
            words = [word for word in words if word not in _IN_ROWS]
        self._words += words
        self._end = stretch.end_of(end - 1)

    def _read_remarks(self, stretch: Stretch, begin: int, end: int) -> None:
        """What is said to us before the token at `end`; nothing may be said inside of a statement."""
        while stretch.remarks and stretch.remarks[0].index <= end:
            remark = stretch.remarks.pop(0)
            line = self._lines.at(remark.start)
            line_begin = self._script.rfind("\n", 0, remark.start) + 1
            mark = read_annotation(
                remark.text,
                is_first_on_line=not self._script[line_begin : remark.start].strip(),
                is_before_statement=not self._words and remark.index <= begin,
                where=f"{self._source}:{line}",
                line=line,
            )
            if mark is not None:
                self._marks.append(mark)

    def _add_names(self, stretch: Stretch, begin: int, words: list[str]) -> None:
        """Put names into the first words, and something short for literals: their text makes no kind of statement."""
        for position in range(min(len(words), _WORDS_KEPT - len(self._words))):
            index = begin + position
            if not stretch.is_literal(index):
                words[position] = words[position] or stretch.text_of(index, at_most=_WORD_KEPT).upper()
                continue
            words[position] = LITERAL
            if self._literal is None:
                self._literal = stretch.text_of(index, at_most=_LITERAL_KEPT)

    def _end_at(self, position: int) -> bool:
        """The statement's semicolon ends here; whether rows follow, so that the scanner starts anew behind them."""
        if (through_client(self._words) or ("", ""))[0] != "FROM":
            self._finish(data=None)
            return False
        place = find_data(self._script, position, source=self._source, line=self._lines.at(position))
        if place is None:
            self._finish(data=None)
            return False
        begin, end, after = place
        self._finish(data=self._script[begin:end])
        self._scanner.continue_at(after)
        return True

    def _finish(self, *, data: str | None) -> None:
        if self._words:
            if "STANDARD_CONFORMING_STRINGS" in self._words[:3] and self._words[0] == "SET":
                value = self._literal or self._words[-1]
                self._escapes = value.strip("'").upper() in _OFF
            statement = self._statement(data)
            if data is None:
                refuse_client_copy(self._words, source=self._source, line=statement.line)
            self._done.append(statement)
        elif self._marks:
            raise before_nothing(self._marks[0])
        self._start_statement()

    def _text(self) -> str:
        begin, text = self._begin, ""
        for cut_begin, cut_end in self._cuts:
            if cut_begin < self._end:
                text += self._script[begin:cut_begin]
                begin = cut_end
        return text + self._script[begin : self._end]

    def _statement(self, data: str | None) -> Statement:
        words = tuple(self._words)
        judged = self._judged.get(words)
        if judged is None:
            judged = _Judgement(
                words=words[:_WORDS_KEPT], transactional=not refuses_transaction(words), control=control(words)
            )
            if len(words) < _LONG:
                self._judged[words] = judged
        statement = Statement(
            sql=self._text(),
            line=self._lines.at(self._begin),
            words=judged.words,
            transactional=judged.transactional,
            control=judged.control,
            data=data,
            adds_enum_value=added_enum_value(words, self._literal),
        )
        if not self._marks:
            return statement
        for mark in self._marks:
            if mark.word == "require":
                _refuse_unfit_requirement(mark)
        return replace(
            statement,
            batch=_batch(statement, self._marks, self._source),
            save_rows=_save_rows(statement, self._marks),
            notes=tuple(self._marks),
        )


def _refuse_unfit_requirement(mark: Annotation) -> None:
    """What must hold is asked with one query, which changes nothing."""
    text = mark.arguments[0].rstrip("; ") if mark.arguments else ""
    asked = split_statements(text, source=mark.where) if text else ()
    if len(asked) != 1 or asked[0].words[:1] not in {("SELECT",), ("VALUES",), ("TABLE",)}:
        raise InvalidInputError(
            f"{mark.where}: require wants one query on the same line", hint=f"write it like this: {KNOWN['require']}"
        )


def _batch(statement: Statement, marks: list[Annotation], source: str) -> BatchOptions | None:
    from squizzle.analysis.batchable import read_shape  # noqa: PLC0415 - see split_statements

    batches = [mark for mark in marks if mark.word == "batch"]
    if not batches:
        return None
    options = read_batch_mark(batches)
    read_shape(statement.sql, options, where=f"{source}:{statement.line}")
    return options


def _save_rows(statement: Statement, marks: list[Annotation]) -> bool | None:
    """Whether the script wants the rows that the statement touches to be saved; None when it says nothing."""
    said = [mark for mark in marks if mark.word == "save_rows"]
    if not said:
        return None
    mark = said[0]
    if len(said) > 1 or mark.settings or mark.arguments not in {(), ("no",)}:
        raise InvalidInputError(
            f"{mark.where}: save_rows stands alone, or with no behind it, once before a statement",
            hint=f"write {KNOWN['save_rows']}, or {KNOWN['save_rows']} no",
        )
    if not mark.arguments and not may_touch_rows(statement):
        raise InvalidInputError(
            f"{mark.where}: rows are saved for UPDATE, DELETE, TRUNCATE, DROP TABLE and ALTER TABLE … DROP COLUMN",
            hint="remove the mark; what INSERT adds is taken away by its keys, and other statements touch no rows",
        )
    return not mark.arguments


def may_touch_rows(statement: Statement) -> bool:
    """Whether a statement is of a kind that changes or takes away rows which were there before."""
    first = statement.words[:1]
    return first in _TOUCHES_ROWS or statement.words[:2] in {("ALTER", "TABLE"), ("DROP", "TABLE")}


_TOUCHES_ROWS = frozenset({("UPDATE",), ("DELETE",), ("TRUNCATE",), ("MERGE",), ("WITH",)})


@dataclass(frozen=True, kw_only=True, slots=True)
class _Judgement:
    """What statements with the same words have in common."""

    words: tuple[str, ...]
    transactional: bool
    control: Control | None


class _Lines:
    """Line numbers of places that are asked for in about their order: counting always from the top takes hours."""

    def __init__(self, script: str) -> None:
        self._script = script
        self._place = 0
        self._line = 1

    def at(self, place: int) -> int:
        if place >= self._place:
            self._line += self._script.count("\n", self._place, place)
        else:
            self._line -= self._script.count("\n", place, self._place)
        self._place = place
        return self._line


class _Nesting:
    """Whether a semicolon ends the statement."""

    def __init__(self) -> None:
        self._parentheses = 0
        self._atomic = 0

    @property
    def is_closed(self) -> bool:
        return self._parentheses == 0 and self._atomic == 0

    def take(self, word: str) -> None:
        """The next word that tells; ATOMIC only where it begins a body."""
        if word == "(":
            self._parentheses += 1
        elif word == ")":
            self._parentheses = max(0, self._parentheses - 1)
        elif self._parentheses > 0:
            return
        elif self._atomic > 0:
            # Depth of BEGIN ATOMIC … END, in which CASE … END nests (the rule psql follows).
            self._atomic += (word in {"BEGIN", "CASE"}) - (word == "END")
        elif word == "ATOMIC":
            self._atomic = 1
