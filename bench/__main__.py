"""`make bench`: every benchmark, or those that are named, each in a process of its own.

One that fails, or takes too long, is named, and the others go on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path

from bench.aims import AIMS, not_found, table_of_aims
from bench.machine import machine_facts
from bench.outcomes import Outcome, from_json, keep, kept, write_figures, write_pictures
from bench.page import losses, page
from bench.report import Table
from bench.suite import BENCHMARKS, KNOWN, SETTINGS, Benchmark, Sizes
from squizzle.postgres.access import ServerAccess
from squizzle.postgres.embedded import find_runtime, throwaway_cluster
from squizzle.processes import GuardedProcess

_ROOT = Path(__file__).parent.parent
_MINUTES, _QUICK_MINUTES = 30.0, 3.0
_QUICK_AT_ONCE = 2
# Less is not worth beginning anything.
_LEAST_S = 5.0


def main() -> int:
    """Run what is named; ends with 1 when anything was not measured."""
    arguments = _arguments()
    with throwaway_cluster("bench", settings=SETTINGS, runtime=find_runtime()) as server:
        facts = machine_facts(ServerAccess(host=str(server.socket_folder), port=server.port, user=server.user))
    print("\n".join(facts), flush=True)
    place = _place(arguments)
    done = []
    for outcome in _outcomes(arguments, facts):
        done.append(outcome)
        _tell(outcome)
        if place:
            keep(outcome, place.results)
            publish(place)
    findings = {one.name: one.finding for one in done if one.finding}
    aims = tuple(aim for aim in AIMS if aim.benchmark in {one.name for one in done})
    for title, table in (("What was aimed at", table_of_aims(findings, aims)), ("Where we lose", losses(findings))):
        _print_table(title, table)
    wrong = [f"{one.name}: {one.problem}" for one in done if not one.finding]
    wrong += [f"no figure for the aim: {what}" for what in not_found(findings)]
    print("\n".join(("", *wrong)), flush=True)
    return 1 if wrong else 0


def _tell(outcome: Outcome) -> None:
    lines = outcome.lines()
    text = outcome.finding.text() if outcome.finding else f"\n{outcome.name}: not measured: {outcome.problem}"
    print("\n".join((text, outcome.circumstances(), *lines)), flush=True)


def _print_table(title: str, table: Table) -> None:
    if table.rows:
        print(f"\n{title}\n\n{table.text()}", flush=True)


class Place:
    """Where the page, its pictures and the results lie.

    Args:
        page: The page.
        pictures: The folder of the pictures.
        results: The folder of the outcomes.
    """

    def __init__(self, *, page: Path, pictures: Path, results: Path) -> None:
        self.page, self.pictures, self.results = page, pictures, results


def _place(arguments: argparse.Namespace) -> Place | None:
    if arguments.publish:
        return Place(
            page=_ROOT / "docs" / "benchmarks.md",
            pictures=_ROOT / "docs" / "pictures",
            results=_ROOT / "bench" / "results",
        )
    into: Path | None = arguments.into
    return Place(page=into / "benchmarks.md", pictures=into / "pictures", results=into / "results") if into else None


def publish(place: Place) -> None:
    """Write the page of everything that is kept there."""
    outcomes = kept(place.results, [one.name for one in BENCHMARKS])
    write_figures(outcomes, place.results)
    files = write_pictures(outcomes, place.pictures)
    seen = {name: os.path.relpath(file, place.page.parent) for name, file in files.items()}
    place.page.write_text(page(outcomes, seen), encoding="utf-8")


def _outcomes(arguments: argparse.Namespace, facts: Sequence[str]) -> Iterator[Outcome]:
    minutes = arguments.minutes or (_QUICK_MINUTES if arguments.quick else _MINUTES)
    deadline = time.monotonic() + 60 * minutes * arguments.patience
    said = {key: value for key, value in vars(arguments).items() if key in _size_names() and value is not None}

    def run(benchmark: Benchmark) -> Outcome:
        limit = arguments.patience * (benchmark.quick_limit_s if arguments.quick else benchmark.limit_s)
        left = deadline - time.monotonic()
        sizes = benchmark.sizes(quick=arguments.quick, said=said)
        return _outcome(benchmark, sizes, facts, quick=arguments.quick, seconds=min(limit, left))

    chosen = [KNOWN[name] for name in dict.fromkeys(arguments.names or KNOWN)]
    if not arguments.quick:
        yield from map(run, chosen)
        return
    # Whether all of them run is seen as well where two disturb each other; a measurement must be alone.
    with ThreadPoolExecutor(_QUICK_AT_ONCE) as pool:
        running = [pool.submit(run, one) for one in chosen]
        try:
            for outcome in as_completed(running):
                yield outcome.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _outcome(benchmark: Benchmark, sizes: Sizes, facts: Sequence[str], *, quick: bool, seconds: float) -> Outcome:
    """Have a process run it; it is ended when its time is over."""
    began_at, began, load = datetime.now(UTC), time.monotonic(), os.getloadavg()[0]
    problem = "not begun: the time for all of them was over"
    if seconds > _LEAST_S:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            file = Path(folder) / "outcome"
            words = (
                benchmark.name,
                str(file),
                "quick" if quick else "full",
                json.dumps(facts),
                json.dumps(dict(sizes)),
            )
            command = [sys.executable, "-m", "bench.one", *words]
            with GuardedProcess(
                command, environment=os.environ, output=sys.stdout.buffer, errors=sys.stderr.buffer
            ) as process:
                code = process.wait(seconds)
            problem = f"it did not end within {seconds:.0f} s" if code is None else f"its process ended with {code}"
            if file.exists() and code is not None:
                return from_json(file.read_bytes())
    return Outcome(
        name=benchmark.name,
        finding=None,
        problem=problem,
        began_at=began_at,
        seconds=time.monotonic() - began,
        load_before=load,
        load_after=os.getloadavg()[0],
        is_quick=quick,
        facts=tuple(facts),
    )


def _size_names() -> dict[str, type]:
    return {key: type(value) for one in BENCHMARKS for key, value in one.full.items()}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(KNOWN)}; all without a name")
    parser.add_argument("--quick", action="store_true", help="small sizes, which show that everything runs")
    parser.add_argument("--minutes", type=float, help=f"for all; {_MINUTES:g}, with --quick {_QUICK_MINUTES:g}")
    parser.add_argument("--patience", type=float, default=1.0, help="so many times as long for everything")
    parser.add_argument("--publish", action="store_true", help="write docs/benchmarks.md, docs/pictures, bench/results")
    parser.add_argument("--into", type=Path, help="write page, pictures and results into a folder instead")
    for key, kind in _size_names().items():
        parser.add_argument(f"--{key.replace('_', '-')}", type=kind, help="a size of those that have it")
    arguments = parser.parse_args()
    if unknown := set(arguments.names).difference(KNOWN):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; known are {', '.join(KNOWN)}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
