"""How a section is taken apart, and a variable that a setting names is looked up."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import NoReturn, Protocol

from squizzle.errors import InvalidInputError


class Reader(Protocol):
    """Takes settings out of a section, and complains by file, section and name."""

    def section(self, value: object, where: str) -> dict[str, object]: ...  # noqa: D102
    def text(self, section: dict[str, object], where: str, name: str) -> str | None: ...  # noqa: D102
    def texts(self, section: dict[str, object], where: str, name: str) -> tuple[str, ...]: ...  # noqa: D102
    def duration(self, section: dict[str, object], where: str, name: str, default: timedelta) -> timedelta: ...  # noqa: D102
    def yes_or_no(self, section: dict[str, object], where: str, name: str, *, default: bool) -> bool: ...  # noqa: D102
    def nothing_left(self, section: dict[str, object], where: str) -> None: ...  # noqa: D102
    def complain(self, where: str, what: str) -> NoReturn: ...  # noqa: D102


def variable_of(variable: str, needs: str, environ: Mapping[str, str]) -> str:
    """The value of a variable of the environment.

    Args:
        variable: Its name.
        needs: Who needs it, for the message.
        environ: The environment.

    Raises:
        InvalidInputError: It is not set.
    """
    value = environ.get(variable)
    if not value:
        raise InvalidInputError(f"{needs} needs the variable {variable}, which is not set", hint=f"export {variable}=…")
    return value


def number_between(
    reader: Reader,
    section: dict[str, object],
    where: str,
    name: str,
    least: float,
    most: float,
    *,
    whole: bool = False,
) -> float | None:
    """One number of a section, which it is taken out of; None where nothing is said.

    Raises:
        InvalidInputError: It is none, or out of these bounds, which are included.
    """
    value = section.pop(name, None)
    if value is None:
        return None
    kinds = int if whole else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool) or not least <= value <= most:
        kind = "a whole number" if whole else "a number"
        reader.complain(f"{where}.{name}", f"must be {kind} from {least:g} to {most:g}")
    return value
