"""What every step does: retry what can be retried, and nothing else; record and never hide."""

from __future__ import annotations

from datetime import timedelta

import pytest
from prefect import flow

from blocks import PostgresDatabase
from blocks.references import refuse_inline
from squizzle.errors import ChaosError, LockTimeoutError, RefusedError
from squizzle.postgres.access import connect
from squizzle.recovery.evidence import Step, StepState
from tasks.outcome import report_of
from tasks.steps import keep_journal, step

MINUTE = timedelta(minutes=1)
calls: list[str] = []


@step("Wait for a lock", timeout=MINUTE, detail=lambda count: f"{count} tries")
def wait_for_a_lock() -> int:
    calls.append("lock")
    if len(calls) == 1:
        raise LockTimeoutError("somebody holds it")
    return len(calls)


@step("Ask for too much", timeout=MINUTE)
def ask_for_too_much() -> None:
    calls.append("refused")
    raise RefusedError("policy says no")


@step("Trip over a defect", timeout=MINUTE)
def trip_over_a_defect() -> None:
    calls.append("defect")
    raise ZeroDivisionError


@pytest.fixture(autouse=True)
def forget_calls() -> None:
    calls.clear()


def test_retryable_error_is_tried_again() -> None:
    @flow
    def once() -> tuple[Step, ...]:
        with keep_journal() as journal:
            wait_for_a_lock()
        return journal.steps

    (recorded,) = once()
    assert calls == ["lock", "lock"]
    assert recorded.state is StepState.DONE
    assert recorded.detail == "2 tries"


def test_refusal_is_not_tried_again() -> None:
    @flow
    def once() -> None:
        ask_for_too_much()

    with pytest.raises(RefusedError):
        once()
    assert calls == ["refused"]


def test_defect_is_not_tried_again() -> None:
    @flow
    def once() -> None:
        trip_over_a_defect()

    with pytest.raises(ZeroDivisionError):
        once()
    assert calls == ["defect"]


def test_two_equal_steps_both_run_because_nothing_is_cached() -> None:
    @flow(persist_result=True)
    def twice() -> None:
        calls.append("first is free")
        wait_for_a_lock()
        wait_for_a_lock()

    twice()
    assert calls == ["first is free", "lock", "lock"]


def test_failed_step_is_recorded_with_its_message_and_told_to_watchers() -> None:
    seen: list[tuple[Step, ...]] = []

    @flow
    def once() -> None:
        with keep_journal(seen.append):
            ask_for_too_much()

    with pytest.raises(RefusedError):
        once()
    assert [steps[-1].state for steps in seen] == [StepState.RUNNING, StepState.FAILED]
    assert seen[-1][-1].detail == "policy says no"


def test_chaos_fails_a_step_and_says_how_to_play_it_again(
    server_block: PostgresDatabase, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    @step("Look", timeout=timedelta(minutes=1))
    def look(block: PostgresDatabase) -> None:
        connect(block.access(), block.database, purpose="look").close()

    @flow
    def looks(block: PostgresDatabase) -> None:
        refuse_inline(block)
        with keep_journal():
            look(block)
            look(block)

    monkeypatch.setenv("SQUIZZLE_CHAOS", "rate=1 seed=5 kinds=raise")
    state = looks(server_block, return_state=True)
    production = server_block.model_copy(update={"environment": "production"})
    refused = looks(production, return_state=True)

    error = report_of(state)
    assert isinstance(error, ChaosError)
    assert "SQUIZZLE_CHAOS='rate=1 seed=5 kinds=raise' plays it again" in error.hint
    assert "chaos: raise at step Look (rate=1 seed=5 kinds=raise)" in capfd.readouterr().err
    assert "production; nothing was done" in str(refused.message)
