"""A role that may do everything."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import ChangeRole
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule

_POWERS = {"superuser": "do everything", "bypassrls": "see every row", "isreplication": "copy the whole cluster"}


def _check(action: ChangeRole, _context: Context) -> Iterator[Hit]:
    for name in action.grants:
        if name in _POWERS:
            yield Hit(message=f"lets {action.name or 'a role'} {_POWERS[name]}")


RULE = Rule(
    code="S109",
    name="powerful-role",
    severity=Severity.ERROR,
    condition="CREATE or ALTER ROLE with SUPERUSER, BYPASSRLS or REPLICATION.",
    effect="No privilege and no policy of any database of the cluster holds it back any more.",
    safe_way="Grant what is needed, by predefined roles (pg_read_all_data, pg_monitor) where they fit.",
    bad="CREATE ROLE shop_admin SUPERUSER;",
    good="CREATE ROLE shop_reader NOLOGIN;",
    source="PostgreSQL manual, Role Attributes; Predefined Roles",
    on=(ChangeRole,),
    check=_check,
)
