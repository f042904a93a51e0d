"""A body commits inside the transaction of the script."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import TransactionControl
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule, Where


def _check(action: TransactionControl, context: Context) -> Iterator[Hit]:
    if action.command in {"COMMIT", "ROLLBACK"} and context.where is not Where.SCRIPT:
        yield Hit(message=f"{action.command} in a DO block or procedure, which Squizzle runs inside a transaction")


RULE = Rule(
    code="X107",
    name="commit-in-body",
    severity=Severity.ERROR,
    condition="COMMIT or ROLLBACK in a DO block.",
    effect="It fails: invalid transaction termination (SQLSTATE 2D000), because the script runs in a transaction.",
    safe_way="Batches as migrations of their own, or as statements between BEGIN and COMMIT in the script.",
    bad="DO $$ BEGIN UPDATE users SET age = 30 WHERE id < 50; COMMIT; END $$;",
    good="UPDATE users SET age = 30 WHERE id < 50;",
    source="PostgreSQL manual, PL/pgSQL, Transaction Management",
    on=(TransactionControl,),
    check=_check,
    refused="2D000",
)
