"""How long each statement may wait for its locks and may take: decided here, for the plan and the executor alike."""

from __future__ import annotations

from datetime import timedelta

from squizzle.analysis.records import Statement
from squizzle.migrations.batch_records import BatchPolicy
from squizzle.migrations.records import Timeouts
from squizzle.migrations.units import UnitKind

# Statements that take row locks and a lock on the table that only DDL conflicts with.
_ROW_STATEMENTS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "VALUES", "COPY", "TABLE"})
# lock_timeout stays below statement_timeout, so that the message says which of the two it was.
_BEFORE_STATEMENT_TIMEOUT = timedelta(seconds=1)


def lock_timeout_of(statement: Statement, kind: UnitKind, timeouts: Timeouts) -> timedelta:
    """How long a statement may wait for a lock before it is rolled back and tried again.

    A wait of CREATE INDEX CONCURRENTLY for old transactions is a lock wait, too, and nobody queues behind it; so a
    statement outside a transaction may wait nearly as long as it may work.
    """
    if kind is UnitKind.ALONE:
        return timeouts.statement - _BEFORE_STATEMENT_TIMEOUT
    return timeouts.rows if statement.words[:1] and statement.words[0] in _ROW_STATEMENTS else timeouts.lock


def batch_lock_timeout(policy: BatchPolicy, timeouts: Timeouts) -> timedelta:
    """How long a batch may wait for a lock: it holds row locks meanwhile, so no longer than a batch should take.

    Longer only where so many tries as are allowed would be over long before `budget` is.
    """
    return min(timeouts.rows, max(policy.target, timeouts.budget / timeouts.attempts))


def sets_lock_timeout(statement: Statement) -> bool:
    """Whether the script itself says how long the statements behind this one may wait."""
    return statement.words[:1] == ("SET",) and "LOCK_TIMEOUT" in statement.words[1:3]
