"""What people approved or rejected: recorded in the database that it is about, before anything is done.

A run that is killed and started again looks here first, so nobody is asked twice for the same plan. What is asked and
how the answer comes is somebody else's business (`tasks/approval.py`).
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from squizzle.errors import RefusedError
from squizzle.postgres.access import Connection
from squizzle.postgres.own_scripts import OwnTables
from squizzle.postgres.own_tables import ensure_tables, find_tables
from squizzle.postgres.translation import translate_error

# Decisions of one database are written one after the other: the first answer to a question stands.
_WRITING = (0x53515A47, 0)  # "SQZG"
_TABLES = OwnTables(package="squizzle.postgres", script="decision_table")
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
        name_to_type: What whoever approves has to type by hand: the name of the database or the fleet that it is
            about; empty for nothing.
    """

    gate: str
    title: str
    plan: str
    facts: Sequence[str]
    valid_for: timedelta = timedelta(hours=24)
    name_to_type: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of the facts, as 64 hexadecimal digits; a yes without a typed name is none where one is asked for."""
        typed = [{"typed": self.name_to_type}] if self.name_to_type else []
        text = json.dumps([self.gate, *self.facts, *typed], ensure_ascii=True)
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What somebody filled in.

    Attributes:
        answer: What was decided.
        by: Who decided, as they said.
        comment: Why; may be empty.
        typed: The name of the database or fleet, typed by hand.
    """

    answer: Answer
    by: str
    comment: str = ""
    typed: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ApprovalRules:
    """Whose yes counts, and how many it takes. A no counts from anybody.

    Attributes:
        approvers: Who may approve, by name; empty for anybody.
        two_people: Whether it takes two, neither of whom started what is asked about.
        started_by: Who started it, under every name that is known; with two people, none of these may approve.
    """

    approvers: tuple[str, ...] = ()
    two_people: bool = False
    started_by: tuple[str, ...] = ()

    @property
    def needed(self) -> int:
        """So many different people have to approve."""
        return 2 if self.two_people else 1

    def objection(self, entry: Entry, *, name_to_type: str, approved_by: Sequence[str] = ()) -> str:
        """Why an answer does not count, for whoever gave it; empty where it does.

        Args:
            entry: What was filled in.
            name_to_type: What an approval has to have typed by hand; empty for nothing.
            approved_by: Who has approved it already.
        """
        if not entry.by.strip():
            return "a decision without the name of who decided is none"
        if entry.answer is not Answer.APPROVE:
            return ""
        typed = entry.typed.strip()
        if name_to_type and typed != name_to_type:
            return f"the name typed by hand is {typed!r}, and this is about {name_to_type!r}"
        return self._not_counted(entry.by, approved_by)

    def counted(self, rows: Sequence[DecisionRow]) -> tuple[DecisionRow, ...]:
        """The approvals that count: of different people who may, after the last rejection; oldest first."""
        found: list[DecisionRow] = []
        for row in sorted(rows, key=lambda row: row.id):
            if not row.is_approved:
                found.clear()
            elif not self._not_counted(row.decided_by, [one.decided_by for one in found]):
                found.append(row)
        return tuple(found)

    def standing(self, rows: Sequence[DecisionRow]) -> DecisionRow | None:
        """The row that decides: a rejection, or the last approval that it takes. None: somebody has to be asked.

        Args:
            rows: What is recorded about this plan, and still valid.
        """
        counted = self.counted(rows)
        if counted:
            return counted[-1] if len(counted) >= self.needed else None
        return max((row for row in rows if not row.is_approved), key=lambda row: row.id, default=None)

    def _not_counted(self, by: str, approved_by: Sequence[str]) -> str:
        if self.approvers and not _among(by, self.approvers):
            return f"{by} may not approve this; who may: {', '.join(self.approvers)}"
        if self.two_people and _among(by, self.started_by):
            return f"{by} started this, and so cannot be one of the two people who approve it"
        if self.two_people and _among(by, approved_by):
            return f"{by} has approved it already; somebody else has to, too"
        return ""


def same_person(one: str, other: str) -> bool:
    """Whether two names are one person's: capitals and spaces make nobody another."""
    return _folded(one) == _folded(other)


def _folded(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _among(name: str, names: Sequence[str]) -> bool:
    return any(same_person(name, one) for one in names)


ANYBODY = ApprovalRules()


def find_decision(connection: Connection, question: Question, rules: ApprovalRules = ANYBODY) -> DecisionRow | None:
    """The decision that is valid for this plan now; None when somebody still has to decide. Nothing is changed.

    Raises:
        DatabaseError: No right to read the decisions, or the session was lost.
    """
    return rules.standing(find_answers(connection, question))


def find_answers(connection: Connection, question: Question) -> tuple[DecisionRow, ...]:
    """What is recorded about this plan and still valid, oldest first. Nothing is changed.

    Raises:
        DatabaseError: No right to read the decisions, or the session was lost.
    """
    return _read(
        connection,
        "gate = %s AND plan_digest = %s AND decided_at > clock_timestamp() - %s::interval",
        (question.gate, question.digest, question.valid_for),
        doing="look for a recorded decision",
    )


def decisions_between(connection: Connection, begin: datetime, end: datetime) -> tuple[DecisionRow, ...]:
    """What people decided in a time about anything, oldest first; nothing where there is no table. Nothing is changed.

    Raises:
        DatabaseError: No right to read the decisions, or the session was lost.
    """
    return _read(connection, "decided_at BETWEEN %s AND %s", (begin, end), doing="read decisions")


def _read(
    connection: Connection, condition: LiteralString, values: Sequence[object], *, doing: str
) -> tuple[DecisionRow, ...]:
    """Decisions, oldest first; none where there is no table."""
    query = sql.SQL(
        "SELECT id, gate, plan_digest, answer, decided_by, comment, decided_at, run FROM squizzle.decision"
        " WHERE {} ORDER BY id"
    ).format(sql.SQL(condition))
    try:
        if find_tables(connection, _TABLES) is None:
            return ()
        with connection.cursor(row_factory=class_row(DecisionRow)) as cursor:
            rows = cursor.execute(query, values).fetchall()
    except psycopg.Error as exc:
        raise translate_error(exc, doing=doing, needs=_TO_READ) from exc
    return tuple(rows)


def record_decision(
    connection: Connection,
    question: Question,
    answer: Answer,
    *,
    decided_by: str,
    comment: str,
    run: str,
    rules: ApprovalRules = ANYBODY,
) -> DecisionRow:
    """Write a decision before anything is done about it; where one is there by now, that one stands.

    Args:
        connection: A session in the database that the plan is about, or in the one chosen for decisions.
        question: What was asked.
        answer: What was decided.
        decided_by: Who decided, as they said.
        comment: Why; may be empty.
        run: Whose question it was.
        rules: Whose yes counts, and how many it takes.

    Returns:
        The decision that counts; where another person has to approve, too: the approval that is recorded.

    Raises:
        RefusedError: Nobody is named, and nothing was written; or it is an approval that does not count.
        DatabaseError: It cannot be written, so nothing may be done.
    """
    if not decided_by.strip():
        raise RefusedError("a decision without the name of who decided is none", hint="give the name")
    try:
        with connection.transaction():
            connection.execute("SELECT set_config('lock_timeout', %s, true)", (f"{_LOCK_TIMEOUT_MS}ms",))
            connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", _WRITING)
            ensure_tables(connection, _TABLES)
            rows = find_answers(connection, question)
            found = rules.standing(rows)
            if found is None and answer is Answer.APPROVE:
                found = next((row for row in rules.counted(rows) if same_person(row.decided_by, decided_by)), None)
            if found is None:
                connection.execute(
                    "INSERT INTO squizzle.decision (gate, plan_digest, answer, decided_by, comment, plan, run)"
                    " VALUES (%s, %s, %s, %s, %s, %s, %s)",
                    (question.gate, question.digest, answer.value, decided_by.strip(), comment, question.plan, run),
                )
                rows = find_answers(connection, question)
                found = rules.standing(rows) or next(iter(reversed(rules.counted(rows))), None)
    except psycopg.Error as exc:
        raise translate_error(exc, doing="record a decision", needs=_TO_WRITE) from exc
    if found is None:
        raise RefusedError(
            f"the decision about {question.gate} does not count, or was no longer valid when it was recorded",
            hint="run the same again: it asks anew",
        )
    return found
