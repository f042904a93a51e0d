"""What sqitch's settings say about its books: in which schema they are, and who keeps them.

Facts from sqitch's sources (`App/Sqitch.pm`, `Target.pm`) and `sqitch-config(1)`: `sqitch.conf` beside the plan is of
git's format; `SQITCH_FULLNAME` and `SQITCH_EMAIL` come before `[user]` of the project, which comes before that of
`~/.sqitch/sqitch.conf`; without all of these it is the account and the host.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_SECTION = re.compile(r'\s*\[\s*(?P<name>[^\s"\]]+)(?:\s+"(?P<part>[^"]*)")?\s*\]')
_VALUE = re.compile(r"\s*(?P<name>[A-Za-z][A-Za-z0-9_-]*)\s*=\s*(?P<value>.*?)\s*(?:[#;].*)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class SqitchSettings:
    """Where the books are, and what they call whoever keeps them."""

    registry: str
    committer: str
    email: str


def read_settings(folder: Path, *, environ: Mapping[str, str] = os.environ) -> SqitchSettings:
    """The settings that count for a project.

    Args:
        folder: Holds `sqitch.plan` and `sqitch.conf`.
        environ: Variables.
    """
    values = _read(Path(environ.get("HOME", "/")) / ".sqitch" / "sqitch.conf") | _read(folder / "sqitch.conf")
    account = environ.get("USER") or environ.get("LOGNAME") or str(os.getuid())
    return SqitchSettings(
        registry=values.get("engine.pg.registry", "sqitch"),
        committer=environ.get("SQITCH_FULLNAME") or values.get("user.name") or account,
        email=environ.get("SQITCH_EMAIL") or values.get("user.email") or f"{account}@{os.uname().nodename}",
    )


def _read(file: Path) -> dict[str, str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    section, found = "", {}
    for line in lines:
        if head := _SECTION.match(line):
            section = f"{head['name'].lower()}.{head['part']}" if head["part"] else head["name"].lower()
        elif match := _VALUE.fullmatch(line):
            found[f"{section}.{match['name'].lower()}"] = match["value"].strip('"')
    return found
