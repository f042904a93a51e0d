"""The scripts that make tables of our own, read: what they make, and what a table of an earlier version lacks. Pure.

A script is the one description of its tables. It makes them as their first version was, adds what later versions
brought with `ADD COLUMN IF NOT EXISTS`, and says in the table's comment which version that makes:
`(table version 4, usable from version 1)`. The second number is the oldest version that whoever works on the table has
to know; it grows only when those who know less would do harm, which has not happened yet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from squizzle.postgres.sql_files import load_sql


class Makes(StrEnum):
    """What a statement of such a script makes."""

    SCHEMA = "CREATE SCHEMA"
    PRIVATE = "REVOKE"
    TABLE = "CREATE TABLE"
    COLUMNS = "ALTER TABLE"
    UNIQUE = "CREATE UNIQUE INDEX"
    INDEX = "CREATE INDEX"
    COMMENT = "COMMENT"


@dataclass(frozen=True, kw_only=True, slots=True)
class LaterColumn:
    """A column that the first version of its table did not have.

    Attributes:
        name: Its name.
        absent: What it is in a table that lacks it, as SQL: its default, or NULL, with its type.
    """

    name: str
    absent: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """One statement of a script.

    Attributes:
        makes: What it makes.
        name: The schema or relation that it is about, qualified and quoted as for `to_regclass`.
        sql: Its text.
        columns: Those that it adds.
    """

    makes: Makes
    name: str
    sql: str
    columns: tuple[LaterColumn, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class TableVersion:
    """What the comment of a table says.

    Attributes:
        version: The table's.
        usable_from: The oldest version that whoever works on it has to know.
    """

    version: int
    usable_from: int


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnTables:
    """Tables that are made by one script.

    Attributes:
        package: Dotted name of the package that holds the script.
        script: The file's name without `.sql`.
        names: What stands for `{name}` in it: the qualified name, quoted.
    """

    package: str
    script: str
    names: tuple[tuple[str, str], ...] = ()

    @property
    def statements(self) -> tuple[Statement, ...]:
        """What the script says."""
        return _read(load_sql(self.package, self.script), self.names)

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of its tables."""
        return tuple(one.name for one in self.statements if one.makes is Makes.TABLE)

    @property
    def versions(self) -> Mapping[str, TableVersion]:
        """The newest version of each table."""
        found = {one.name: version_in(one.sql) for one in self.statements if one.makes is Makes.COMMENT}
        return {name: version for name, version in found.items() if version}

    def later_columns(self, table: str) -> tuple[LaterColumn, ...]:
        """What later versions of a table brought, oldest first."""
        return tuple(column for one in self.statements if one.name == table for column in one.columns)


_FORMS = (
    (Makes.SCHEMA, re.compile(r"CREATE SCHEMA IF NOT EXISTS (\S+)$")),
    (Makes.PRIVATE, re.compile(r"REVOKE ALL ON SCHEMA (\S+) FROM PUBLIC$")),
    (Makes.TABLE, re.compile(r"CREATE TABLE IF NOT EXISTS (\S+) \(")),
    (Makes.COLUMNS, re.compile(r"ALTER TABLE (\S+)\s+ADD COLUMN IF NOT EXISTS ")),
    (Makes.UNIQUE, re.compile(r"CREATE UNIQUE INDEX IF NOT EXISTS (\w+) ON (\w+)\.")),
    (Makes.INDEX, re.compile(r"CREATE INDEX IF NOT EXISTS (\w+) ON (\w+)\.")),
    (Makes.COMMENT, re.compile(r"COMMENT ON (?:TABLE (\S+)|COLUMN .*) IS\s")),
)
_COLUMN = re.compile(
    r"ADD COLUMN IF NOT EXISTS (?P<name>\w+) (?P<type>\w+(?:\[\])?)"
    r"(?P<filled> NOT NULL DEFAULT (?P<default>'[^']*'|\w+))?(?=,\s|$)"
)
_VERSION = re.compile(r"\(table version (\d+), usable from version (\d+)\)")


def version_in(comment: str | None) -> TableVersion | None:
    """The version that a comment tells of; None where it tells of none, as those of the first versions do."""
    found = _VERSION.search(comment or "")
    return TableVersion(version=int(found[1]), usable_from=int(found[2])) if found else None


@cache
def _read(text: str, names: tuple[tuple[str, str], ...]) -> tuple[Statement, ...]:
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    parts = (part.strip().removesuffix(";") for part in "\n".join(lines).split(";\n"))
    return tuple(_statement(part, dict(names)) for part in parts if part)


def _statement(text: str, names: Mapping[str, str]) -> Statement:
    matched = next(((makes, found) for makes, form in _FORMS if (found := form.match(text))), None)
    if matched is None:
        raise ValueError(f"a script of tables may not say: {text}")
    makes, found = matched
    columns = tuple(_column(one) for one in _COLUMN.finditer(text)) if makes is Makes.COLUMNS else ()
    if len(columns) != text.count("ADD COLUMN"):
        raise ValueError(f"a later column is nullable, or NOT NULL with a constant as its default: {text}")
    name = found[1] or ""
    name = f"{found[2]}.{name}" if makes in {Makes.UNIQUE, Makes.INDEX} else name
    for placeholder, stands_for in names.items():
        name, text = (one.replace(f"{{{placeholder}}}", stands_for) for one in (name, text))
    return Statement(makes=makes, name=name, sql=text, columns=columns)


def _column(found: re.Match[str]) -> LaterColumn:
    return LaterColumn(name=found["name"], absent=f"CAST({found['default'] or 'NULL'} AS {found['type']})")
