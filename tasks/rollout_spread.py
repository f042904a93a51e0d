"""The targets of a stage in batches: one after the other in this process, or side by side in those of a Dask cluster.

Whoever works elsewhere is given what is applied and to whom, and no secret: it has those in an environment of its own.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from prefect import Task
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture, as_completed

from squizzle.errors import InvalidInputError
from squizzle.reports.rollout import result_words
from squizzle.rollout.applying import apply_to_targets, take_back_from_targets
from squizzle.rollout.orders import ApplyVerdict, RolloutOrder, TargetResult, failures
from squizzle.rollout.records import FleetTarget
from tasks.rollout import LISTENER, apply_batch, batches, take_back
from tasks.rollout_case import RolloutCase, Spread
from tasks.steps import as_task, plain_step

if TYPE_CHECKING:
    from prefect_dask.task_runners import DaskTaskRunner

# A worker elsewhere is not told when another one's targets fail, so it has few of them at a time: about as many as this
# process has under way.
PIECE = 25
# Where the scheduler of a cluster is, as Dask writes addresses; without it a cluster is made on this machine.
SCHEDULER = "SQUIZZLE_DASK_SCHEDULER"
PROCESSES = "SQUIZZLE_DASK_PROCESSES"

Results = tuple[TargetResult, ...]
# Called before a batch is begun, with whether it is the first. What it raises ends the work.
Before = Callable[[tuple[FleetTarget, ...], bool], None]
# Called with what became of it.
After = Callable[[Results], None]


def apply_to_all(
    case: RolloutCase,
    order: RolloutOrder,
    targets: Sequence[FleetTarget],
    *,
    max_failures: int,
    before: Before,
    after: After,
) -> Results:
    """Apply what targets lack. Safe to repeat: what is done is left as it is.

    Behind a batch with which too many have failed none is begun; those that are under way come to their end.

    Args:
        case: Where it is worked on, and with which secrets.
        order: What, and how; its limits hold for all processes together.
        targets: Of one stage, in their order.
        max_failures: So many may fail.
        before: Called before each batch.
        after: Called after each.

    Returns:
        What became of each, in the order of `targets`.

    Raises:
        InvalidInputError: Nothing is there to work elsewhere with. Nothing was changed.
    """
    if case.spread is Spread.DASK:
        return _side_by_side(case, order, targets, _apply_piece, max_failures, before, after)
    done: list[TargetResult] = []
    for batch in batches(targets):
        left = max_failures - len(failures(done))
        if left < 0:
            done += map(_not_begun, batch)
            continue
        before(batch, not done)
        results = apply_batch(case, order, batch, max_failures=left)
        after(results)
        done += results
    return tuple(done)


def take_back_from_all(case: RolloutCase, order: RolloutOrder, targets: Sequence[FleetTarget]) -> Results:
    """Take back what this rollout brought; a target that fails keeps no other one from that. Safe to repeat."""
    if case.spread is Spread.DASK:
        return _side_by_side(case, order, targets, _take_back_piece, len(targets), _nothing, _nothing)
    return tuple(one for batch in batches(targets) for one in take_back(case, order, batch))


def lanes_of(targets: Sequence[FleetTarget], count: int, *, size: int) -> tuple[deque[tuple[FleetTarget, ...]], ...]:
    """The targets divided among so many processes, each with its pieces in order. Pure.

    Schemas of one database are in one lane, for a database is migrated by one session at a time.
    """
    lane_of: dict[tuple[str, str], int] = {}
    lanes: list[list[FleetTarget]] = [[] for _ in range(count)]
    for target in targets:
        lanes[lane_of.setdefault((target.server, target.database), len(lane_of) % count)].append(target)
    return tuple(deque(tuple(lane[at : at + size]) for at in range(0, len(lane), size)) for lane in lanes)


@as_task("Apply to targets", timeout=timedelta(hours=24))
def _apply_piece(order: RolloutOrder, targets: tuple[FleetTarget, ...], max_failures: int) -> Results:
    return apply_to_targets(order, targets, max_failures=max_failures, environ=os.environ, listener=LISTENER)


@as_task("Take back from targets", timeout=timedelta(hours=24))
def _take_back_piece(order: RolloutOrder, targets: tuple[FleetTarget, ...], max_failures: int) -> Results:  # noqa: ARG001 - as above
    return take_back_from_targets(order, targets, environ=os.environ, listener=LISTENER)


def _side_by_side(
    case: RolloutCase,
    order: RolloutOrder,
    targets: Sequence[FleetTarget],
    work: Task[..., Results],
    max_failures: int,
    before: Before,
    after: After,
) -> Results:
    done: dict[str, TargetResult] = {}
    with plain_step(f"{work.name}, side by side") as say, _cluster(case) as (runner, processes):
        # Each has its share, so that a server has no more sessions than the fleet says.
        count = max(1, min(processes, order.concurrency, order.per_server))
        share = replace(
            order,
            concurrency=order.concurrency // count,
            per_server=order.per_server // count,
            # Each piece brings its own.
            fleet=replace(order.fleet, targets=()),
        )
        lanes = lanes_of(targets, count, size=PIECE)
        under_way: dict[PrefectFuture[Results], deque[tuple[FleetTarget, ...]]] = {}
        try:
            while True:
                for lane in (one for one in lanes if one and not any(one is busy for busy in under_way.values())):
                    left = max_failures - len(failures(tuple(done.values())))
                    if left >= 0:
                        piece = lane.popleft()
                        before(piece, not (done or under_way))
                        under_way[_submitted(runner, work, share, piece, left)] = lane
                if not under_way:
                    break
                ended = next(as_completed(list(under_way)))
                del under_way[ended]
                results = ended.result()
                after(results)
                done |= {one.target.name: one for one in results}
        finally:
            for future in under_way:
                future.wait()
        everything = tuple(done.get(one.name) or _not_begun(one) for one in targets)
        say(f"in {count} processes: {result_words(everything)}")
    return everything


def _submitted(
    runner: DaskTaskRunner, work: Task[..., Results], order: RolloutOrder, piece: tuple[FleetTarget, ...], left: int
) -> PrefectFuture[Results]:
    with _without_parameters():
        return runner.submit(work, {"order": order, "targets": piece, "max_failures": left})


@contextmanager
def _without_parameters() -> Iterator[None]:
    """What the flow was called with stays here: Prefect sends it along, and blocks hold passwords."""
    context = FlowRunContext.get()
    if context is None:
        yield
        return
    with context.model_copy(update={"parameters": {}}):
        yield


@contextmanager
def _cluster(case: RolloutCase) -> Iterator[tuple[DaskTaskRunner, int]]:
    """The cluster that the environment names, else one on this machine; and how many processes it has."""
    try:
        from prefect_dask.task_runners import DaskTaskRunner  # noqa: PLC0415 - optional
    except ImportError as exc:
        raise InvalidInputError(
            "Dask is not installed, so targets cannot be spread over its workers",
            hint="install squizzle[dask] here and on the workers, or let this process do the work (spread: here)",
        ) from exc
    address = case.environ.get(SCHEDULER)
    options: dict[str, Any] = {"address": address} if address else {"cluster_kwargs": _on_this_machine(case)}
    with DaskTaskRunner(**options) as runner:
        yield runner, len(runner.client.scheduler_info(n_workers=-1)["workers"])


def _on_this_machine(case: RolloutCase) -> dict[str, Any]:
    said = case.environ.get(PROCESSES, "")
    if said and not (said.isascii() and said.isdecimal() and int(said)):
        raise InvalidInputError(f"{PROCESSES} is {said!r}", hint="a whole number of 1 or more")
    # Waiting for servers is most of the work, so one thread a process: it starts threads of its own.
    return {"n_workers": int(said or os.cpu_count() or 1), "threads_per_worker": 1, "dashboard_address": None}


def _nothing(*_: object) -> None:
    """Taking back needs no leave, and nothing is counted."""


def _not_begun(target: FleetTarget) -> TargetResult:
    return TargetResult(target=target, verdict=ApplyVerdict.NOT_BEGUN)
