"""What Flyway lets a project say beside its scripts: settings of one script, and values of placeholders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from squizzle.errors import InvalidInputError
from squizzle.migrations.layouts.files import read_script

_PLACEHOLDER = re.compile(r"\$\{([^}\n]*)\}")
_VARIABLE = "FLYWAY_PLACEHOLDERS_"
_ANSWERS = {"true": True, "false": False}


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptSettings:
    """`NAME.sql.conf`.

    Attributes:
        in_transaction: `executeInTransaction`; None when nothing is said.
        has_placeholders: `placeholderReplacement`.
    """

    in_transaction: bool | None = None
    has_placeholders: bool = True


def read_settings(script: Path, *, root: Path) -> ScriptSettings:
    """The settings of one script.

    Raises:
        InvalidInputError: The file cannot be used, or has a setting that Squizzle does not follow. Nothing was changed.
    """
    file = script.with_name(f"{script.name}.conf")
    found: dict[str, bool] = {}
    for number, line in enumerate((read_script(file, root=root) or "").split("\n"), start=1):
        if not line.strip() or line.lstrip().startswith(("#", "!")):
            continue
        name, _, value = (part.strip() for part in line.partition("="))
        answer = _ANSWERS.get(value.lower())
        known = name in {"executeInTransaction", "placeholderReplacement"} or (name, answer) == ("shouldExecute", True)
        utf8 = name == "encoding" and value.upper() == "UTF-8"
        if not utf8 and (answer is None or not known):
            raise InvalidInputError(
                f"{file}:{number}: Squizzle does not follow {line.strip()!r}",
                hint="it knows executeInTransaction and placeholderReplacement, each true or false",
            )
        found[name] = bool(answer)
    return ScriptSettings(
        in_transaction=found.get("executeInTransaction"), has_placeholders=found.get("placeholderReplacement", True)
    )


def put_in(text: str, source: str, settings: ScriptSettings, placeholders: Mapping[str, str]) -> str:
    """The text with values in place of its placeholders.

    Raises:
        InvalidInputError: One has no value; the message names it. Nothing was changed.
    """
    if not settings.has_placeholders:
        return text
    values = {name.lower(): value for name, value in placeholders.items()}

    def value(match: re.Match[str]) -> str:
        if match[1].lower() in values:
            return values[match[1].lower()]
        line = text.count("\n", 0, match.start()) + 1
        raise InvalidInputError(
            f"{source}:{line}: the placeholder {match[0]} has no value",
            hint=f"set {_VARIABLE}{match[1].upper()}, or write placeholderReplacement=false into {source}.conf",
        )

    return _PLACEHOLDER.sub(value, text)


def placeholders_of(environ: Mapping[str, str]) -> dict[str, str]:
    """The values of placeholders in an environment: `FLYWAY_PLACEHOLDERS_NAME`, as Flyway itself takes them."""
    return {
        variable.removeprefix(_VARIABLE).lower(): value
        for variable, value in environ.items()
        if variable.startswith(_VARIABLE)
    }
