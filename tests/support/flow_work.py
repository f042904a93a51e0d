"""One run of a flow in which somebody is killed at a chosen place; for `tests.support.killed`.

A place is a step of the flow's journal and a moment: before it, at one of its effects (a statement, a session, a file, a
program), or behind it. No product code knows of it: steps are told to watchers, statements go through psycopg, the rest
is told by Python's audit events.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import psycopg
from prefect.blocks.core import Block
from prefect.settings import PREFECT_API_URL, temporary_settings

import tasks.approval
import tasks.triggers
from squizzle.errors import SquizzleError
from squizzle.recovery.evidence import Step, StepState
from tasks.approval import Approval, ApprovalByName, answered_by
from tasks.outcome import report_of
from tasks.steps import watched_by
from tests.conftest import ROOT
from tests.support.killed import _step as change_of
from tests.support.killed import kill
from tests.support.processes import command_of, descendants_of

# Every flow and what it needs is loaded before anything is forked.
for _path in sorted((ROOT / "flows").glob("[a-z]*.py")):
    import_module(f"flows.{_path.stem}")

PROGRAMS = ("pg_dump", "pg_restore", "psql", "pg_basebackup", "pg_receivewal", "pg_dumpall", "pg_combinebackup")
BLOCK = "block:"
"""Before a block's type and name, as `block:postgres-database/shop`."""


class Place:
    """Counts the effects of each step, and strikes at the chosen one.

    Args:
        strike: `step` (from 0), `moment` (before, during, after), `effect` (from 1), `whom` (run, PostgreSQL, Prefect,
            program) and its `pid`; empty for a run that is left alone.
        struck: A file that is made right before somebody is killed.
    """

    def __init__(self, strike: Mapping[str, Any], struck: Path) -> None:
        self._strike = strike
        self._struck = struck
        self._lock = threading.RLock()
        self._runs = False
        self._is_mine = False
        self.steps: list[dict[str, Any]] = []

    def watch(self, steps: tuple[Step, ...]) -> None:
        """Told whenever a step begins or ends."""
        begins = steps[-1].state is StepState.RUNNING
        if begins:
            self.steps.append({"title": steps[-1].title, "effects": 0, "programs": False})
        self._is_mine = bool(self._strike) and len(steps) - 1 == self._strike["step"]
        if self._is_mine and self._strike["moment"] == ("before" if begins else "after"):
            self.strike()
        self._runs = begins
        if begins and self._is_mine and self._strike["whom"] == "program":
            threading.Thread(target=self._hunt, args=(len(steps),), daemon=True).start()

    def effect(self, *, is_program: bool = False) -> None:
        """Something is about to be done, in a step or behind it: also what is no step belongs to one."""
        with self._lock:
            if not self.steps:
                return
            now = self.steps[-1]
            now["effects"] += 1
            now["programs"] = now["programs"] or is_program
            is_it = self._is_mine and self._strike["moment"] == "during" and self._strike["whom"] != "program"
        if is_it and now["effects"] == self._strike["effect"]:
            self.strike()

    def strike(self) -> None:
        """Kill whom it is about, once."""
        with self._lock:
            if self._struck.exists():
                return
            self._struck.touch()
        if self._strike["whom"] == "run":
            os.kill(os.getpid(), signal.SIGKILL)
        kill(self._strike["pid"])

    def _hunt(self, step: int) -> None:
        """Kill the first client program that runs in this step, so many looks after it was seen."""
        looks = 0
        while len(self.steps) == step and self._runs and not self._struck.exists():
            found = [pid for pid in descendants_of(os.getpid()) if Path(command_of(pid).split(" ")[0]).name in PROGRAMS]
            looks += bool(found)
            if found and looks >= self._strike["effect"]:
                self._struck.touch()
                for pid in found:
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.001)


def watch_effects(place: Place) -> None:
    """Have everything told that this process does to the world."""

    def told(event: str, arguments: tuple[Any, ...]) -> None:
        if name := change_of(event, arguments):
            place.effect(is_program=any(one in name for one in PROGRAMS) or "pg_" in str(arguments[1:2]))

    sys.addaudithook(told)
    for owner, name in ((psycopg.Cursor, "execute"), (psycopg.Connection, "connect"), (httpx.Client, "send")):
        setattr(owner, name, _telling(getattr(owner, name), place))


def _telling(function: Callable[..., Any], place: Place) -> Callable[..., Any]:
    def tells(*args: Any, **kwargs: Any) -> Any:
        if isinstance(request := args[-1] if args else None, httpx.Request) and "/api/" in request.url.path:
            return function(*args, **kwargs)  # what is said to Prefect is nobody's business
        place.effect()
        result = function(*args, **kwargs)
        place.effect()  # the server has done it, and nobody knows yet
        return result

    return staticmethod(tells) if hasattr(function, "__self__") else tells


def agree(question: Any) -> Approval:
    """Whoever is asked says yes."""
    kind = ApprovalByName if question.name_to_type else Approval
    typed = {"typed_name": question.name_to_type} if question.name_to_type else {}
    return kind(decision="approve", approver="anna", comment="", **typed)


def given(value: Any) -> Any:
    """A parameter; a block that is named is loaded."""
    if isinstance(value, str) and value.startswith(BLOCK):
        return Block.load(value.removeprefix(BLOCK))
    return [given(one) for one in value] if isinstance(value, list) else value


def play(
    begin: Callable[[], None],
    *,
    flow: str,
    parameters: Mapping[str, Any],
    strike: Mapping[str, Any],
    said: str,
    api: str = "",
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a flow, and write down how that ended and what its steps did.

    Args:
        begin: Not called: steps are counted here.
        flow: Module and name, as `flows.back_up:back_up`.
        parameters: The flow's.
        strike: Where somebody is killed; see `Place`.
        said: A file for the state, its message, whether it is an error of ours, and the steps; beside it `.struck`.
        api: Where Prefect is; empty where it is for everybody.
        environment: What else its environment has.
    """
    del begin
    os.environ.update(environment or {})
    module, _, name = flow.partition(":")
    run = getattr(import_module(module), name)
    tasks.approval._POLL_S = 0.2
    tasks.triggers._LOOK_AGAIN_S = 0.1
    place = Place(strike, Path(said).with_suffix(".struck"))
    elsewhere = temporary_settings({PREFECT_API_URL: api}) if api else nullcontext()
    with elsewhere:
        loaded = {key: given(value) for key, value in parameters.items()}
        watch_effects(place)
        with watched_by(place.watch), answered_by(agree):
            state: Any = run(return_state=True, **loaded)
    error = report_of(state)
    document = {
        "state": state.type.value,
        "message": state.message or "",
        "error": type(error).__name__ if isinstance(error, BaseException) else "",
        "is_ours": isinstance(error, SquizzleError) or not isinstance(error, BaseException),
        "steps": place.steps,
    }
    Path(said).write_text(json.dumps(document), encoding="utf-8")
