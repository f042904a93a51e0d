"""What people approved or rejected: recorded in the database that it is about, before anything is done.

A run that is killed and started again looks here first, so nobody is asked twice for the same plan. What is asked and
how the answer comes is somebody else's business (`tasks/approval.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import psycopg
from psycopg.rows import class_row

from squizzle.errors import RefusedError
from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error

# Decisions of one database are written one after the other: the first answer to a question stands.
_WRITING = (0x53515A47, 0)  # "SQZG"
_TO_READ = "USAGE on the schema squizzle and SELECT on squizzle.decision"
_TO_WRITE = "CREATE on the database; or where squizzle.decision is there already, SELECT and INSERT on it"
_LOCK_TIMEOUT_MS = 5000


class Answer(StrEnum):
    """What was decided."""

    APPROVE = "approve"
    REJECT = "reject"


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What somebody has to decide.

    Attributes:
        gate: What it is about, as part of a key: `release-locks`; `[a-z0-9-]` only.
        title: In one line, for a list of runs that wait.
        plan: What will be done, as Markdown, for the one who decides; it is kept with the decision.
        facts: What the decision holds for. Two plans with the same facts are the same plan, so what changes by itself
            while nobody decides (ages, counts) does not belong here.
        valid_for: A decision that is older is none any more.
    """

    gate: str
    title: str
    plan: str
    facts: Sequence[str]
    valid_for: timedelta = timedelta(hours=24)

    @property
    def digest(self) -> str:
        """SHA-256 of the facts, as 64 hexadecimal digits."""
        text = json.dumps([self.gate, *self.facts], ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class DecisionRow:
    """One row of `squizzle.decision`."""

    id: int
    gate: str
    plan_digest: str
    answer: str
    decided_by: str
    comment: str
    decided_at: datetime
    run: str

    @property
    def is_approved(self) -> bool:
        """Whether it may be done."""
        return self.answer == Answer.APPROVE

    def sentence(self) -> str:
        """Who decided what, when, why."""
        what = "approved" if self.is_approved else "rejected"
        why = f": {self.comment}" if self.comment else ""
        return f"{what} by {self.decided_by} at {self.decided_at:%Y-%m-%d %H:%M:%S %Z}{why}"


def find_decision(connection: Connection, question: Question) -> DecisionRow | None:
    """The decision that is valid for this plan now; None when nobody has decided. Nothing is changed.

    Raises:
        DatabaseError: No right to read the decisions, or the session was lost.
    """
    try:
        if connection.execute("SELECT to_regclass('squizzle.decision') IS NULL").fetchone() == (True,):
            return None
        with connection.cursor(row_factory=class_row(DecisionRow)) as cursor:
            return cursor.execute(
                "SELECT id, gate, plan_digest, answer, decided_by, comment, decided_at, run FROM squizzle.decision"
                " WHERE gate = %s AND plan_digest = %s AND decided_at > clock_timestamp() - %s::interval"
                " ORDER BY id DESC LIMIT 1",
                (question.gate, question.digest, question.valid_for),
            ).fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="look for a recorded decision", needs=_TO_READ) from exc


def record_decision(
    connection: Connection, question: Question, answer: Answer, *, decided_by: str, comment: str, run: str
) -> DecisionRow:
    """Write a decision before anything is done about it; where one is there by now, that one stands.

    Args:
        connection: A session in the database that the plan is about, or in the one chosen for decisions.
        question: What was asked.
        answer: What was decided.
        decided_by: Who decided, as they said.
        comment: Why; may be empty.
        run: Whose question it was.

    Returns:
        The decision that counts.

    Raises:
        RefusedError: Nobody is named; nothing was written.
        DatabaseError: It cannot be written, so nothing may be done.
    """
    if not decided_by.strip():
        raise RefusedError("a decision without the name of who decided is none", hint="give the name")
    try:
        with connection.transaction():
            connection.execute("SELECT set_config('lock_timeout', %s, true)", (f"{_LOCK_TIMEOUT_MS}ms",))
            connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", _WRITING)
            if connection.execute("SELECT to_regclass('squizzle.decision') IS NULL").fetchone() == (True,):
                connection.execute(load_sql("squizzle.postgres", "decision_table"))
            found = find_decision(connection, question)
            if found is None:
                connection.execute(
                    "INSERT INTO squizzle.decision (gate, plan_digest, answer, decided_by, comment, plan, run)"
                    " VALUES (%s, %s, %s, %s, %s, %s, %s)",
                    (question.gate, question.digest, answer.value, decided_by.strip(), comment, question.plan, run),
                )
                found = find_decision(connection, question)
    except psycopg.Error as exc:
        raise translate_error(exc, doing="record a decision", needs=_TO_WRITE) from exc
    if found is None:
        raise RefusedError(
            f"the decision about {question.gate} was no longer valid when it was recorded",
            hint="run the same again: it asks anew",
        )
    return found
