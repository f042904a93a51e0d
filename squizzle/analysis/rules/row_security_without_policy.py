"""Row-level security without a policy hides every row."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AlterTable
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import name_for, qualified


def _check(action: AlterTable, context: Context) -> Iterator[Hit]:
    if action.command not in {"EnableRowSecurity", "ForceRowSecurity"} or context.is_new(action.table):
        return
    if context.known(action.table).policies or context.state.whole.table(action.table).policies:
        return
    yield Hit(
        message=f"hides every row of {action.table} from everybody but its owner: no script makes a policy",
        hint=f"CREATE POLICY {name_for(action.table, 'all')} ON {qualified(action.table)} USING (true);"
        " -- before, in the same script",
        relation=action.table,
        location=action.location,
    )


RULE = Rule(
    code="C112",
    name="row-security-without-policy",
    severity=Severity.ERROR,
    condition="ENABLE or FORCE ROW LEVEL SECURITY on a table that was there before, and no script makes a policy for"
    " it.",
    effect="Without a policy nothing is visible and nothing can be written, and no error says so.",
    safe_way="CREATE POLICY first, in the same transaction.",
    bad="ALTER TABLE users ENABLE ROW LEVEL SECURITY;",
    good="CREATE POLICY users_all ON users USING (true);\nALTER TABLE users ENABLE ROW LEVEL SECURITY;",
    source="PostgreSQL manual, Row Security Policies: default-deny",
    on=(AlterTable,),
    check=_check,
)
