"""A rollout in a process of its own that dies where it is told to; for `tests.support.killed`."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, temporary_settings

import tasks.approval
import tasks.rollout
import tasks.stopping
from flows.roll_out import roll_out
from squizzle.postgres.access import connect, parse_url
from squizzle.recovery.evidence import Step, StepState
from tasks.steps import watched_by
from tests.support.processes import PATIENCE_S, wait_until
from tests.support.rollout_form import as_form

STATES = {"before": StepState.RUNNING, "after": StepState.DONE}


def rollout(
    _begin: Callable[[], None],
    *,
    folder: str,
    dies: list[Any],
    said: str,
    batch: int,
    api: str,
    options: dict[str, Any],
) -> None:
    """Roll out to the fleet `shops` of a folder, and write into the file `said` how that ended.

    Args:
        folder: Where squizzle.toml and stages.yaml are.
        dies: `["before", title, n]` or `["after", title, n]`: the n-th step of that title; `["paused"]`: a person is
            waited for; `["waits", url]`: a lock of a database is waited for; nothing: it lives.
        said: A file for its state, the state's message, and its steps; beside it are `.run` with its id, and `.told` as
            soon as it knows that it is cancelled.
        batch: So many targets are one task.
        api: Where Prefect is; empty where it is for everybody.
        options: The flow's.
    """
    tasks.rollout.BATCH = batch
    tasks.approval._POLL_S = 0.2
    tasks.stopping._LOOK_EVERY_S = 0.1
    steps_seen: list[Step] = []
    # Whoever waits for it would wait for ever.
    last = threading.Timer(3 * PATIENCE_S, os._exit, args=(99,))
    last.daemon = True
    last.start()

    def watch(steps: tuple[Step, ...]) -> None:
        if not steps_seen:
            file = Path(said).with_suffix(".new")
            file.write_text(str(flow_run.id))
            file.rename(Path(said).with_suffix(".run"))
        steps_seen[:] = steps
        if dies and dies[0] in STATES:
            # Behind a title stands the stage.
            same = [one for one in steps if one.title.startswith(dies[1])]
            if same and steps[-1] is same[-1] and len(same) == dies[2] and steps[-1].state is STATES[dies[0]]:
                os.kill(os.getpid(), signal.SIGKILL)
        elif dies and len(steps) == 1 and steps[0].state is StepState.RUNNING:
            threading.Thread(target=_die, args=(dies, str(flow_run.id)), daemon=True).start()

    threading.Thread(target=_tell_when_told, args=(Path(said).with_suffix(".told"),), daemon=True).start()
    place = Path(folder)
    elsewhere = temporary_settings({PREFECT_API_URL: api}) if api else nullcontext()
    with elsewhere, watched_by(watch):
        state: Any = roll_out(
            "shops",
            place / "stages.yaml",
            configuration=place / "squizzle.toml",
            return_state=True,
            **as_form({"dry_run": False, "watch_every_s": 1, **options}),
        )
    titles = [f"{one.title}: {one.detail}" for one in steps_seen]
    Path(said).write_text(json.dumps({"state": state.type.value, "message": state.message, "steps": titles}))


def _is_paused(client: SyncPrefectClient, run_id: str) -> bool:
    state = client.read_flow_run(UUID(run_id)).state
    return state is not None and state.is_paused()


def _tell_when_told(file: Path) -> None:
    """Write a file when the run has been told that it is cancelled: nobody looks any more whether it is."""

    def looks() -> bool:
        return any(one.name == tasks.stopping.LOOKS for one in threading.enumerate())

    wait_until(looks, "it looks whether it is cancelled")
    wait_until(lambda: not looks(), "it is cancelled")
    file.touch()


def _die(dies: list[Any], run_id: str) -> None:
    if dies[0] == "paused":
        with get_client(sync_client=True) as client:
            wait_until(lambda: _is_paused(client, run_id), "it pauses", every_s=0.05)
    else:
        access, database = parse_url(dies[1])
        with connect(access, database, purpose="test") as session:
            query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'goods'::regclass"
            wait_until(lambda: session.execute(query).fetchone() != (0,), "it waits for a lock")
    os.kill(os.getpid(), signal.SIGKILL)
