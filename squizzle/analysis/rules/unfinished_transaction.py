"""A transaction that the script does not end, or throws away."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AnyStatement
from squizzle.analysis.findings import Severity
from squizzle.analysis.records import Control
from squizzle.analysis.rules.rule import Context, Hit, Rule


def _check(_action: AnyStatement, context: Context) -> Iterator[Hit]:
    statement = context.summary.statement
    if statement.control is None:
        return
    if statement.control in {Control.ROLLBACK, Control.PREPARE} or "CHAIN" in statement.words[:4]:
        said = " ".join(statement.words[:2])
        yield Hit(message=f"{said}: what of this script is kept cannot be told, so Squizzle does not run it")
    elif statement.control is Control.BEGIN and statement.line == context.state.open_begin:
        yield Hit(message="BEGIN without a COMMIT: nothing of it would be kept, so Squizzle does not run the script")


RULE = Rule(
    code="X103",
    name="unfinished-transaction",
    severity=Severity.ERROR,
    condition="BEGIN without COMMIT, ROLLBACK, PREPARE TRANSACTION, AND CHAIN.",
    effect="Squizzle refuses the script before anything runs: nothing of it, or nobody knows what, would be kept.",
    safe_way="No BEGIN and no ROLLBACK: what fails is rolled back without being told to.",
    bad="BEGIN;\nALTER TABLE users ADD COLUMN city text;",
    good="ALTER TABLE users ADD COLUMN city text;",
    source="squawk, ban-uncommitted-transaction",
    on=(AnyStatement,),
    check=_check,
)
