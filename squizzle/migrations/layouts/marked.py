"""Both directions in one file, told apart by marks: line comments such as `-- migrate:down`.

A mark counts only where its tool sees one. What looks like a mark and is none to the tool is refused: the tool would
run the way back as part of the way forward.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from squizzle.analysis.statements import split_statements
from squizzle.errors import InvalidInputError
from squizzle.migrations.layouts.files import checksum, list_folder, plain_files, read_present, refuse_strays
from squizzle.migrations.records import Labels, Migration

UP = "up"
DOWN = "down"
_BEGIN = "statementbegin"
_END = "statementend"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """One mark of a file.

    Attributes:
        line: Its line, counted from 0.
        word: What it says, in small letters.
        options: What stands behind that.
    """

    line: int
    word: str
    options: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Grammar:
    """How a tool writes marks.

    Attributes:
        tool: Its name.
        mark: What it takes for a mark: the groups are the word and the options.
        nearly: What a person may have meant as one.
        example: A mark, for messages.
        in_transaction: What the marks of a file say about the transactions of the way forward and of the way back.
        in_any_order: Whether directions may come in any order, and more than once.
    """

    tool: str
    mark: re.Pattern[str]
    nearly: re.Pattern[str]
    example: str
    in_transaction: Callable[[Sequence[Mark], str], tuple[bool | None, bool | None]]
    in_any_order: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class MarkedFile:
    """A migration's file and what its name says."""

    path: Path
    version: str
    name: str


def read_marked(folder: Path, grammar: Grammar, pattern: re.Pattern[str], *, wanted: str) -> list[Migration]:
    """Every migration of a folder whose files hold both directions; not ordered yet.

    Args:
        folder: The migrations folder; folders in it are not looked into.
        grammar: The tool's marks.
        pattern: Its file names, with the groups `version` and `name`.
        wanted: The same in words.

    Raises:
        InvalidInputError: A name or a mark with a slip, a mark too many or too few, statements outside of both
            directions, a step that is no SQL, or a file that cannot be used. Nothing was changed.
    """
    root = folder.resolve()
    found, left = [], []
    for path in plain_files(list_folder(folder)):
        match = pattern.fullmatch(path.name)
        if match is None:
            left.append(path)
        else:
            version = match["version"]
            found.append(MarkedFile(path=path, version=version, name=match["name"] or version))
    refuse_strays(left, wanted=wanted)
    for path in left:
        if path.suffix == ".sql" and has_marks(path, grammar):
            raise InvalidInputError(
                f"{path} holds marks of {grammar.tool}, but is not named {wanted}",
                hint="rename it, or move it elsewhere when it is no migration",
            )
    return [_read(file, grammar, root=root) for file in found]


def has_marks(path: Path, grammar: Grammar) -> bool:
    """Whether a file that may be of any kind has a mark of the tool."""
    try:
        if not path.is_file():  # a pipe would keep us waiting
            return False
        text = path.read_bytes().decode("utf-8-sig", errors="replace").replace("\r\n", "\n")
    except OSError:
        return False
    return any(grammar.mark.fullmatch(line) or grammar.nearly.match(line) for line in text.split("\n"))


def _read(file: MarkedFile, grammar: Grammar, *, root: Path) -> Migration:
    lines = read_present(file.path, root=root).split("\n")
    source = file.path.name
    marks = _find_marks(lines, source, grammar)
    _check_directions(marks, source, grammar)
    _check_blocks(marks, source, grammar)
    _refuse_preamble(lines, marks, source, grammar)
    up_sections = _sections(lines, UP, marks)
    down_sections = _sections(lines, DOWN, marks)
    in_transaction, down_in_transaction = grammar.in_transaction(marks, source)
    return Migration(
        version=file.version,
        name=file.name,
        up_sql=_on_their_lines(up_sections),
        down_sql=_on_their_lines(down_sections) if down_sections else None,
        verify_sql=None,
        # Without the blank lines around it, so that a way back may be written below it later on.
        checksum=checksum("\n".join(section.text.strip("\r\n") for section in up_sections)),
        source=file.path,
        labels=Labels(up=source, down=source),
        in_transaction=in_transaction,
        down_in_transaction=down_in_transaction,
    )


def _find_marks(lines: Sequence[str], source: str, grammar: Grammar) -> list[Mark]:
    marks = []
    for number, line in enumerate(lines):
        match = grammar.mark.fullmatch(line)
        if match is not None:
            word = match["word"].lower()
            marks.append(Mark(line=number, word=word, options=tuple((match["options"] or "").split())))
        elif grammar.nearly.match(line):
            raise InvalidInputError(
                f"{source}:{number + 1}: {line.strip()!r} is no mark to {grammar.tool}",
                hint=f"write it exactly so, at the beginning of the line: {grammar.example}",
            )
    return marks


def _check_directions(marks: Sequence[Mark], source: str, grammar: Grammar) -> None:
    ups = [mark for mark in marks if mark.word == UP]
    downs = [mark for mark in marks if mark.word == DOWN]
    if not ups:
        raise InvalidInputError(
            f"{source} says nowhere where its way forward begins",
            hint=f"{grammar.tool} wants the line {grammar.example}",
        )
    if grammar.in_any_order:
        return
    for first, *others in filter(None, (ups, downs)):
        if others:
            raise InvalidInputError(
                f"{source}:{others[0].line + 1}: the mark {first.word!r} is there already, in line {first.line + 1}",
                hint="a file holds one migration; move the second one to a file of its own",
            )
    if downs and downs[0].line < ups[0].line:
        raise InvalidInputError(
            f"{source}:{downs[0].line + 1}: the way back stands before the way forward",
            hint=f"{grammar.tool} wants them the other way round",
        )


def _check_blocks(marks: Iterable[Mark], source: str, grammar: Grammar) -> None:
    """A direction that begins between StatementBegin and StatementEnd is a slip: the tool refuses such a file."""
    begun: Mark | None = None
    for mark in marks:
        if mark.word == _BEGIN:
            begun = begun or mark
        elif mark.word == _END:
            begun = None
        elif begun is not None:
            break
    if begun is not None:
        raise InvalidInputError(
            f"{source}:{begun.line + 1}: a StatementBegin without its StatementEnd",
            hint=f"{grammar.tool} wants StatementEnd in the same direction",
        )


def _refuse_preamble(lines: Sequence[str], marks: Sequence[Mark], source: str, grammar: Grammar) -> None:
    first = min(mark.line for mark in marks if mark.word in {UP, DOWN})
    if all(not line.strip() or line.lstrip().startswith("--") for line in lines[:first]):
        return
    statements = split_statements("\n".join(lines[:first]), source=source)
    if statements:
        raise InvalidInputError(
            f"{source}:{statements[0].line}: a statement before the first mark belongs to no direction",
            hint=f"move it below the line {grammar.example}",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Section:
    """What stands below a mark, up to the next direction; `line` is its first line, counted from 0."""

    line: int
    text: str


def _sections(lines: Sequence[str], word: str, marks: Iterable[Mark]) -> list[_Section]:
    directions = [mark for mark in marks if mark.word in {UP, DOWN}]
    ends = [mark.line for mark in directions[1:]] + [len(lines)]
    return [
        _Section(line=mark.line + 1, text="\n".join(lines[mark.line + 1 : end]))
        for mark, end in zip(directions, ends, strict=True)
        if mark.word == word
    ]


def _on_their_lines(sections: Iterable[_Section]) -> str:
    """The sections as one script in which every line has the number that it has in the file; "" when all are blank."""
    script = ""
    for section in sections:
        if section.text.strip():
            script += "\n" * (section.line - script.count("\n")) + section.text.rstrip("\r\n") + "\n"
    return script
