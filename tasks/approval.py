"""The one gate for every approval: a recorded decision counts; otherwise the run waits for a person, in Prefect's UI.

The run pauses and does not suspend: the process that made the plan carries it out when it is approved, two seconds
later, and a plan of the moment (whom to end, which tables to clean) would be another one in a run that begins anew. A
process that dies while it waits has changed nothing; run the same again (docs/adr/0023).
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal, cast

from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run
from pydantic import ConfigDict, Field, JsonValue

from squizzle.approvals.asked import KEYWORD, SHORT, Asked, asked_document, asked_text
from squizzle.durations import words
from squizzle.errors import RefusedError, UndecidedError
from squizzle.postgres.access import connect
from squizzle.postgres.decisions import (
    ANYBODY,
    Answer,
    ApprovalRules,
    DecisionRow,
    Entry,
    Question,
    find_answers,
    record_decision,
)
from tasks.markdown_artifact import create_markdown_artifact
from tasks.outage import publish
from tasks.sources import DatabaseSource
from tasks.steps import log_line, now, run_name, step

# A read of one run's state; shorter gains nothing that a person would notice.
_POLL_S = 2
_REQUESTED = "squizzle.approval.requested"
_HOW = "Answer by Resume in the menu ⋮ of the run's page, or by `squizzle approve {run}`."


class Approval(RunInput):
    """The form. Decision and name have no defaults, or a run set going by accident would be one that was approved."""

    decision: Literal["approve", "reject"] = Field(
        title="Decision",
        description="Approve: what is written above is done at once. Reject: the run ends, and nothing is done.",
    )
    approver: str = Field(
        title="Your name",
        min_length=2,
        max_length=200,
        description="As your team knows you; it is recorded with the decision, in the database that it is about.",
    )
    comment: str = Field(
        default="", title="Reason", max_length=2000, description="Why; recorded and reported with the decision."
    )


class ApprovalByName(Approval):
    """The form where a yes takes more than a click: the name of what is changed, typed by hand."""

    typed_name: str = Field(
        default="",
        title="Name of the database or fleet",
        max_length=200,
        description="To approve, type the name of what is changed by hand, exactly. To reject, it may stay empty.",
    )


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


def gate(
    question: Question,
    *,
    database: DatabaseSource,
    timeout: timedelta,
    rules: ApprovalRules = ANYBODY,
    started_by: str = "",
) -> DecisionRow:
    """Let a flow go on only when a person approved this very plan; call it in a flow, outside of tasks.

    An answer that does not count (the name typed by hand is another one, the person may not approve) is asked again,
    with what was wrong, until the time is over.

    Args:
        question: What is asked.
        database: Where decisions are recorded: the database that the plan is about, or one that stays when that goes.
        timeout: After that the run ends, and nothing was done.
        rules: Whose yes counts, and how many people it takes.
        started_by: Who started the run, where that is known; added to what Prefect knows and to `rules`.

    Returns:
        The recorded approval; of two, the second.

    Raises:
        RefusedError: It was rejected.
        UndecidedError: Nobody decided in time.
        DatabaseError: The decision cannot be read or recorded, so nothing may be done.
    """
    rules = replace(rules, started_by=_starters(rules, started_by))
    until = now() + timeout
    rows = look_for_decisions(database, question)
    wrong = ""
    while (found := rules.standing(rows)) is None:
        approved_by = tuple(row.decided_by for row in rules.counted(rows))
        asked = Asked.of(question, rules, approved_by=approved_by, wrong=wrong)
        asker = _asker.get()
        answer = asker(question) if asker else _ask_in_prefect(question, asked, until, timeout)
        wrong = asked.objection(entry_of(answer))
        if not wrong:
            rows = keep_decision(database, question, answer, rules)
        elif asker:
            raise RefusedError(f"{question.title}: {wrong}", hint="nothing was done; run the same again")
        else:
            log_line(f"asked again: {wrong}", logging.WARNING)
    if not found.is_approved:
        raise RefusedError(
            f"{question.title}: {found.sentence()}",
            hint=f"for this very plan that stands for {question.valid_for}; another plan is asked about anew",
        )
    return found


def entry_of(answer: Approval) -> Entry:
    """What was filled in, as the rules judge it."""
    typed = answer.typed_name if isinstance(answer, ApprovalByName) else ""
    return Entry(answer=Answer(answer.decision), by=answer.approver, comment=answer.comment, typed=typed)


def _starters(rules: ApprovalRules, started_by: str) -> tuple[str, ...]:
    context = FlowRunContext.get()
    creator = context.flow_run.created_by if context and context.flow_run else None
    known = (*rules.started_by, started_by, (creator.display_value if creator else "") or "")
    return tuple(dict.fromkeys(name for name in known if name.strip()))


def _ask_in_prefect(question: Question, asked: Asked, until: datetime, timeout: timedelta) -> Approval:
    left = until - now()
    if left <= timedelta():
        raise _nobody_decided(asked, timeout)
    text = asked_text(asked, question.plan, until=until)
    ask(asked, text)
    try:
        answer = pause_flow_run(
            wait_for_input=form_of(asked, text),
            timeout=max(1, round(left.total_seconds())),
            poll_interval=_POLL_S,
            # Never the same: with the key of an earlier pause its answer would count without a question.
            key=f"{question.gate}-{question.digest[:SHORT]}-{secrets.token_hex(4)}",
        )
    except FlowPauseTimeout:
        raise _nobody_decided(asked, timeout) from None
    if answer is None:
        raise RefusedError(
            f"{question.title}: the run was resumed without a decision, so nothing was done",
            hint="run the same again, and decide by the form (Resume)",
        )
    return answer


def _nobody_decided(asked: Asked, timeout: timedelta) -> UndecidedError:
    wrong = f" (the last answer did not count: {asked.wrong})" if asked.wrong else ""
    return UndecidedError(
        f"{asked.title}: nobody decided within {words(timeout)}, so nothing was done{wrong}",
        hint="run the same again when somebody is there who may decide",
    )


def form_of(asked: Asked, text: str) -> type[Approval]:
    """The form for one question, which carries the question itself for whoever answers elsewhere."""
    base = ApprovalByName if asked.name_to_type else Approval
    form = base.with_initial_data(description=text)
    extra = cast("dict[str, JsonValue]", {KEYWORD: asked_document(asked)})
    form.model_config = ConfigDict(**form.model_config, json_schema_extra=extra)
    form.model_rebuild(force=True)
    return form


def _found(rows: tuple[DecisionRow, ...]) -> str:
    return "; ".join(row.sentence() for row in rows) or "nobody has decided yet"


@step("Look for a recorded decision", timeout=timedelta(minutes=1), detail=_found)
def look_for_decisions(database: DatabaseSource, question: Question) -> tuple[DecisionRow, ...]:
    """The answers that are valid for this plan, from earlier runs."""
    with connect(database.access(), database.database, purpose="decision", read_only=True) as connection:
        return find_answers(connection, question)


@step("Ask for approval", timeout=timedelta(minutes=5))
def ask(asked: Asked, text: str) -> None:
    """Publish what will be done, and send an event that notifications can hang on."""
    shown = f"{text}\n\n{_HOW.format(run=flow_run.id)}\n"
    publish(create_markdown_artifact, shown, key=f"approval-{asked.gate}", description=asked.title)
    emit_event(
        event=_REQUESTED,
        resource={"prefect.resource.id": f"squizzle.gate.{asked.gate}", "prefect.resource.name": asked.title},
        payload={
            "plan_digest": asked.plan_digest,
            "flow_run_id": str(flow_run.id),
            "flow_run_name": flow_run.name or "",
            "approved_by": list(asked.approved_by),
            "last_answer_refused": asked.wrong,
        },
    )
    log_line(f"waiting for approval: {asked.title}. {_HOW.format(run=flow_run.id)}")


@step("Record the decision", timeout=timedelta(minutes=1), detail=lambda rows: rows[-1].sentence())
def keep_decision(
    database: DatabaseSource, question: Question, answer: Approval, rules: ApprovalRules
) -> tuple[DecisionRow, ...]:
    """Write it before it is acted on; where another run was answered first, that answer counts."""
    with connect(database.access(), database.database, purpose="decision") as connection:
        record_decision(
            connection,
            question,
            Answer(answer.decision),
            decided_by=answer.approver,
            comment=answer.comment,
            run=run_name(),
            rules=rules,
        )
        return find_answers(connection, question)
