"""What every step does: retry what can be retried, and nothing else; record and never hide."""

from __future__ import annotations

import logging
import resource
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.logging import get_logger

from blocks import Chaos, PostgresDatabase
from blocks.references import refuse_inline
from squizzle.chaos.settings import ChaosKind
from squizzle.errors import (
    ChaosError,
    DatabaseState,
    InvalidInputError,
    LockTimeoutError,
    MigrationFailedError,
    RefusedError,
    ToolError,
)
from squizzle.headway import Unit, stretch
from squizzle.postgres.access import connect
from squizzle.recovery.evidence import Step, StepState
from tasks.outcome import ends_in_our_words, report_of
from tasks.reporting import write_file
from tasks.steps import keep_journal, step
from tests.support.processes import wait_until

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


def test_the_log_says_each_step_once_and_by_its_title_alone() -> None:
    @flow
    def once() -> None:
        with keep_journal():
            wait_for_a_lock()
            with keep_journal():
                wait_for_a_lock()

    lines: list[str] = []
    listener = logging.Handler()
    listener.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    for name in ("task_runs", "flow_runs"):
        get_logger(name).addHandler(listener)
    try:
        calls.append("first is free")
        done = once(return_state=True)
    finally:
        for name in ("task_runs", "flow_runs"):
            get_logger(name).removeHandler(listener)
    told = [line.partition(" (")[0] for line in lines if not line.startswith(("Beginning flow run", "View at"))]
    assert told == [
        "Wait for a lock: 2 tries",
        "Wait for a lock: 3 tries",
        "Finished in state Completed()",
    ]

    def names() -> set[str]:
        with get_client(sync_client=True) as client:
            runs = client.read_task_runs(
                flow_run_filter=FlowRunFilter.model_validate({"id": {"any_": [done.state_details.flow_run_id]}})
            )
        return {one.name for one in runs}

    # Prefect's server writes down tasks a moment later.
    wait_until(lambda: names() == {"Wait for a lock"}, "its tasks are known")


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


@pytest.mark.parametrize("said", ["rate=1 seed=5 kinds=raise", "block:weekly"])
def test_chaos_fails_a_step_each_time_it_is_tried_and_says_how_to_play_it_again(
    server_block: PostgresDatabase, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], said: str
) -> None:
    monkeypatch.setattr("tasks.steps._RETRY_DELAYS", [0.0, 0.0])
    Chaos(rate=1, seed=5, kinds=[ChaosKind.RAISE]).save("weekly", overwrite=True)

    @step("Look", timeout=timedelta(minutes=1))
    def look(block: PostgresDatabase) -> None:
        connect(block.access(), block.database, purpose="look").close()

    @flow
    def looks(block: PostgresDatabase) -> None:
        refuse_inline(block)
        with keep_journal():
            look(block)
            look(block)

    monkeypatch.setenv("SQUIZZLE_CHAOS", said)
    state = looks(server_block, return_state=True)
    production = server_block.model_copy(update={"environment": "production"})
    refused = looks(production, return_state=True)

    error = report_of(state)
    assert isinstance(error, ChaosError)
    assert "SQUIZZLE_CHAOS='rate=1 seed=5 kinds=raise' plays it again" in error.hint
    told = capfd.readouterr().err
    assert "chaos is on: SQUIZZLE_CHAOS='rate=1 seed=5 kinds=raise' plays it again" in told
    assert told.count("chaos: raise at step Look (rate=1 seed=5 kinds=raise)") == 3
    assert "production; nothing was done" in str(refused.message)


def test_a_session_that_is_lost_between_two_statements_is_another_try(
    server_block: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `terminate` and `cut` have it: nobody translates what the driver says of a statement of the step's own."""
    monkeypatch.setattr("tasks.steps._RETRY_DELAYS", [0.0])
    tries: list[int] = []

    @step("Ask", timeout=timedelta(minutes=1))
    def ask(block: PostgresDatabase) -> int:
        with connect(block.access(), block.database, purpose="ask") as session:
            tries.append(session.info.backend_pid)
            if len(tries) == 1:
                with suppress(psycopg.OperationalError):
                    session.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            row = session.execute("SELECT 1").fetchone()
        return int(row[0]) if row else 0

    @flow
    def asks() -> int:
        return ask(server_block)

    assert asks() == 1
    assert len(set(tries)) == 2


def test_chaos_of_a_block_that_is_not_there_begins_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUIZZLE_CHAOS", "block:nobody-saved-it")
    with (
        pytest.raises(InvalidInputError, match="chaos/nobody-saved-it cannot be loaded; nothing was begun"),
        keep_journal(),
    ):
        raise AssertionError("it was begun")


@step("Copy for a while", timeout=MINUTE)
def copy_for_a_while() -> None:
    with stretch("copying shop", unit=Unit.BYTES, total=4_000_000) as headway:
        headway.at(1_000_000)
        time.sleep(0.3)


def test_a_long_step_says_in_the_runs_log_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("squizzle.reports.headway._LOG_AFTER", timedelta(seconds=0.1))

    @flow
    def once() -> None:
        with keep_journal():
            copy_for_a_while()

    once()

    assert sum("copying shop: 25 % of 4.0 MB" in one.message for one in caplog.records) == 1


def test_a_report_that_cannot_be_written_to_its_end_leaves_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    write_file("the earlier one", path)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, usual[1]))
    try:
        with pytest.raises(ToolError, match="could not be written"):
            write_file("x" * 5000, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert path.read_text(encoding="utf-8") == "the earlier one"
    write_file("a new one", path)
    assert [one.read_text(encoding="utf-8") for one in tmp_path.iterdir()] == ["a new one"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        pytest.param(
            InvalidInputError("no trigger was named", hint="`squizzle triggers goods` lists them"),
            "no trigger was named. Next: `squizzle triggers goods` lists them",
            id="nothing was done",
        ),
        pytest.param(
            MigrationFailedError("0003 failed", hint="mend it", database_state=DatabaseState.CHANGED),
            "0003 failed (database: changed). Next: mend it",
            id="something was done",
        ),
    ],
)
def test_a_run_that_ends_by_an_error_of_ours_says_what_to_do_next_and_shows_no_traceback(
    error: Exception, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    @flow
    @ends_in_our_words
    def broken() -> None:
        raise error

    state = broken(return_state=True)
    assert (state.name, state.message) == ("Failed", said)
    assert state.result(raise_on_failure=False) is error
    with pytest.raises(type(error)):
        broken()
    assert [one for one in caplog.records if one.exc_info] == []


def test_a_defect_keeps_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    @flow
    @ends_in_our_words
    def defective() -> None:
        raise ZeroDivisionError

    state = defective(return_state=True)
    assert state.is_failed()
    assert [one for one in caplog.records if one.exc_info]
