"""What the benchmarks of backups measure: steps, their results, and what is said of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from bench.report import Figure, Finding, Picture
from bench.turns import Taken

GUIDE_COPY = "pg_basebackup -Ft -z"
GUIDE_DUMP = "pg_dump -Fc --compress=9"
GUIDE_CHECK = "pg_verifybackup of that"
GUIDE_UNPACK = "tar -xzf of that"
COPY = "squizzle backup physical"
DUMP = "squizzle backup full"
INCREMENT = "squizzle backup incremental (1 % of the rows)"
GUIDE_RESTORE = "pg_restore of that, one process"
RESTORE = "squizzle: files checked, restored, analyzed"
RESTORED = "backup_restored"
BACK = "squizzle: checked, unpacked, checked"
CHECK = "squizzle: the copy's files read again and compared"
FINGERPRINTS = "fingerprints alone"


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One thing that is timed.

    Attributes:
        name: Of the row.
        run: Does it; returns its bytes on disk, 0 where that says nothing.
        beside: The row whose time the ratio is taken from.
        rows: How many rows it goes through, where that is told.
        is_ours: Squizzle itself runs, in this process.
        rival_of: Of another tool: our row that does the same.
    """

    name: str
    run: Callable[[], int]
    beside: str = ""
    rows: int = 0
    is_ours: bool = False
    rival_of: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One run: seconds, those of processors, bytes on disk, and the most bytes of memory."""

    seconds: float
    processor: float
    size: int
    memory: int


_WHY_BIGGER = "it is compressed for speed, and the manifest and the fingerprints are part of it"
HEADINGS = ("contender", "median s", "min s", "max s", "CPU s", "MB", "ratio", "CPU ratio", "rows/s", "memory MB")


def _method(rounds: int, rows: int, scale: int) -> str:
    return (
        f"pgbench at scale {scale} and documents of words, {rows:,} rows; {rounds} interleaved runs, medians."
        " Squizzle's times include the fingerprints of every row (of an increment: of what may have changed), the"
        " manifest and the wait for the disk; the others prove nothing."
        " Ratio: how many times faster than the guide's command for the same. CPU: seconds of processor, of the server"
        " and all others involved; they depend less on what else the machine does. Memory: the most that Squizzle's"
        " process had, Python and all that is loaded included."
    )


_WHY = {
    COPY: "every file is hashed, every row fingerprinted, all of it compressed and awaited on the disk",
    INCREMENT: "what changed is fingerprinted again, and the manifest proves every row",
    BACK: "every file is compared with the manifest before and after",
    DUMP: "every row is fingerprinted beside the dump",
    RESTORE: "files are checked before, and the planner gets its statistics afterwards",
}


def finding_of(
    done: tuple[Mapping[str, list[Result]], Mapping[str, Step]], *, major: int, rows: int, rounds: int, scale: int
) -> Finding:
    """What was measured, as tables, figures and a picture."""
    taken, steps = done
    seconds = {name: Taken(values=tuple(one.seconds for one in results)) for name, results in taken.items()}
    return Finding(
        title=f"Backups of PostgreSQL {major} at scale {scale}",
        method=_method(rounds, rows, scale),
        headings=HEADINGS,
        rows=tuple(_rows(taken, steps)),
        figures=tuple(_figures(taken, steps, seconds)),
        picture=Picture(
            title=f"Backups of PostgreSQL {major}, {rows:,} rows",
            unit="s",
            bars=tuple(one.bar(name, is_ours=steps[name].is_ours) for name, one in seconds.items()),
            is_logarithmic=True,
        ),
        shows_not="stores behind a network, and databases that do not fit into memory.",
    )


def _figures(
    taken: Mapping[str, list[Result]], steps: Mapping[str, Step], seconds: Mapping[str, Taken]
) -> Iterator[Figure]:
    pairs = [(name, step.beside) for name, step in steps.items() if step.is_ours and step.beside]
    pairs += [(step.rival_of, name) for name, step in steps.items() if step.rival_of in taken]
    sizes = {name: Taken(values=tuple(one.size / 1_000_000 for one in results)) for name, results in taken.items()}
    for ours, theirs in pairs:
        why = _WHY.get(ours, "")
        yield seconds[ours].figure(ours, "s", peer=seconds[theirs], peer_name=theirs, why=why)
        if sizes[ours].low and sizes[theirs].low:
            yield sizes[ours].figure(f"{ours}, size", "MB", peer=sizes[theirs], peer_name=theirs, why=_WHY_BIGGER)
    speed = Taken(values=tuple(steps[FINGERPRINTS].rows / one for one in seconds[FINGERPRINTS].values))
    yield speed.figure(FINGERPRINTS, "rows/s", more_is_better=True)


def _rows(taken: Mapping[str, list[Result]], steps: Mapping[str, Step]) -> Iterator[tuple[str, ...]]:
    medians = {name: statistics.median(one.seconds for one in results) for name, results in taken.items()}
    processor = {name: statistics.median(one.processor for one in results) for name, results in taken.items()}
    for name, results in taken.items():
        seconds = [one.seconds for one in results]
        size = statistics.median(one.size for one in results)
        step = steps[name]
        yield (
            name,
            *(f"{cell:.2f}" for cell in (medians[name], min(seconds), max(seconds), processor[name])),
            f"{size / 1_000_000:.1f}" if size else "",
            *(f"{of[step.beside] / of[name]:.1f}" if step.beside else "" for of in (medians, processor)),
            f"{step.rows / medians[name]:,.0f}" if step.rows else "",
            f"{max(one.memory for one in results) / 1_000_000:.0f}" if step.is_ours else "",
        )
