"""The one gate for every approval: a recorded decision counts; otherwise the run waits for a person, in Prefect's UI.

The run pauses and does not suspend: the process that made the plan carries it out when it is approved, two seconds
later, and a plan of the moment (whom to end, which tables to clean) would be another one in a run that begins anew. A
process that dies while it waits has changed nothing; run the same again (docs/adr/0023).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Literal

from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run
from pydantic import Field

from squizzle.durations import words
from squizzle.errors import RefusedError
from squizzle.postgres.access import connect
from squizzle.postgres.decisions import Answer, DecisionRow, Question, find_decision, record_decision
from tasks.sources import DatabaseSource
from tasks.steps import log_line, run_name, step

# A read of one run's state; shorter gains nothing that a person would notice.
_POLL_S = 2
_REQUESTED = "squizzle.approval.requested"


class Approval(RunInput):
    """The form. Decision and name have no defaults, or a run set going by accident would be one that was approved."""

    decision: Literal["approve", "reject"] = Field(title="Decision", description="Approve: it is done at once.")
    approver: str = Field(title="Your name", min_length=2, max_length=200, description="It is recorded.")
    comment: str = Field(default="", title="Comment", max_length=2000, description="Why; it is recorded, too.")


# Somebody who is there and is asked instead of Prefect's UI: a person at a terminal, for one.
Asker = Callable[[Question], Approval]
_asker: ContextVar[Asker | None] = ContextVar("squizzle_asker", default=None)


@contextmanager
def answered_by(asker: Asker) -> Iterator[None]:
    """Ask somebody who is there about what comes up inside, instead of pausing the run.

    Args:
        asker: Gives the answer, or raises RefusedError where nobody can be asked.
    """
    token = _asker.set(asker)
    try:
        yield
    finally:
        _asker.reset(token)


def gate(question: Question, *, database: DatabaseSource, timeout: timedelta) -> DecisionRow:
    """Let a flow go on only when a person approved this very plan; call it in a flow, outside of tasks.

    Args:
        question: What is asked.
        database: Where decisions are recorded: the database that the plan is about, or one that stays when that goes.
        timeout: After that the run ends, and nothing was done.

    Returns:
        The recorded approval.

    Raises:
        RefusedError: It was rejected, or nobody decided in time.
        DatabaseError: The decision cannot be read or recorded, so nothing may be done.
    """
    found = look_for_decision(database, question)
    if found is None:
        asker = _asker.get()
        if asker is None:
            ask(question, timeout)
        answer = _wait(question, timeout) if asker is None else asker(question)
        found = keep_decision(database, question, answer)
    if not found.is_approved:
        raise RefusedError(
            f"{question.title}: {found.sentence()}",
            hint=f"for this very plan that stands for {question.valid_for}; another plan is asked about anew",
        )
    return found


def _wait(question: Question, timeout: timedelta) -> Approval:
    form = Approval.with_initial_data(description=f"# {question.title}\n\n{question.plan}")
    # Unique for each gate and each try: with the key of an earlier pause its answer would count without a question.
    key = f"{question.gate}-{question.digest[:12]}-r{flow_run.run_count or 1}"
    try:
        answer = pause_flow_run(
            wait_for_input=form, timeout=round(timeout.total_seconds()), poll_interval=_POLL_S, key=key
        )
    except FlowPauseTimeout:
        raise RefusedError(
            f"{question.title}: nobody decided within {words(timeout)}, so nothing was done",
            hint="run the same again when somebody is there who may decide",
        ) from None
    if answer is None:
        raise RefusedError(
            f"{question.title}: the run was resumed without a decision, so nothing was done",
            hint="run the same again, and decide by the form (Resume)",
        )
    return answer


def _found(row: DecisionRow | None) -> str:
    return row.sentence() if row else "nobody has decided yet"


@step("Look for a recorded decision", timeout=timedelta(minutes=1), detail=_found)
def look_for_decision(database: DatabaseSource, question: Question) -> DecisionRow | None:
    """The decision that is valid for this plan, from an earlier run."""
    with connect(database.access(), database.database, purpose="decision", read_only=True) as connection:
        return find_decision(connection, question)


@step("Ask for approval", timeout=timedelta(minutes=5))
def ask(question: Question, timeout: timedelta) -> None:
    """Publish what will be done, and send an event that notifications can hang on."""
    text = f"# {question.title}\n\nTo decide: *Resume* on this run, within {words(timeout)}.\n\n{question.plan}\n"
    create_markdown_artifact(text, key=f"approval-{question.gate}", description=question.title)
    emit_event(
        event=_REQUESTED,
        resource={"prefect.resource.id": f"squizzle.gate.{question.gate}", "prefect.resource.name": question.title},
        payload={"plan_digest": question.digest, "flow_run_id": str(flow_run.id), "flow_run_name": flow_run.name or ""},
    )
    log_line(f"waiting for approval: {question.title}")


@step("Record the decision", timeout=timedelta(minutes=1), detail=lambda row: row.sentence())
def keep_decision(database: DatabaseSource, question: Question, answer: Approval) -> DecisionRow:
    """Write it before it is acted on; where another run was answered first, that answer counts."""
    with connect(database.access(), database.database, purpose="decision") as connection:
        return record_decision(
            connection,
            question,
            Answer(answer.decision),
            decided_by=answer.approver,
            comment=answer.comment,
            run=run_name(),
        )
