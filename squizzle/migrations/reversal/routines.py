"""Which functions may change something besides what they return. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# Words of statements that change something or hide what runs; in a comment they are a false alarm, which costs a word.
_CHANGES = re.compile(
    r"\b(insert|update|delete|merge|truncate|execute|perform|call|copy|create|drop|alter|grant|revoke|refresh|setval"
    r"|notify|lo_\w+|dblink\w*)\b",
    re.IGNORECASE,
)
_CALL = re.compile(r"([A-Za-z_][\w$]*)\"?\s*\(")


@dataclass(frozen=True, kw_only=True, slots=True)
class Routine:
    """A function or procedure that a user wrote.

    Attributes:
        schema: Unquoted.
        name: Unquoted.
        may_write: Whether its own statements may change something: PostgreSQL refuses that in one that is STABLE or
            IMMUTABLE (manual, "Function Volatility Categories").
        readable: Whether its language is SQL or PL/pgSQL.
        text: Its body.
    """

    schema: str
    name: str
    may_write: bool
    readable: bool
    text: str


def writing(names: Sequence[tuple[str, ...]], routines: Sequence[Routine]) -> tuple[tuple[str, ...], ...]:
    """Those of the called functions that may change something, by their text or by what they call.

    Args:
        names: As the statement calls them, in parts.
        routines: All that users wrote.
    """
    writers = {one.name for one in routines if one.may_write and (not one.readable or _CHANGES.search(one.text))}
    while more := {one.name for one in routines if one.name not in writers and _calls(one, writers)}:
        writers |= more
    known = {(one.schema, one.name) for one in routines if one.name in writers}
    return tuple(name for name in names if name[-1] in writers and (len(name) == 1 or name[-2:] in known))


def _calls(routine: Routine, names: set[str]) -> bool:
    return any(match[1] in names or match[1].lower() in names for match in _CALL.finditer(routine.text))
