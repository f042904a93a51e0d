"""One benchmark in a process of its own, on a server of its own, whose end is nobody else's.

    python -m bench.one NAME FILE QUICK FACTS SIZES

The outcome is written to FILE: JSON, and so are FACTS and SIZES.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench.outcomes import Outcome, as_json
from bench.report import Finding
from bench.suite import KNOWN, SETTINGS, Benchmark, Sizes
from squizzle.postgres.access import ServerAccess
from squizzle.postgres.embedded import find_runtime, throwaway_cluster


def main() -> None:
    """Run it; what it raises is its outcome, and raised."""
    name, file, quick, facts, sizes = sys.argv[1:]
    # So that the server and all else is stopped and removed when the time is over.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("the time was over"))
    outcome = Outcome(
        name=name,
        finding=None,
        problem="it was ended before it was done",
        began_at=datetime.now(UTC),
        seconds=0.0,
        load_before=os.getloadavg()[0],
        load_after=0.0,
        is_quick=quick == "quick",
        facts=tuple(json.loads(facts)),
    )
    began = time.monotonic()
    try:
        outcome = replace(outcome, finding=run(KNOWN[name], json.loads(sizes)), problem="")
    except BaseException as error:
        outcome = replace(outcome, problem=_in_a_line(error))
        raise
    finally:
        outcome = replace(outcome, seconds=time.monotonic() - began, load_after=os.getloadavg()[0])
        Path(file).write_bytes(as_json(outcome))


def _in_a_line(error: BaseException) -> str:
    """For a page that is read elsewhere: paths begin at the project."""
    said = f"{type(error).__name__}: {error}".replace(f"{Path(__file__).parent.parent}{os.sep}", "")
    return " ".join(said.split())[:500]


def run(benchmark: Benchmark, sizes: Sizes) -> Finding:
    """Measure on a new embedded server, which is removed afterwards."""
    with throwaway_cluster("bench", settings=SETTINGS, runtime=find_runtime()) as server:
        access = ServerAccess(host=str(server.socket_folder), port=server.port, user=server.user)
        finding = benchmark.measure(access, **sizes)
    return replace(finding, command=benchmark.command(sizes))


if __name__ == "__main__":
    main()
