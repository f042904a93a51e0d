"""dbmate's layout: `20240102030405_name.sql` with `-- migrate:up` and `-- migrate:down`.

Facts from dbmate's sources (`pkg/dbmate/migration.go`, `db.go`) and its program: a file is a migration when its name
begins with digits and ends with `.sql`; these digits are the version; files run in the order of their names as text; a
mark is written in small letters at the beginning of a line; `transaction:false` behind it asks for no transaction in
that direction, and any other word behind it is passed over. dbmate 2.37 takes several pairs of directions in one file;
here a file is one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from squizzle.errors import InvalidInputError
from squizzle.migrations.layouts.marked import DOWN, UP, Grammar, Mark, read_marked
from squizzle.migrations.layouts.order import in_order
from squizzle.migrations.records import Migration

_FILE = re.compile(r"(?P<version>[0-9]+)[_-]?(?P<name>.*)\.sql")


def read_migrations(folder: Path) -> tuple[Migration, ...]:
    """Every migration of the folder, in dbmate's order. Nothing else is touched.

    Raises:
        InvalidInputError: See `read_marked`; or versions of different length that dbmate orders otherwise than their
            numbers. Nothing was changed.
        VersionConflictError: Two files have the same version.
    """
    migrations = read_marked(folder, GRAMMAR, _FILE, wanted="<digits>_<name>.sql")
    return in_order(((one.source.name, one) for one in migrations), tool="dbmate")


def _in_transaction(marks: Sequence[Mark], source: str) -> tuple[bool | None, bool | None]:
    answers = {"transaction:true": True, "transaction:false": False}
    declared: dict[str, bool] = {}
    for mark in marks:
        for option in mark.options:
            if option not in answers and re.match("transaction(?:[:=]|$)", option, re.IGNORECASE):
                raise InvalidInputError(
                    f"{source}:{mark.line + 1}: {option!r} says nothing to dbmate",
                    hint="write transaction:false or transaction:true, without blanks",
                )
            if option in answers:
                declared[mark.word] = answers[option]
    return declared.get(UP), declared.get(DOWN)


GRAMMAR = Grammar(
    tool="dbmate",
    mark=re.compile(r"--\s*migrate:(?P<word>up|down)(?:\s+(?P<options>.*))?"),
    # A comment such as "-- migrate: users to accounts" means none.
    nearly=re.compile(r"\s*--\s*migrate(?::\w|\s*:\s*(?:up|down)\b)", re.IGNORECASE),
    example="-- migrate:up",
    in_transaction=_in_transaction,
)
