"""The gate on a real Prefect server: approve, reject, nobody, and a run that was killed after the answer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.settings import PREFECT_API_URL

from blocks import PostgresDatabase
from squizzle.errors import RefusedError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.decisions import (
    ANYBODY,
    Answer,
    ApprovalRules,
    Question,
    find_answers,
    find_decision,
    record_decision,
)
from squizzle.reports.terminal import StepView
from tasks.approval import gate
from tasks.in_this_process import ask_at_terminal
from tests.flows.conftest import somebody_answers, texts_of

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.usefixtures("quick_gate")]

YES = {"decision": "approve", "approver": "anna", "comment": "go"}
MINUTE = timedelta(minutes=1)


@pytest.fixture
def connection(access: ServerAccess, new_database: str) -> Iterator[Connection]:
    with connect(access, new_database, purpose="test") as opened:
        yield opened


def question(*facts: str, gate: str = "test", name_to_type: str = "") -> Question:
    plan = "`DROP TABLE users`"
    return Question(gate=gate, title="Drop the users", plan=plan, facts=facts, name_to_type=name_to_type)


def asking(
    name: str,
    *,
    database: PostgresDatabase,
    facts: str,
    timeout: timedelta = MINUTE,
    return_state: bool = True,
    rules: ApprovalRules = ANYBODY,
    name_to_type: str = "",
) -> Any:
    @flow(name="gated", flow_run_name=name)
    def gated() -> str:
        asked = question(facts, name_to_type=name_to_type)
        row = gate(asked, database=database, timeout=timeout, rules=rules, started_by="Zoe")
        return row.decided_by

    return gated(return_state=return_state)


def rows(connection: Connection, facts: str) -> int:
    row = connection.execute(
        "SELECT count(*) FROM squizzle.decision WHERE plan_digest = %s", (question(facts).digest,)
    ).fetchone()
    return int(row[0]) if row else -1


def test_an_approval_is_recorded_and_the_same_plan_is_never_asked_about_again(
    database: PostgresDatabase, connection: Connection
) -> None:
    nameless = {"decision": "approve", "approver": "", "comment": ""}
    with somebody_answers("first", {"approver": "anna"}, nameless, YES) as refusals:
        first = asking("first", database=database, facts="plan a")
    again = asking("again", database=database, facts="plan a")

    assert first.is_completed(), first.message
    assert len(refusals) == 2
    assert (first.result(), again.result()) == ("anna", "anna")
    assert rows(connection, "plan a") == 1
    found = find_decision(connection, question("plan a"))
    assert found is not None
    assert (found.comment, found.is_approved) == ("go", True)
    assert found.run.startswith("flow run first on ")
    # Another plan, another gate, or a decision that is too old: none of these is approved by it.
    assert find_decision(connection, question("plan b")) is None
    assert find_decision(connection, question("plan a", gate="other")) is None
    connection.execute("UPDATE squizzle.decision SET decided_at = decided_at - interval '25 hours'")
    assert find_decision(connection, question("plan a")) is None


def test_a_rejection_ends_this_run_and_the_next_one_without_asking(
    database: PostgresDatabase, connection: Connection
) -> None:
    with somebody_answers("no", {"decision": "reject", "approver": "ben", "comment": "not on a Friday"}):
        first = asking("no", database=database, facts="plan c")
    again = asking("no again", database=database, facts="plan c")

    for state in (first, again):
        assert state.is_failed()
        with pytest.raises(RefusedError, match=r"rejected by ben at .*: not on a Friday"):
            state.result()
    assert rows(connection, "plan c") == 1


def test_when_nobody_decides_nothing_is_recorded_and_the_run_fails(
    database: PostgresDatabase, connection: Connection
) -> None:
    with pytest.raises(RefusedError, match=r"nobody decided within 1\.0 s"):
        asking("nobody", database=database, facts="plan d", timeout=timedelta(seconds=1), return_state=False)

    assert find_decision(connection, question("plan d")) is None


def test_an_answer_that_does_not_count_is_asked_again_with_what_was_wrong_until_two_people_approved(
    database: PostgresDatabase, connection: Connection
) -> None:
    rules = ApprovalRules(approvers=("anna", "ben", "zoe"), two_people=True)
    yes = {"decision": "approve", "comment": ""}
    answers = (
        {**yes, "approver": "anna", "typed_name": "shop-test"},
        {**yes, "approver": "carl", "typed_name": "shop"},
        {**yes, "approver": "zoe", "typed_name": "shop"},
        {**yes, "approver": "anna", "typed_name": "shop"},
        {**yes, "approver": "ANNA", "typed_name": "shop"},
        {**yes, "approver": "ben", "typed_name": "shop"},
    )
    with somebody_answers("two", answers[0], again=answers[1:]) as refusals:
        state = asking("two", database=database, facts="plan i", rules=rules, name_to_type="shop")

    assert state.is_completed(), state.message
    assert refusals == []
    recorded = find_answers(connection, question("plan i", name_to_type="shop"))
    assert [row.decided_by for row in recorded] == ["anna", "ben"]
    texts = texts_of(state.state_details.flow_run_id)
    assert len(texts) == len(answers)
    for text, wrong in zip(
        texts,
        (
            "Type by hand** what it is about, to approve: `shop`",
            "the name typed by hand is 'shop-test', and this is about 'shop'",
            "carl may not approve this; who may: anna, ben, zoe",
            "zoe started this",
            "**Approved already** by anna; 1 more to go",
            "ANNA has approved it already; somebody else has to, too",
        ),
        strict=True,
    ):
        assert wrong in text
    # Who may not approve may say no; a yes of one person, or one without the name, is none where two are asked for.
    assert rules.standing(recorded[:1]) is None
    assert rules.standing(find_answers(connection, question("plan i"))) is None
    with somebody_answers("stop", {"decision": "reject", "approver": "carl"}):
        stopped = asking("stop", database=database, facts="plan j", rules=rules, name_to_type="shop")
    with pytest.raises(RefusedError, match="rejected by carl"):
        stopped.result()


KILLED = """
import os, sys
from datetime import timedelta
from prefect import flow
from blocks import PostgresDatabase
from squizzle.postgres.decisions import Question
from tasks import approval
approval._POLL_S = 0.2
@flow(name="gated", flow_run_name="killed")
def gated():
    plan = Question(gate="test", title="Drop the users", plan="`DROP TABLE users`", facts=("plan e",))
    approval.gate(plan, database=PostgresDatabase.load(sys.argv[1]), timeout=timedelta(minutes=5))
    os.kill(os.getpid(), 9)
gated()
"""


def test_a_run_that_is_killed_after_the_answer_and_started_again_goes_on_without_asking(
    database: PostgresDatabase, connection: Connection, project_root: Path
) -> None:
    name = database._block_document_name
    assert name is not None
    with somebody_answers("killed", YES):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, name],
            cwd=project_root,
            env={**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())},
            check=False,
            capture_output=True,
        )
    assert done.returncode == -9, done.stderr.decode()

    again = asking("after the kill", database=database, facts="plan e")

    assert again.is_completed(), again.message
    assert rows(connection, "plan e") == 1


def test_the_first_answer_stands(connection: Connection) -> None:
    plan = question("plan f")
    first = record_decision(connection, plan, Answer.REJECT, decided_by="ben", comment="", run="one")
    second = record_decision(connection, plan, Answer.APPROVE, decided_by="anna", comment="", run="two")

    assert first == second
    assert not second.is_approved
    with pytest.raises(RefusedError, match="without the name"):
        record_decision(connection, question("plan g"), Answer.APPROVE, decided_by=" ", comment="", run="one")


def test_where_nobody_is_at_a_terminal_a_loss_is_refused() -> None:
    with pytest.raises(RefusedError, match="Drop the users: nobody is at a terminal to agree"):
        ask_at_terminal(StepView("test"), "run it at a terminal", question("plan h"))
