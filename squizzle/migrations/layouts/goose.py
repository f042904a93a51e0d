"""goose's layout: `00001_name.sql` with `-- +goose Up` and `-- +goose Down`.

Facts from goose's documentation of annotations and its sources (`internal/provider/collect.go`,
`internal/sqlparser/parser.go`): the version is the number before the first `_`, at least 1, and must be unique; folders
in the folder are not looked into; annotations stand at the beginning of a line, in capitals or not; `NO TRANSACTION`
counts for both directions; `ENVSUB ON` has variables of the environment put in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from squizzle.errors import InvalidInputError
from squizzle.migrations.layouts.marked import Grammar, Mark, read_marked
from squizzle.migrations.layouts.order import in_order
from squizzle.migrations.records import Migration

_FILE = re.compile(r"(?P<version>0*[1-9][0-9]*)_(?P<name>.*)\.sql")
_WORDS = r"up|down|statementbegin|statementend|no\s+transaction|envsub\s+on|envsub\s+off"


def read_migrations(folder: Path) -> tuple[Migration, ...]:
    """Every migration of the folder, lowest number first. Nothing else is touched.

    Raises:
        InvalidInputError: See `read_marked`; or a script wants variables of the environment. Nothing was changed.
        VersionConflictError: Two files have the same number.
    """
    migrations = read_marked(folder, GRAMMAR, _FILE, wanted="<number>_<name>.sql, with a number from 1 on")
    return in_order(((int(one.version), one) for one in migrations), tool="goose")


def _in_transaction(marks: Sequence[Mark], source: str) -> tuple[bool | None, bool | None]:
    for mark in marks:
        if mark.word.startswith("envsub"):
            raise InvalidInputError(
                f"{source}:{mark.line + 1}: ENVSUB puts variables of the environment into the script",
                hint="write the values themselves: the same migration must be the same everywhere",
            )
    declared = False if any(mark.word.startswith("no") for mark in marks) else None
    return declared, declared


GRAMMAR = Grammar(
    tool="goose",
    mark=re.compile(rf"--\s*\+goose\s+(?P<word>{_WORDS})\s*(?P<options>)", re.IGNORECASE),
    nearly=re.compile(r"\s*--\s*\+\s*goose\b", re.IGNORECASE),
    example="-- +goose Up",
    in_transaction=_in_transaction,
)
