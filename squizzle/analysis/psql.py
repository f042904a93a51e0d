"""What only psql understands in a script: data after COPY … FROM stdin, and commands that begin with a backslash.

A dump holds both. Data travels with its statement; commands that change nothing for the database are passed over; any
other command is refused with its line, before anything runs.
"""

from __future__ import annotations

import re

from squizzle.errors import InvalidInputError

# Commands that only change what psql prints or how it works with the terminal; `\restrict` opens every dump since
# 2025-08. `\set` is harmless for psql's own switches: a variable of the user's would have to be filled in.
_HARMLESS = re.compile(
    r"\\(restrict|unrestrict|echo|qecho|warn|timing|pset|encoding\s+'?utf-?8'?|t|a|x"
    r"|set\s+(ON_ERROR_STOP|ON_ERROR_ROLLBACK|QUIET|VERBOSITY|ECHO|SHOW_CONTEXT))\b",
    re.IGNORECASE,
)
_END_OF_DATA = "\\."
_REST_OF_LINE = re.compile(r"[ \t]*\r?(?:\n|\Z)")


def pass_over(script: str, position: int, *, source: str, line: int) -> int:
    """The end of the line of a command that changes nothing for the database.

    Args:
        script: The text of the file.
        position: Where the backslash stands, outside of quotes and comments.
        source: The file's name, for messages.
        line: The line that it stands on.

    Raises:
        InvalidInputError: A command that cannot be passed over, or one in the middle of a line. Nothing was run.
    """
    begin = script.rfind("\n", 0, position) + 1
    end = script.find("\n", position)
    end = len(script) if end < 0 else end
    if script[begin:position].strip():
        raise InvalidInputError(
            f"{source}:{line}: a psql command (backslash) in the middle of a line",
            hint="write the same in SQL; psql's commands stand on lines of their own",
        )
    command = script[position:end].strip()
    if not _HARMLESS.match(command):
        raise InvalidInputError(
            f"{source}:{line}: {command.split()[0]} is a command of psql, not SQL",
            hint="write the same in SQL; only commands that change nothing in the database are passed over",
        )
    return end


def find_data(script: str, position: int, *, source: str, line: int) -> tuple[int, int, int] | None:
    r"""Where the rows behind a COPY … FROM stdin begin and end, and where SQL goes on behind them.

    Args:
        script: The text of the file.
        position: Behind the semicolon of the COPY.
        source: The file's name, for messages.
        line: The line that the semicolon stands on.

    Returns:
        None when something else stands behind the semicolon on its line, so that no rows follow.

    Raises:
        InvalidInputError: The rows have no end (`\.`). Nothing was run.
    """
    rest = _REST_OF_LINE.match(script, position)
    if rest is None:
        return None
    end = script.find(_END_OF_DATA, rest.end())
    while end >= 0:
        behind = _REST_OF_LINE.match(script, end + len(_END_OF_DATA))
        # Blanks would make it a row; in front it must be the first on its line.
        if behind is not None and behind[0].strip("\r\n") == "" and script[end - 1] == "\n":
            return rest.end(), end, behind.end()
        end = script.find(_END_OF_DATA, end + 1)
    raise InvalidInputError(
        f"{source}:{line}: the data of this COPY has no end (a line with \\.)",
        hint="end the rows with a line that holds only \\.",
    )
