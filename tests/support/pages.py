"""What pages tell people to type: the calls of programs in blocks of code, and those that stand in a sentence."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

# Blocks between fences, and lines that are indented below an empty line.
_FENCED = re.compile(r"^(```|~~~)(\w*)\n(.*?)^\1[ \t]*$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:\A|\n)\n((?: {4}.*\n)+)")
_IN_A_SENTENCE = re.compile(r"`((?:squizzle|prefect|make) [a-z][^`]*)`")
# Where a call begins: at the start of a line, behind what a shell, a unit or a server's setting has in front of it.
_BEGIN = re.compile(
    r"(?:(?:^|[;&|(]|\bsudo|\benv|\w+=\S*|ExecStart=|\$) *|= *(?P<quote>['\"]))(?:[\w.:/-]*/)?"
    r"(?P<program>squizzle|prefect|make) +(?=[a-z-])"
)
# Where it ends, for a shell.
_ENDS = frozenset([";", ";;", "&", "&&", "|", "||", ">", ">>", "<", "<<", "2", ")", "`"])


@dataclass(frozen=True, kw_only=True)
class Call:
    """A program with its arguments."""

    program: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join([self.program, *self.arguments])


def calls_in_code(page: str) -> Iterator[Call]:
    """Every call in the page's blocks of code; what the shell does with its output is left out."""
    for language, text in _blocks(page):
        if language not in {"sql", "python", "yaml", "yml", "toml"}:
            for line in text.replace("\\\n", " ").splitlines():
                yield from _calls(line)


def calls_in_sentences(page: str) -> Iterator[Call]:
    """Every call between backticks outside of blocks; its arguments may be missing there."""
    for text in _IN_A_SENTENCE.findall(_FENCED.sub("", page)):
        yield from _calls(text.replace("…", "").replace("\n", " "))


def _blocks(page: str) -> Iterator[tuple[str, str]]:
    for _, language, text in _FENCED.findall(page):
        yield language, text
    for text in _INDENTED.findall(_FENCED.sub("", page)):
        yield "", re.sub(r"^ {4}", "", text, flags=re.MULTILINE)


def _calls(line: str) -> Iterator[Call]:
    """The calls of a line of shell, but for those in a comment."""
    for found in _BEGIN.finditer(line):
        if "#" in line[: found.start()]:
            return
        quote, rest = found["quote"], line[found.end() :]
        # A server's setting has all of the call in quotes.
        yield Call(program=found["program"], arguments=tuple(_words(rest.partition(quote)[0] if quote else rest)))


def _words(text: str) -> Iterator[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|<>()`")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    for word in lexer:
        if word in _ENDS:
            return
        yield word


def settings_of(page: str) -> Iterator[str]:
    """Every block that shows a piece of squizzle.toml."""
    for language, text in _blocks(page):
        if language == "toml" or (not language and re.match(r"\[[a-z.]+\]\n", text)):
            yield text
