"""An exclusion constraint has no way that lets clients through."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AddConstraint
from squizzle.analysis.columns import ConstraintKind
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Effect
from squizzle.analysis.rules.rule import Context, Hit, Rule


def _check(action: AddConstraint, context: Context) -> Iterator[Hit]:
    if action.constraint.kind is ConstraintKind.EXCLUDE and not context.is_new(action.table):
        yield Hit(
            message=f"builds the index of an EXCLUDE constraint on {action.table} while nobody can read or write it",
            relation=action.table,
            mode=LockMode.ACCESS_EXCLUSIVE,
            location=action.location,
        )


RULE = Rule(
    code="L112",
    name="exclusion-constraint",
    severity=Severity.WARNING,
    condition="ADD EXCLUDE on a table that was there before.",
    effect="ACCESS EXCLUSIVE while the index is built and all rows are checked; PostgreSQL knows no NOT VALID and no"
    " USING"
    " INDEX for it.",
    safe_way="Announce a maintenance window, or put the rows into a new table that has the constraint from the start.",
    bad="ALTER TABLE orders ADD CONSTRAINT orders_once EXCLUDE USING btree (external_id WITH =);",
    good="""\
CREATE TABLE bookings (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    during tstzrange NOT NULL,
    CONSTRAINT bookings_apart EXCLUDE USING gist (during WITH &&)
);""",
    source="PostgreSQL manual, ALTER TABLE; measured on 15 and 18",
    on=(AddConstraint,),
    check=_check,
    does=Effect.READS_ALL,
)
