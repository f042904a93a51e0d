"""Runs that wait, answered from the command line; the flow runs in another thread, as it would elsewhere."""

from __future__ import annotations

import contextvars
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from prefect import flow
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks import PostgresDatabase
from squizzle.approvals.asked import WaitingApproval
from squizzle.cli.main import run
from squizzle.errors import CloudUnavailableError, RefusedError
from squizzle.postgres.decisions import Answer, ApprovalRules, Entry, Question
from tasks.approval import gate
from tasks.prefect_approvals import PrefectApprovals, open_approvals
from tests.support.processes import wait_until

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.usefixtures("quick_gate")]

TWO = ApprovalRules(approvers=("anna", "ben"), two_people=True)


def question(facts: str) -> Question:
    return Question(gate="test", title="Drop users", plan="`DROP TABLE users`", facts=(facts,), name_to_type="shop")


@contextmanager
def a_run_that_asks(
    name: str, database: PostgresDatabase, rules: ApprovalRules = TWO, asked: Question | None = None
) -> Iterator[dict[str, Any]]:
    """Runs a flow that asks in another thread, and waits for its end; yields what becomes of it."""
    state: dict[str, Any] = {}

    @flow(name="gated", flow_run_name=name)
    def gated() -> str:
        return gate(asked or question(name), database=database, timeout=timedelta(minutes=2), rules=rules).decided_by

    def run_it() -> None:
        state["end"] = gated(return_state=True)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run_it,))
    thread.start()
    try:
        yield state
    finally:
        thread.join()


def waiting_of(prefect: PrefectApprovals, name: str) -> list[WaitingApproval]:
    return [one for one in prefect.waiting() if one.run_name == name]


def wait_for(prefect: PrefectApprovals, name: str, *, approved_by: tuple[str, ...] = ()) -> WaitingApproval:
    def there() -> bool:
        return any(one.asked.approved_by == approved_by for one in waiting_of(prefect, name))

    wait_until(there, f"{name} waits")
    return waiting_of(prefect, name)[0]


def answer_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any, str]:
    capsys.readouterr()
    code = run([*arguments, "--json"])
    printed = capsys.readouterr()
    return code, json.loads(printed.out), printed.err


def test_a_run_that_waits_is_listed_and_two_people_approve_it_from_the_command_line(
    database: PostgresDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_approvals() as prefect, a_run_that_asks("asked → by verb in shop", database) as state:
        first = wait_for(prefect, "asked → by verb in shop")
        digest = question("asked → by verb in shop").digest
        _, listed, _ = answer_of(capsys, "approvals")
        (document,) = [one for one in listed["approvals"] if one["run"] == first.run_id]
        assert (document["plan_digest"], document["name_to_type"], document["needed"]) == (digest, "shop", 2)

        # None of these is an answer: nobody read it, another plan, the name not typed, not one of the list.
        refused = {
            "nobody is at a terminal": [],
            "asks about plan": ["--plan", "0" * 12],
            "typed by hand is ''": ["--plan", digest[:12], "--as", "anna"],
            "may not approve this": ["--plan", digest[:12], "--as", "carl", "--database", "shop"],
        }
        for message, arguments in refused.items():
            code, said, shown = answer_of(capsys, "approve", first.run_id, *arguments)
            assert (code, message in said["error"]["message"]) == (9, True), said
        assert "DROP TABLE users" in shown

        yes = ["--plan", digest[:12], "--database", "shop", "--reason", "go"]
        code, said, _ = answer_of(capsys, "approve", first.run_id, *yes, "--as", "anna")
        assert (code, said["decision"], said["still_needed"]) == (0, "approve", 1)
        second = wait_for(prefect, "asked → by verb in shop", approved_by=("anna",))
        # An answer to the first question is none to the second.
        with pytest.raises(RefusedError, match="asks again"):
            prefect.answer(first, Entry(answer=Answer.APPROVE, by="ben", typed="shop"))
        code, said, _ = answer_of(capsys, "approve", "ASKED to by verb", *yes, "--as", "ben")
        assert (code, said["still_needed"]) == (0, 0)
    assert state["end"].result() == "ben"
    with open_approvals() as prefect:
        outcome = prefect.outcome(second.run_id, second.pause)
    assert outcome.entry == Entry(answer=Answer.APPROVE, by="ben", comment="go", typed="shop")
    assert (outcome.state, outcome.objection) == ("Completed", "")
    code, said, _ = answer_of(capsys, "approve", first.run_id, "--reject")
    assert (code, "does not wait" in said["error"]["message"]) == (9, True)
    assert run(["approvals", "--slack"]) == 2
    assert "add [approvals.slack]" in capsys.readouterr().err


def test_a_rejection_needs_no_name_typed(database: PostgresDatabase, capsys: pytest.CaptureFixture[str]) -> None:
    with open_approvals() as prefect, a_run_that_asks("rejected", database) as state:
        wait_for(prefect, "rejected")
        code, said, _ = answer_of(capsys, "approve", "rejected", "--reject", "--as", "carl", "--reason", "no")
    assert (code, said["decision"]) == (0, "reject")
    with pytest.raises(RefusedError, match=r"rejected by carl at .*: no"):
        state["end"].result()


def test_a_prefect_that_does_not_answer_is_named() -> None:
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        open_approvals() as prefect,
        pytest.raises(CloudUnavailableError, match=r"127\.0\.0\.1:9/api does not answer"),
    ):
        prefect.waiting()
