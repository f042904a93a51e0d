"""What travels about statements that run in batches: the policy, and how far each is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from squizzle.analysis.records import BatchOptions, Statement
from squizzle.later_keys import known_keys


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
    pause: timedelta = timedelta(milliseconds=20)
    target: timedelta = timedelta(milliseconds=100)
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
class Share:
    """The part of its rows that one statement of a script does; what comes behind the statement is not begun.

    Attributes:
        position: The statement's place in its script, counted from 0.
        pct: So much of its rows is done afterwards, what earlier shares did included; from 1 to 99.
    """

    position: int
    pct: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ShareEnd:
    """A share that was done.

    Attributes:
        pct: So much of the statement's rows was done.
        rows: Rows that were changed until then.
        at: When, by the server's clock.
    """

    pct: int
    rows: int
    at: datetime


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
        share_of: What its shares are shares of, counted when the first one began: rows that it has to change; None for
            a statement that is not done by share.
        by_condition: Whether only rows that its condition holds for were counted, or all that it passes.
        shares: Those that were done, in order.
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
    share_of: int | None = None
    by_condition: bool = False
    shares: tuple[ShareEnd, ...] = ()

    def __str__(self) -> str:
        """How far it is, in a clause, where it is done by share."""
        pct = self.shares[-1].pct if self.shares else 0
        counted = "" if self.by_condition else " that it passes"
        place = f" up to {', '.join(self.key)} = {', '.join(self.after)}" if self.after else ""
        return f"{pct} % of {self.share_of or 0:,} rows{counted}{place}, {self.rows:,} changed"


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchProgress:
    """How far the batched statements of one script are: `squizzle_history.batch_progress`.

    Attributes:
        script: The beginning of the SHA-256 of every statement, so that a changed script is not continued.
        statements: Those that were begun, in their order.
        stopped: Whether the run ended behind a share, as it was meant to.
    """

    script: tuple[str, ...]
    statements: tuple[BatchedStatement, ...] = ()
    stopped: bool = False

    @property
    def is_begun(self) -> bool:
        """Whether a batch was committed."""
        return any(one.batches > 0 or one.finished for one in self.statements)

    @property
    def staged(self) -> BatchedStatement | None:
        """The statement that is done by share; None when there is none."""
        return next((one for one in self.statements if one.share_of is not None), None)

    def share_done(self, pct: int) -> ShareEnd | None:
        """The first share that was done and is not smaller; None when there is none."""
        shares = self.staged.shares if self.staged else ()
        return next((one for one in shares if one.pct >= pct), None)

    def of(self, position: int) -> BatchedStatement | None:
        """How far the statement at this place is; None when it was not begun."""
        return next((one for one in self.statements if one.position == position), None)

    def with_statement(self, new: BatchedStatement) -> BatchProgress:
        """The same with one statement further on."""
        others = (one for one in self.statements if one.position != new.position)
        return replace(self, statements=tuple(sorted((*others, new), key=lambda one: one.position)))

    def to_json(self) -> dict[str, Any]:
        """For the database."""
        return {
            "script": self.script,
            "statements": [asdict(one) | {"shares": [*map(_share_json, one.shares)]} for one in self.statements],
            "stopped": self.stopped,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any] | None) -> BatchProgress | None:
        """From the database; None for a script without batches."""
        if document is None:
            return None
        statements = tuple(_from_columns(**known_keys(one, BatchedStatement)) for one in document["statements"])
        # One of an earlier version knows nothing of shares.
        return cls(script=tuple(document["script"]), statements=statements, stopped=document.get("stopped", False))


def _share_json(share: ShareEnd) -> dict[str, Any]:
    return {"pct": share.pct, "rows": share.rows, "at": share.at.isoformat()}


def _from_columns(
    *,
    key: list[str],
    until: list[str] | None,
    after: list[str] | None,
    shares: Sequence[Mapping[str, Any]] = (),
    **others: Any,
) -> BatchedStatement:
    return BatchedStatement(
        key=tuple(key),
        until=None if until is None else tuple(until),
        after=None if after is None else tuple(after),
        shares=tuple(
            ShareEnd(pct=one["pct"], rows=one["rows"], at=datetime.fromisoformat(one["at"])) for one in shares
        ),
        **others,
    )


def fingerprints(statements: Sequence[Statement]) -> tuple[str, ...]:
    """What tells whether the statements of a script are still the same."""
    return tuple(hashlib.sha256(one.sql.encode()).hexdigest()[:16] for one in statements)
