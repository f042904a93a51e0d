"""A password stands in a file."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import ChangeRole
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule


def _check(action: ChangeRole, _context: Context) -> Iterator[Hit]:
    if action.has_password:
        yield Hit(message=f"the password of {action.name or 'a role'} stands in the script")


RULE = Rule(
    code="S110",
    name="password-in-script",
    severity=Severity.ERROR,
    condition="PASSWORD '…' in CREATE or ALTER ROLE.",
    effect="It is in the repository, in the server's log and in pg_stat_statements, and the same in every environment.",
    safe_way="CREATE ROLE without a password; psql's password command, or the secrets' store, sets it.",
    bad="CREATE ROLE shop_app LOGIN PASSWORD 'opensesame';",
    good="CREATE ROLE shop_app LOGIN;",
    source="PostgreSQL manual, CREATE ROLE, Notes",
    on=(ChangeRole,),
    check=_check,
)
