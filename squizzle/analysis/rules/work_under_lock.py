"""Long work is done while a strong lock is held."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import (
    AlterColumnType,
    AnyStatement,
    AttachPartition,
    Refresh,
    SetNotNull,
    ValidateConstraint,
)
from squizzle.analysis.columns import ConstraintKind
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Effect, RelationName
from squizzle.analysis.row_actions import ChangeRows, Reach, Verb
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.type_changes import TypeChange, cost_of

_LONG = frozenset({Effect.REWRITES, Effect.MAY_REWRITE, Effect.READS_ALL})


def _check(_action: AnyStatement, context: Context) -> Iterator[Hit]:
    shut = context.state.shut
    work = _work(context) if shut is not None and context.in_transaction else ""
    if not work:
        return
    yield Hit(
        message=f"{work} while this transaction still keeps everybody out of {shut}",
        hint=f"let the migration end before this statement, so that {shut} is free; the next one does the long work",
        relation=shut,
        mode=LockMode.ACCESS_EXCLUSIVE,
    )


def _work(context: Context) -> str:
    """What takes long about a statement; empty when nothing does."""
    for action in context.summary.actions:
        if isinstance(action, ValidateConstraint) and context.state.added_just_now(action.table, action.name):
            return ""  # validated_in_the_same_transaction says it
    for relation, effect in context.summary.forecast.effects:
        # One that is alone reported by its own rule; here it is what makes a lock long that was short.
        if effect in _LONG and not context.is_new(relation) and not _is_quick(relation, context):
            return f"{effect} {relation}"
    for action in context.summary.actions:
        if isinstance(action, ChangeRows) and _is_large(action) and not context.is_new(action.table):
            return f"{action.verb} works through {action.table}"
        if isinstance(action, Refresh) and not context.is_new(action.table):
            return f"fills {action.table} anew"
    return ""


def _is_large(action: ChangeRows) -> bool:
    return action.verb is not Verb.INSERT or (action.from_query and action.reach is Reach.ALL)


def _is_quick(relation: RelationName, context: Context) -> bool:
    """Whether the forecast says more than is true: what scripts told about the table makes the work unnecessary."""
    table = context.known(relation)
    quick = []
    for action in context.summary.actions:
        if isinstance(action, SetNotNull):
            quick.append(table.is_not_null(action.column) or relation in context.state.proven)
        elif isinstance(action, AlterColumnType):
            quick.append(cost_of(table.type_of(action.column), action.type) is TypeChange.INSTANT)
        elif isinstance(action, AttachPartition):
            checks = context.known(action.partition).constraints.values()
            quick.append(any(one.kind is ConstraintKind.CHECK and one.validated for one in checks))
    return bool(quick) and all(quick)


RULE = Rule(
    code="L129",
    name="work-under-lock",
    severity=Severity.WARNING,
    condition="A statement that reads, writes anew or changes many rows, behind one that took ACCESS EXCLUSIVE on a"
    " table in"
    " the same transaction.",
    effect="The lock that was meant for a moment is held until the work is done and committed: reads and writes wait.",
    safe_way="Long work in a migration of its own, without a strong lock before it.",
    bad="ALTER TABLE users ADD COLUMN city text;\nUPDATE users SET city = (SELECT a.city FROM addresses a WHERE"
    " a.user_id = users.id) WHERE age > 30;",
    good="ALTER TABLE users ADD COLUMN city text;",
    source="PostgreSQL manual, Explicit Locking: locks are held until the transaction ends",
    on=(AnyStatement,),
    check=_check,
)
