"""Sqitch's layout: `sqitch.plan` and the folders `deploy/`, `revert/`, `verify/`.

Facts from sqitch 1.3.1's sources (`App/Sqitch/Plan.pm`, `Plan/Change.pm`) and `sqitchchanges(7)`: changes run in the
order of the plan; a change may be there again after a tag (it was reworked), and then the earlier one's scripts are
called `name@tag.sql`, after one of the tags between the two: the first that has a deploy script, looked for from the
later change back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from squizzle.analysis.records import Control, Statement
from squizzle.analysis.statements import split_statements
from squizzle.errors import InvalidInputError
from squizzle.migrations.layouts.files import checksum, read_present, read_script
from squizzle.migrations.layouts.order import in_order
from squizzle.migrations.layouts.sqitch_plan import PLAN, Change, Plan, parse_plan
from squizzle.migrations.records import Labels, Migration

_NOT_IN_VERSIONS = re.compile(r"[^0-9A-Za-z.+]+")


def read_migrations(folder: Path) -> tuple[Migration, ...]:
    """Every change of the plan, in the plan's order. Nothing else is touched.

    The version is the change's place in the plan and its name: `0007-add-users`. The order is the plan's alone, so the
    place must come first; the name behind it makes sure that a change which is moved, or inserted before others that
    were applied, is not taken for the one that had its place: the versions differ, and planning refuses.

    Args:
        folder: Holds `sqitch.plan`. Scripts that the plan does not name are passed over, as sqitch does.

    Raises:
        InvalidInputError: The plan cannot be read, a deploy script is missing, or a file cannot be used. Nothing was
            changed.
    """
    root = folder.resolve()
    changes = read_plan(folder).changes
    migrations = [
        (place, _read(folder, place, _file_name(folder, changes, place - 1), root=root))
        for place in range(1, len(changes) + 1)
    ]
    return in_order(migrations, tool="sqitch")


def read_plan(folder: Path) -> Plan:
    """The plan of a folder; errors as for `read_migrations`."""
    return parse_plan(read_present(folder / PLAN, root=folder.resolve()), source=str(folder / PLAN))


def _file_name(folder: Path, changes: Sequence[Change], index: int) -> str:
    """The name of a change's scripts, without `.sql`."""
    name = changes[index].name
    again = next((later for later in range(index + 1, len(changes)) if changes[later].name == name), None)
    if again is None:
        return name
    tags = [tag for between in range(again - 1, index - 1, -1) for tag in changes[between].tags]
    names = [f"{name}@{tag.name}" for tag in tags]
    return next((one for one in names if (folder / "deploy" / f"{one}.sql").exists()), names[0])


def _read(folder: Path, place: int, name: str, *, root: Path) -> Migration:
    up, down, verify = (f"{kind}/{name}.sql" for kind in ("deploy", "revert", "verify"))
    up_sql = read_script(folder / up, root=root)
    if up_sql is None:
        raise InvalidInputError(
            f"{folder / PLAN} names a change without a deploy script: there is no {folder / up}",
            hint="scripts are looked for in deploy, revert and verify beside the plan, and end with .sql",
        )
    plain_name = _NOT_IN_VERSIONS.sub("-", name.partition("@")[0]).strip("-")
    return Migration(
        version=f"{place:04d}-{plain_name}",
        name=name,
        up_sql=up_sql,
        down_sql=read_script(folder / down, root=root),
        verify_sql=_without_transaction(read_script(folder / verify, root=root), verify),
        checksum=checksum(up_sql),
        source=folder / up,
        labels=Labels(up=up, down=down, verify=verify),
    )


def _without_transaction(verify_sql: str | None, source: str) -> str | None:
    """A verify script without the BEGIN and ROLLBACK around it; lines keep their numbers.

    Every script that sqitch makes has them, because sqitch opens no transaction itself. Squizzle verifies before the
    commit, where they would end the transaction of the migration.
    """
    try:
        statements = split_statements(verify_sql or "", source=source)
    except InvalidInputError:
        return verify_sql  # to be refused with its reason when it is planned
    if verify_sql is None or not statements or not _is_around(statements):
        return verify_sql
    lines = verify_sql.split("\n")
    outer = (statements[0], statements[-1])
    if any(lines[one.line - 1].strip().rstrip(";").rstrip() != one.sql for one in outer):
        return verify_sql
    for one in outer:
        lines[one.line - 1] = ""
    return "\n".join(lines)


def _is_around(statements: Sequence[Statement]) -> bool:
    return statements[0].control is Control.BEGIN and statements[-1].control is Control.ROLLBACK
