"""What only psql understands in a script: data after COPY … FROM stdin, and commands that begin with a backslash.

A dump holds both. Data is taken out and travels with its statement; commands that change nothing for the database are
passed over; any other command is refused with its line, before anything runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from squizzle.errors import InvalidInputError

# Commands that only change what psql prints or how it works with the terminal; `\restrict` opens every dump since
# 2025-08. `\set` is harmless for psql's own switches: a variable of the user's would have to be filled in.
_HARMLESS = re.compile(
    r"\\(restrict|unrestrict|echo|qecho|warn|timing|pset|encoding\s+'?utf-?8'?|t|a|x"
    r"|set\s+(ON_ERROR_STOP|ON_ERROR_ROLLBACK|QUIET|VERBOSITY|ECHO|SHOW_CONTEXT))\b",
    re.IGNORECASE,
)
_COMMAND = re.compile(r"[ \t]*\\")
_MAY_TAKE_DATA = re.compile(r"\bstdin\b[^;]*;[ \t]*\r?$", re.IGNORECASE)
_END_OF_DATA = "\\."


@dataclass(frozen=True, kw_only=True, slots=True)
class Separated:
    """A script without what is psql's.

    Attributes:
        sql: The script with commands and data replaced by empty lines, so that every line keeps its number.
        data: Rows for COPY … FROM stdin by the line on which that statement ends, counted from 1.
    """

    sql: str
    data: dict[int, str]


# The words of the last statement of a text, in capitals; None when the text ends inside a quote or a comment.
LastWords = Callable[[str], Sequence[str] | None]


def separate(script: str, *, source: str, last_words: LastWords) -> Separated:
    r"""Take psql's part out of a script.

    A line counts only where a statement may begin: a backslash or the word stdin inside a quoted text, a function body
    or a comment is left alone.

    Args:
        script: The text of the file, with Unix line ends.
        source: Its name, for messages.
        last_words: Reads a text as PostgreSQL does.

    Raises:
        InvalidInputError: A command that cannot be passed over, or data without its end (`\.`).
    """
    if "\\" not in script and "stdin" not in script.lower():
        return Separated(sql=script, data={})
    return _Separator(script, source, last_words).separate()


class _Separator:
    def __init__(self, script: str, source: str, last_words: LastWords) -> None:
        self._lines = script.split("\n")
        self._source = source
        self._last_words = last_words
        self._data: dict[int, str] = {}
        # Everything before this line is known to end outside quotes, so only what follows is looked at again.
        self._settled = 0

    def separate(self) -> Separated:
        number = 0
        while number < len(self._lines):
            number = self._look_at(number)
        return Separated(sql="\n".join(self._lines), data=self._data)

    def _look_at(self, number: int) -> int:
        line = self._lines[number]
        if _COMMAND.match(line) and self._complete_before(number):
            self._pass_over(number)
        elif _MAY_TAKE_DATA.search(line) and self._takes_data(number):
            return self._take_data(number)
        return number + 1

    def _complete_before(self, number: int) -> bool:
        if self._last_words("\n".join(self._lines[self._settled : number])) is None:
            return False
        self._settled = number
        return True

    def _pass_over(self, number: int) -> None:
        command = self._lines[number].strip()
        if not _HARMLESS.match(command):
            raise InvalidInputError(
                f"{self._source}:{number + 1}: {command.split()[0]} is a command of psql, not SQL",
                hint="write the same in SQL; only commands that change nothing in the database are passed over",
            )
        self._lines[number] = ""

    def _takes_data(self, number: int) -> bool:
        words = self._last_words("\n".join(self._lines[self._settled : number + 1]))
        if not words or words[0] != "COPY":
            return False
        return ("FROM", "STDIN") in pairwise(words)

    def _take_data(self, number: int) -> int:
        for end in range(number + 1, len(self._lines)):
            if self._lines[end].rstrip("\r") == _END_OF_DATA:
                block = self._lines[number + 1 : end]
                self._data[number + 1] = "".join(f"{line}\n" for line in block)
                self._lines[number + 1 : end + 1] = [""] * (len(block) + 1)
                self._settled = end + 1
                return end + 1
        raise InvalidInputError(
            f"{self._source}:{number + 1}: the data of this COPY has no end (a line with \\.)",
            hint="end the rows with a line that holds only \\.",
        )
