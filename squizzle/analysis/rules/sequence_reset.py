"""A sequence is set to another number."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Action, Alter, CallFunction
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule


def _check(action: Action, context: Context) -> Iterator[Hit]:
    if isinstance(action, CallFunction) and action.name == "setval":
        yield Hit(message="setval takes effect at once and stays, even when the transaction is rolled back")
    elif isinstance(action, Alter) and _restarts(action) and not context.is_new(action.name):
        yield Hit(
            message=f"restarts {action.name}: numbers that are in use come again",
            relation=action.name,
            location=action.location,
        )


def _restarts(action: Alter) -> bool:
    return action.kind == "SEQUENCE" and any(name == "restart" for name, _value in action.options)


RULE = Rule(
    code="D107",
    name="sequence-reset",
    severity=Severity.WARNING,
    condition="setval(), or ALTER SEQUENCE … RESTART, of a sequence that was there before.",
    effect="Numbers come twice, and inserts fail on their primary key. setval is not undone by a rollback, so even a"
    " rehearsal in a transaction that is rolled back changes the sequence.",
    safe_way="Only ever upwards, to a number from the data: setval(…, greatest(nextval(…), (SELECT max(id) FROM …))).",
    bad="ALTER SEQUENCE invoice_numbers RESTART WITH 1;",
    good="ALTER SEQUENCE invoice_numbers CACHE 10;",
    source="PostgreSQL manual, Sequence Manipulation Functions; measured on 15 and 18",
    on=(CallFunction, Alter),
    check=_check,
)
