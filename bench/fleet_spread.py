"""Who works on a rollout's targets: threads of the run's own process, or a Dask cluster's processes on this machine."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path

from bench.fleet import CONCURRENCY, Pieces, Works, in_a_flow, refuse_failures
from bench.fleet_databases import many_databases
from bench.report import Finding, Picture
from bench.turns import Taken, take_turns
from bench.usage import Meter
from squizzle.postgres.access import ServerAccess
from tasks.rollout_case import Spread

PROCESSES = 2
THREADS = "threads of one process"
DASK = f"{PROCESSES} processes of Dask, which is started for it"


def measure(access: ServerAccess, *, rounds: int, targets: int) -> Finding:
    """Apply one version after the other to the same databases, by each way in turn."""
    try:
        dask = version("prefect-dask")
    except PackageNotFoundError:
        return Finding(title=_TITLE, method="", headings=(), rows=(), missing=("prefect-dask: missing here",))
    with ExitStack() as stack:
        names = stack.enter_context(many_databases(access, targets))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        # The first one makes what each database needs once.
        fleet = Works(access, names, folder, versions=1 + 2 * rounds)
        fleet.apply(names, 1)
        processor: dict[str, Pieces] = {THREADS: Pieces(), DASK: Pieces()}
        clock: dict[str, Taken] = {}

        def work() -> None:
            meter, versions = Meter(access), count(2)

            def once(name: str) -> float:
                where = Spread.HERE if name == THREADS else Spread.DASK
                processor[name].take(meter, partial(_apply, fleet, names, next(versions), where))
                return processor[name].clock[-1]

            clock.update(take_turns({name: partial(once, name) for name in processor}, rounds))

        in_a_flow(work)
    return Finding(
        title=_TITLE,
        method=f"A column for each of {targets:,} databases, {CONCURRENCY} at the same time for both; {rounds}"
        f" interleaved rounds, medians. prefect-dask {dask}; the cluster's start and end count, for each stage of a"
        " rollout has its own.",
        headings=("who works", "s", "min s", "max s", "ratio", "ms of processor a target"),
        rows=tuple(
            (
                name,
                *one.cells(),
                f"{one.ratio_to(clock[THREADS]):.2f}",
                f"{1000 * Taken(values=tuple(processor[name].processor)).median / targets:.1f}",
            )
            for name, one in clock.items()
        ),
        figures=(
            clock[THREADS].figure("a rollout by threads", "s", peer=clock[DASK], peer_name=DASK, why=_WHY),
            processor[THREADS].figure("a target by threads", targets, peer=processor[DASK], peer_name=DASK, why=_WHY),
        ),
        picture=Picture(
            title=f"A column for each of {targets:,} databases",
            unit="s",
            bars=tuple(one.bar(name, is_ours=name == THREADS) for name, one in clock.items()),
        ),
        shows_not="a client with many processors and fifty servers: there Python's one processor is what threads wait"
        " for, and Dask goes beyond (docs/sizing.md).",
    )


_TITLE = "Threads or Dask"
_WHY = "Python uses one processor, and Dask's processes two"


def _apply(fleet: Works, names: tuple[str, ...], number: int, where: Spread) -> None:
    """As the flow does it for a stage."""
    from tasks.rollout_spread import PROCESSES as VARIABLE  # noqa: PLC0415 - Prefect reads its settings when imported
    from tasks.rollout_spread import apply_to_all  # noqa: PLC0415 - same

    case = replace(fleet.case, spread=where, environ={VARIABLE: str(PROCESSES)})
    targets = [fleet.targets[name] for name in names]
    done = apply_to_all(
        case, fleet.order(number), targets, max_failures=0, before=lambda *_: None, after=lambda _results: None
    )
    refuse_failures(done)
