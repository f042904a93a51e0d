"""What only psql understands in a script: commands that begin with a backslash, its variables, data behind COPY.

A dump holds commands and data. Data travels with its statement; commands that change nothing for the database are
passed over; any other command, and every variable, is refused with its line, before anything runs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from squizzle.errors import InvalidInputError

# Commands that only change what psql prints or how it works with the terminal; `\restrict` opens every dump since
# 2025-08. `\set` is harmless for psql's own switches: a variable of the user's would have to be filled in.
_HARMLESS = re.compile(
    r"\\(restrict|unrestrict|echo|qecho|warn|timing|pset|encoding\s+'?utf-?8'?|t|a|x|H"
    r"|d[A-Za-z]*[+S]*|l\+?|z|conninfo|errverbose|(?:un)?set\s+"
    r"(ON_ERROR_STOP|ON_ERROR_ROLLBACK|QUIET|VERBOSITY|ECHO|SHOW_CONTEXT|PAGER|FETCH_COUNT|PROMPT[123]))(?!\S)",
    re.IGNORECASE,
)
_QUIT = re.compile(r"\\q(?:uit)?(?!\S)")
# A command ends where an unquoted backslash begins the next one (manual, "psql", "Meta-Commands").
_ONE_COMMAND = re.compile(r"""\\[^\s\\]+(?:'(?:[^'\\\n]|\\.)*'|"[^"\n]*"|`[^`\n]*`|[^\\\n])*""")
_SEPARATOR = "\\\\"
_NOTHING_MORE = re.compile(r"\s*(?:\\\\\s*)?(?:--[^\n]*)?\Z")
_VARIABLE = re.compile(r"""'[^'\n]+'|"[^"\n]+"|\{\?[^}\n]+\}|[A-Za-z0-9_\x80-\U0010ffff]+""")
_END_OF_DATA = "\\."
_REST_OF_LINE = re.compile(r"[ \t]*(?:--[^\n]*)?\r?(?:\n|\Z)")


@dataclass(frozen=True, kw_only=True, slots=True)
class PassedOver:
    """A line of commands that change nothing for the database.

    Attributes:
        end: Where the line ends.
        quits: Whether psql reads no further.
    """

    end: int
    quits: bool


def pass_over(script: str, position: int, *, source: str, line: int) -> PassedOver:
    """Pass over the commands of a line.

    Args:
        script: The text of the file.
        position: Where the first backslash stands, outside of quotes and comments.
        source: The file's name, for messages.
        line: The line that it stands on.

    Raises:
        InvalidInputError: A command that cannot be passed over, one in the middle of a line, or SQL behind one.
            Nothing was run.
    """
    begin = script.rfind("\n", 0, position) + 1
    end = script.find("\n", position)
    end = len(script) if end < 0 else end
    if script[begin:position].strip():
        raise InvalidInputError(
            f"{source}:{line}: a psql command (backslash) in the middle of a line",
            hint="write the same in SQL; psql's commands stand on lines of their own",
        )
    quits = False
    while not quits and not _NOTHING_MORE.match(script, position, end):
        command = _ONE_COMMAND.match(script, position, end)
        text = command[0] if command else script[position:end]
        quits = _QUIT.match(text) is not None
        if not quits and not _HARMLESS.match(text):
            raise _refused(text, source, line)
        position += len(text)
    return PassedOver(end=end, quits=quits)


def _refused(command: str, source: str, line: int) -> InvalidInputError:
    if command.startswith(_SEPARATOR):
        return InvalidInputError(
            f"{source}:{line}: SQL behind \\\\ on a line with a command of psql",
            hint="put the statement on a line of its own",
        )
    return InvalidInputError(
        f"{source}:{line}: {command.split(maxsplit=1)[0]} is a command of psql, not SQL",
        hint="write the same in SQL; only commands that change nothing in the database are passed over",
    )


def refuse_variable(script: str, position: int, *, source: str, line: int) -> None:
    """Refuse a variable of psql: the server would see a colon, or, worse, another statement.

    Args:
        script: The text of the file.
        position: Behind a colon that stands outside of quotes, and in no slice of an array.
        source: The file's name, for messages.
        line: The line that it stands on.

    Raises:
        InvalidInputError: What follows would be a variable's name to psql. Nothing was run.
    """
    name = _VARIABLE.match(script, position)
    if name is not None:
        raise InvalidInputError(
            f"{source}:{line}: :{name[0]} is a variable of psql, which only psql fills in",
            hint="write the value itself, or read it from a setting of the session: current_setting('app.name')",
        )


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
