"""sql-migrate's layout: `20170426134008-name.sql` with `-- +migrate Up` and `-- +migrate Down`.

Facts from sql-migrate's sources (`migrate.go`, `sqlparse/sqlparse.go`): a migration is known by its whole file name;
names that begin with digits are ordered by that number, and by the whole name where the number is the same; other names
come last; folders in the folder are not looked into; marks are exactly `-- +migrate ` and a word in this spelling;
`notransaction` behind Up or Down asks for no transaction in that direction; both may come in any order and more than
once, and what belongs to a direction is run in the order of the file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from squizzle.errors import InvalidInputError
from squizzle.migrations.layouts.marked import DOWN, UP, Grammar, Mark, read_marked
from squizzle.migrations.layouts.order import in_order
from squizzle.migrations.layouts.shared_numbers import with_own_versions
from squizzle.migrations.records import Migration
from squizzle.migrations.versions import version_key

_FILE = re.compile(r"(?P<version>[0-9]+)[_-]?(?P<name>.*)\.sql")
_ALONE = "notransaction"


def read_migrations(folder: Path) -> tuple[Migration, ...]:
    """Every migration of the folder, in sql-migrate's order. Nothing else is touched.

    The version is the number; where several files share one, it is the whole name (`with_own_versions`).

    Raises:
        InvalidInputError: See `read_marked`; or names that share a number and cannot be versions. Nothing was changed.
        VersionConflictError: Two names are the same version.
    """
    migrations = with_own_versions(read_marked(folder, GRAMMAR, _FILE, wanted="<number>-<name>.sql"))
    return in_order((((version_key(one.version)[0], one.source.name), one) for one in migrations), tool="sql-migrate")


def _in_transaction(marks: Sequence[Mark], source: str) -> tuple[bool | None, bool | None]:
    for mark in marks:
        for option in mark.options:
            if option != _ALONE and option.lower().replace("-", "").replace("_", "").startswith("notrans"):
                raise InvalidInputError(
                    f"{source}:{mark.line + 1}: {option!r} says nothing to sql-migrate", hint=f"write {_ALONE}"
                )
    alone = {mark.word for mark in marks if _ALONE in mark.options}
    return (False if UP in alone else None), (False if DOWN in alone else None)


GRAMMAR = Grammar(
    tool="sql-migrate",
    mark=re.compile(r"-- \+migrate +(?P<word>Up|Down|StatementBegin|StatementEnd)(?:\s+(?P<options>.*))?"),
    nearly=re.compile(r"\s*--\s*\+\s*migrate\b", re.IGNORECASE),
    example="-- +migrate Up",
    in_transaction=_in_transaction,
    in_any_order=True,
)
