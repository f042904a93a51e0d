"""Every benchmark: what it is called, how big it is, and how long it may take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bench import (
    backup,
    batches,
    drill,
    fingerprints,
    fleet,
    fleet_flow,
    fleet_spread,
    linting,
    recovery,
    reflink,
    rehearsal,
    replay,
    stalls,
    status,
    sweep,
    switch_over,
    tracer,
)
from bench.report import Finding

# As initdb leaves them, but that a backfill need not pay for checkpoints that a real server has rarely.
SETTINGS = MappingProxyType({"max_wal_size": "4GB"})

Sizes = Mapping[str, int | float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Benchmark:
    """One benchmark.

    Attributes:
        name: On the command line, and of its files.
        measure: Is given an embedded server's access, and the sizes by name.
        full: Sizes of `make bench`.
        quick: Sizes of `make bench-quick`; what is not named is as in `full`.
        limit_s: After so many seconds it is ended, and named as not measured.
        quick_limit_s: The same for the quick sizes.
    """

    name: str
    measure: Callable[..., Finding]
    full: Sizes
    quick: Sizes
    limit_s: int
    quick_limit_s: int

    def sizes(self, *, quick: bool, said: Sizes) -> Sizes:
        """Those of a run.

        Args:
            quick: The small ones.
            said: What the command line says, of any benchmark.
        """
        own = {**self.full, **self.quick} if quick else dict(self.full)
        return own | {key: value for key, value in said.items() if key in own}

    def command(self, sizes: Sizes) -> str:
        """What a person types to run it again."""
        options = [word for key, value in sizes.items() for word in (f"--{key.replace('_', '-')}", f"{value:g}")]
        # Not `1e+06`, as a number of seven digits would be.
        words = [str(int(float(word))) if "e+" in word else word for word in options]
        return " ".join(("python -m bench", self.name, *words))


# In the order in which they run; what matters most comes first, because the time may be over before all are done.
BENCHMARKS = (
    Benchmark(
        name="stalls",
        measure=stalls.measure,
        full={"rounds": 2, "seconds": 3.0, "rows": 1_000_000, "changes": 5, "reader_s": 2.0},
        quick={"rounds": 1, "seconds": 1.0, "rows": 20_000, "changes": 2, "reader_s": 0.5},
        limit_s=600,
        quick_limit_s=60,
    ),
    Benchmark(
        name="replay",
        measure=replay.measure,
        full={"rounds": 3, "migrations": 500},
        quick={"rounds": 1, "migrations": 50},
        limit_s=180,
        quick_limit_s=30,
    ),
    Benchmark(
        name="status",
        measure=status.measure,
        full={"rounds": 11, "migrations": 1000},
        quick={"rounds": 3, "migrations": 50},
        limit_s=90,
        quick_limit_s=30,
    ),
    Benchmark(
        name="lint",
        measure=linting.measure,
        full={"rounds": 3, "statements": 10_000},
        quick={"rounds": 1, "statements": 300},
        limit_s=180,
        quick_limit_s=40,
    ),
    Benchmark(
        name="batches",
        measure=batches.measure,
        full={"rounds": 3, "rows": 1_000_000},
        quick={"rounds": 1, "rows": 50_000},
        limit_s=120,
        quick_limit_s=20,
    ),
    Benchmark(
        name="backup",
        measure=backup.measure,
        full={"rounds": 2, "scale": 6},
        quick={"rounds": 1, "scale": 1},
        limit_s=300,
        quick_limit_s=60,
    ),
    Benchmark(
        name="pgbackrest",
        measure=lambda _access, **sizes: backup.measure_beside_pgbackrest(settings=SETTINGS, **sizes),
        full={"rounds": 2, "scale": 6},
        quick={"rounds": 1, "scale": 1},
        limit_s=240,
        quick_limit_s=60,
    ),
    Benchmark(
        name="fingerprints",
        measure=fingerprints.measure,
        full={"rounds": 5, "scale": 20},
        quick={"rounds": 1, "scale": 1},
        limit_s=120,
        quick_limit_s=30,
    ),
    Benchmark(
        name="recovery",
        measure=recovery.measure,
        full={"rounds": 1, "rows": 1_000_000, "steps": 3},
        quick={"rounds": 1, "rows": 25_000, "steps": 1},
        limit_s=240,
        quick_limit_s=60,
    ),
    Benchmark(
        name="switch-over",
        measure=switch_over.measure,
        full={"rounds": 3, "seconds": 1.0, "writers": 60},
        quick={"rounds": 1, "seconds": 0.2, "writers": 12},
        limit_s=240,
        quick_limit_s=60,
    ),
    Benchmark(
        name="tracer", measure=tracer.measure, full={"rounds": 5}, quick={"rounds": 1}, limit_s=120, quick_limit_s=30
    ),
    Benchmark(
        name="rehearsal",
        measure=rehearsal.measure,
        full={"rounds": 1, "scale": 5.0, "verbs": 1},
        quick={"rounds": 1, "scale": 0.1, "verbs": 0},
        limit_s=300,
        quick_limit_s=80,
    ),
    Benchmark(
        name="sweep",
        measure=sweep.measure,
        full={"rounds": 1, "targets": 1000, "deadline_s": 10.0},
        quick={"rounds": 1, "targets": 10, "deadline_s": 1.0},
        limit_s=300,
        quick_limit_s=30,
    ),
    Benchmark(
        name="fleet-memory",
        measure=fleet_flow.measure_memory,
        full={"targets": 10_000},
        quick={"targets": 100},
        limit_s=120,
        quick_limit_s=90,
    ),
    Benchmark(
        name="fleet",
        measure=fleet.measure,
        full={"rounds": 1, "targets": 400},
        quick={"rounds": 1, "targets": 8},
        limit_s=420,
        quick_limit_s=40,
    ),
    Benchmark(
        name="drill",
        measure=drill.measure,
        full={"scale": 1.0, "every": 1},
        quick={"scale": 0.05, "every": 0},
        limit_s=330,
        quick_limit_s=80,
    ),
    Benchmark(
        name="fleet-spread",
        measure=fleet_spread.measure,
        full={"rounds": 1, "targets": 200},
        quick={"rounds": 1, "targets": 8},
        limit_s=180,
        quick_limit_s=60,
    ),
    Benchmark(
        name="fleet-flow",
        measure=fleet_flow.measure,
        full={"targets": 60},
        quick={"targets": 8},
        limit_s=180,
        quick_limit_s=40,
    ),
    Benchmark(
        name="reflink",
        measure=reflink.measure,
        full={"rounds": 2, "rows": 400_000},
        quick={"rounds": 1, "rows": 10_000},
        limit_s=120,
        quick_limit_s=30,
    ),
)
KNOWN = MappingProxyType({one.name: one for one in BENCHMARKS})
