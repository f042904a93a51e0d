"""PostgreSQL's own scanner: a script as tokens, a stretch at a time. The only module that scans with libpg_query.

The scanner has no memory from one token to the next, so it may start at any token. What a token is depends on what
follows it (`U&` may begin a name, `'a'` may go on in the next line), so the last tokens of a stretch that was cut off
somewhere are not certain, and the next stretch begins with them. What a script costs is then what one stretch costs,
however large it is: all tokens of a file at once take forty times its size.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import postgast
from postgast import pg_query_pb2

_KIND = pg_query_pb2.Token.Value
_COMMENTS = frozenset(map(_KIND, ("SQL_COMMENT", "C_COMMENT")))
_NAME = _KIND("IDENT")
_LITERALS = frozenset(map(_KIND, ("SCONST", "USCONST", "BCONST", "XCONST", "ICONST", "FCONST", "PARAM")))
_ENDS = frozenset(map(_KIND, ("ASCII_40", "ASCII_41", "ASCII_44", "ASCII_59")))  # ( ) , ;
_OUR_NAME = b"squizzle"
# Characters: a small script is read in one piece; a large one costs no more than some megabytes at a time.
SMALLEST = 1 << 12
LARGEST = 1 << 17
_LONGEST_KEYWORD = 64


class UnreadableError(ValueError):
    """The text ends inside a quote or a comment; `line` is where that begins, counted from 1."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """One token of a short text, comments left out.

    Attributes:
        start: Where it begins, in bytes.
        end: Where it ends, in bytes.
        word: Its text in capitals.
        is_name: Whether it is a name, plain or quoted, and no keyword.
    """

    start: int
    end: int
    word: str
    is_name: bool


def scan(text: str) -> list[Token]:
    """The tokens of a text that is no whole script: all of them at once take forty times its size.

    Raises:
        UnreadableError: It ends inside a quote or a comment.
    """
    tokens, _, problem = _scan(text)
    if problem is not None:
        raise UnreadableError(problem.reason, text.count("\n", 0, problem.place) + 1)
    encoded = text.encode()
    return [
        Token(
            start=token.start,
            end=token.end,
            word=encoded[token.start : token.end].decode().upper(),
            is_name=token.token == _NAME,
        )
        for token in tokens
        if token.token not in _COMMENTS
    ]


def words_of(text: str) -> list[str]:
    """Keywords in capitals, signs and operators of a text that is no whole script; empty for names and literals.

    Raises:
        UnreadableError: It ends inside a quote or a comment.
    """
    tokens, _, problem = _scan(text)
    if problem is not None:
        raise UnreadableError(problem.reason, text.count("\n", 0, problem.place) + 1)
    encoded = text.encode()
    # What has one spelling is read once: rows of VALUES are a few kinds, a thousand times.
    spellings = dict.fromkeys((*_LITERALS, _NAME), "")
    words: list[str] = []
    for token in tokens:
        kind = token.token
        if kind not in spellings:
            spellings[kind] = "" if kind in _COMMENTS else encoded[token.start : token.end].decode().upper()
        words.append(spellings[kind])
    return words


@dataclass(frozen=True, kw_only=True, slots=True)
class Remark:
    """A comment that names us.

    Attributes:
        index: How many tokens of its stretch come before it.
        start: Where it begins, in characters of the script.
        text: All of it.
    """

    index: int
    start: int
    text: str


class Stretch:
    """The tokens of a part of a script, comments left out; positions are characters of the whole script.

    Args:
        part: As the scanner saw it.
        start: Where it begins in the script, in characters.
        tokens: What the scanner found.
        spellings: What is known about kinds of tokens; added to.
    """

    def __init__(
        self, part: bytes, start: int, tokens: Sequence[pg_query_pb2.ScanToken], spellings: dict[int, str]
    ) -> None:
        self._part = part
        self._start = start
        self._tokens = tokens
        # The last place that was asked for, in bytes of the part and in characters of the script.
        self._known = (0, start)
        self._spellings = spellings
        kinds = [token.token for token in tokens]
        self._order: Sequence[int] = range(len(kinds))
        if not _COMMENTS.isdisjoint(kinds):
            self._order = [index for index, kind in enumerate(kinds) if kind not in _COMMENTS]
            kinds = [kinds[index] for index in self._order]
        self.kinds = kinds
        self.remarks = self._find_remarks() if _OUR_NAME in part.lower() else []
        for kind in set(kinds) - spellings.keys():
            spellings[kind] = self._spelling(kinds.index(kind))

    def _find_remarks(self) -> list[Remark]:
        remarks: list[Remark] = []
        before = 0
        for token in self._tokens:
            if token.token not in _COMMENTS:
                before += 1
                continue
            text = self._part[token.start : token.end]
            if _OUR_NAME in text.lower():
                remarks.append(Remark(index=before, start=self._place(token.start), text=text.decode()))
        return remarks

    def _spelling(self, index: int) -> str:
        token = self._tokens[self._order[index]]
        is_punctuation = token.end - token.start == 1 and token.token == self._part[token.start]
        return self.text_of(index, at_most=_LONGEST_KEYWORD).upper() if token.keyword_kind or is_punctuation else ""

    def certain(self) -> int:
        """How many tokens are the same whatever follows this part: as far as a sign that no other joins, or a blank."""
        for index in range(len(self.kinds) - 1, 0, -1):
            before = self.kinds[index - 1]
            if before in _ENDS or (before not in _LITERALS and self._has_gap(index)):
                return index
        return 0

    def _has_gap(self, index: int) -> bool:
        return bool(self._tokens[self._order[index - 1]].end < self._tokens[self._order[index]].start)

    def keep(self, count: int) -> None:
        """Forget the tokens behind the first ones, and the comments behind those."""
        del self.kinds[count:]
        self.remarks = [remark for remark in self.remarks if remark.index <= count]

    def start_of(self, index: int) -> int:
        """Where a token begins."""
        return self._place(self._tokens[self._order[index]].start)

    def end_of(self, index: int) -> int:
        """Where a token ends."""
        return self._place(self._tokens[self._order[index]].end)

    def _place(self, offset: int) -> int:
        """Bytes of the part as characters of the script; cheap when asked in order."""
        at, place = self._known if self._known[0] <= offset else (0, self._start)
        place += len(self._part[at:offset].decode())
        self._known = (offset, place)
        return place

    def text_of(self, index: int, *, at_most: int) -> str:
        """The beginning of a token's text, in bytes; a character that is cut is left out."""
        token = self._tokens[self._order[index]]
        return self._part[token.start : min(token.end, token.start + at_most)].decode(errors="ignore")

    def is_literal(self, index: int) -> bool:
        """Whether a token is a number or a text, or stands for one."""
        return self.kinds[index] in _LITERALS

    def word(self, index: int) -> str:
        """A keyword in capitals, or a sign; empty for names, literals and operators."""
        return self._spellings[self.kinds[index]]

    def words(self, begin: int, end: int) -> list[str]:
        """Keywords in capitals and signs; empty for names, literals and operators."""
        return [self._spellings[kind] for kind in self.kinds[begin:end]]

    def all_of(self, kinds: frozenset[int]) -> list[int]:
        """Where tokens of these kinds are, in order."""
        return [index for index, kind in enumerate(self.kinds) if kind in kinds]


@cache
def kinds_of(*words: str) -> frozenset[int]:
    """The scanner's kinds of some keywords and signs."""
    return frozenset(postgast.scan(word).tokens[0].token for word in words)


class Scanner:
    """Reads a script from its beginning to its end.

    Args:
        text: The script.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._size = SMALLEST
        self._spellings: dict[int, str] = {}

    def continue_at(self, position: int) -> None:
        """Leave out what lies before this place: it is no SQL."""
        self._position = position
        self._size = SMALLEST

    def read(self) -> Stretch | None:
        """The next tokens; None at the end.

        Raises:
            UnreadableError: The text ends inside a quote or a comment.
        """
        size = self._size
        while self._position < len(self._text):
            stretch = self._read(size)
            if stretch is not None:
                self._size = min(2 * size, LARGEST)
                return stretch
            size *= 2
        return None

    def _read(self, size: int) -> Stretch | None:
        """None when that many characters are too few to be certain of anything."""
        part = self._text[self._position : self._position + size]
        is_last = len(self._text) <= self._position + size
        tokens, readable, problem = _scan(part)
        stretch = Stretch(part[:readable].encode(), self._position, tokens, self._spellings)
        # What cannot be read begins a token, so everything before it is certain.
        certain = len(stretch.kinds) if is_last or problem is not None else stretch.certain()
        if certain == 0 and problem is not None and is_last:
            raise self._unreadable(problem)
        if certain == 0 and not is_last:
            return None
        self._position = stretch.start_of(certain) if certain < len(stretch.kinds) else self._position + readable
        stretch.keep(certain)
        return stretch

    def _unreadable(self, problem: _Problem) -> UnreadableError:
        return UnreadableError(problem.reason, self._text.count("\n", 0, self._position + problem.place) + 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Problem:
    """Why a part cannot be read to its end, and the character where that begins."""

    reason: str
    place: int


def _scan(part: str) -> tuple[Sequence[pg_query_pb2.ScanToken], int, _Problem | None]:
    """The tokens before the first one that cannot be read, how many characters these are, and why it cannot."""
    problem = None
    readable = len(part)
    while readable > 0:
        try:
            return postgast.scan(part[:readable]).tokens, readable, problem
        except postgast.PgQueryError as exc:
            readable = max(0, exc.cursorpos - 1)
            # What it is "at or near" is all the rest of the part.
            problem = problem or _Problem(reason=exc.message.partition(" at or near ")[0], place=readable)
    return (), 0, problem


_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")
_FREE = frozenset({"NO_KEYWORD", "UNRESERVED_KEYWORD"})


def is_plain_word(name: str) -> bool:
    """Whether a name means the same without double quotes (the rule of PostgreSQL's quote_ident)."""
    if not _PLAIN.fullmatch(name):
        return False
    tokens = postgast.scan(name).tokens
    return len(tokens) == 1 and pg_query_pb2.KeywordKind.Name(tokens[0].keyword_kind) in _FREE
