"""What travels about statements that run in batches: the policy, and how far each is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

from squizzle.analysis.records import BatchOptions, Statement


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchPolicy:
    """`[batches]` in squizzle.toml: how statements run in batches where their mark says nothing else.

    Attributes:
        size: Rows of the first batch; the next ones follow `target`.
        pause: Between two batches, for others.
        target: How long one batch should take. Its row locks are held as long, so that is what others may have to wait.
        max_replication_lag: While a standby is further behind, no batch begins.
        automatic_rows: UPDATE and DELETE that will change so many rows, as the planner estimates, run in batches
            without a mark; None for never.
    """

    size: int = 5000
    pause: timedelta = timedelta(milliseconds=50)
    target: timedelta = timedelta(milliseconds=500)
    max_replication_lag: timedelta = timedelta(seconds=10)
    automatic_rows: int | None = None

    def with_mark(self, options: BatchOptions) -> BatchPolicy:
        """What counts for one statement: its mark, and where that says nothing the policy."""
        said = {
            name: value
            for name in ("size", "pause", "target", "max_replication_lag")
            if (value := getattr(options, name)) is not None
        }
        return replace(self, **said)


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchedStatement:
    """How far one statement is; it is committed together with every batch.

    Attributes:
        position: The statement's place in its script, counted from 0.
        line: Its line.
        table: The table whose key the ranges are of, with its schema.
        key: The columns of the key.
        until: The highest key when the statement began, as text; None when the table was empty.
        after: Everything up to this key is done; None before the first batch.
        rows: Rows that were changed.
        passed: Rows of the table that were passed, whether they were changed or not; about.
        batches: How many were committed.
        size: Of the next batch, in rows.
        finished: Whether nothing is left.
    """

    position: int
    line: int
    table: str
    key: tuple[str, ...]
    until: tuple[str, ...] | None
    after: tuple[str, ...] | None = None
    rows: int = 0
    passed: int = 0
    batches: int = 0
    size: int
    finished: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchProgress:
    """How far the batched statements of one script are: `squizzle_history.batch_progress`.

    Attributes:
        script: The beginning of the SHA-256 of every statement, so that a changed script is not continued.
        statements: Those that were begun, in their order.
    """

    script: tuple[str, ...]
    statements: tuple[BatchedStatement, ...] = ()

    @property
    def is_begun(self) -> bool:
        """Whether a batch was committed."""
        return any(one.batches > 0 or one.finished for one in self.statements)

    def of(self, position: int) -> BatchedStatement | None:
        """How far the statement at this place is; None when it was not begun."""
        return next((one for one in self.statements if one.position == position), None)

    def with_statement(self, new: BatchedStatement) -> BatchProgress:
        """The same with one statement further on."""
        others = (one for one in self.statements if one.position != new.position)
        return replace(self, statements=tuple(sorted((*others, new), key=lambda one: one.position)))

    def to_json(self) -> dict[str, Any]:
        """For the database."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any] | None) -> BatchProgress | None:
        """From the database; None for a script without batches."""
        if document is None:
            return None
        statements = tuple(_from_columns(**one) for one in document["statements"])
        return cls(script=tuple(document["script"]), statements=statements)


def _from_columns(
    *, key: list[str], until: list[str] | None, after: list[str] | None, **others: Any
) -> BatchedStatement:
    return BatchedStatement(
        key=tuple(key),
        until=None if until is None else tuple(until),
        after=None if after is None else tuple(after),
        **others,
    )


def fingerprints(statements: Sequence[Statement]) -> tuple[str, ...]:
    """What tells whether the statements of a script are still the same."""
    return tuple(hashlib.sha256(one.sql.encode()).hexdigest()[:16] for one in statements)
