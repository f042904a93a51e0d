"""NOT VALID wins nothing when the same transaction validates."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import ValidateConstraint
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Effect
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import LATER, alter, quoted


def _check(action: ValidateConstraint, context: Context) -> Iterator[Hit]:
    if (
        context.state.added_just_now(action.table, action.name)
        and context.in_transaction
        and not context.is_new(action.table)
    ):
        yield Hit(
            message=f"reads all of {action.table} while the lock of ADD CONSTRAINT {action.name} is still held",
            hint=f"{LATER}\n{alter(action.table)} VALIDATE CONSTRAINT {quoted(action.name)};",
            relation=action.table,
            mode=LockMode.ACCESS_EXCLUSIVE,
        )


RULE = Rule(
    code="L134",
    name="validated-in-the-same-transaction",
    severity=Severity.WARNING,
    condition="VALIDATE CONSTRAINT in the transaction that added the constraint as NOT VALID.",
    effect="The rows are read under the strong lock of ADD CONSTRAINT, just as without NOT VALID.",
    safe_way="VALIDATE CONSTRAINT in the next migration, or behind a COMMIT of the script's own.",
    bad="""\
ALTER TABLE orders ADD CONSTRAINT orders_small CHECK (quantity < 1000) NOT VALID;
ALTER TABLE orders VALIDATE CONSTRAINT orders_small;""",
    good="""\
BEGIN;
ALTER TABLE orders ADD CONSTRAINT orders_small CHECK (quantity < 1000) NOT VALID;
COMMIT;
BEGIN;
ALTER TABLE orders VALIDATE CONSTRAINT orders_small;
COMMIT;""",
    source="PostgreSQL manual, ALTER TABLE, VALIDATE CONSTRAINT",
    on=(ValidateConstraint,),
    check=_check,
    does=Effect.READS_ALL,
)
