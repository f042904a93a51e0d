"""What became of each benchmark, as files: the page is made of them, so that one can be run again alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter

from bench.pictures import draw
from bench.report import Finding

_FIGURES = "figures.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One benchmark's end.

    Attributes:
        name: Of the benchmark.
        finding: What it found; None when it did not end well.
        problem: Why it did not.
        began_at: When.
        seconds: How long it took.
        load_before: The machine's load average when it began.
        load_after: The same when it ended.
        is_quick: With the quick sizes, whose numbers say little.
        facts: The machine, one fact a line.
    """

    name: str
    finding: Finding | None
    problem: str
    began_at: datetime
    seconds: float
    load_before: float
    load_after: float
    is_quick: bool
    facts: tuple[str, ...]

    def circumstances(self) -> str:
        """When, how long, and what else the machine did."""
        load = f"load average {self.load_before:.1f} before and {self.load_after:.1f} after it"
        return f"{self.began_at:%Y-%m-%d %H:%M} UTC, {self.seconds:.0f} s, {load}"

    def lines(self) -> tuple[str, ...]:
        """Its figures, a line of JSON each."""
        return tuple(one.line(self.name, self.finding.command) for one in self.finding.figures) if self.finding else ()


_OUTCOME = TypeAdapter(Outcome)


def as_json(outcome: Outcome) -> bytes:
    """All of it."""
    return _OUTCOME.dump_json(outcome, indent=1)


def from_json(text: bytes) -> Outcome:
    """What `as_json` wrote."""
    return _OUTCOME.validate_json(text)


def keep(outcome: Outcome, folder: Path) -> None:
    """Write it beside the others, in place of its predecessor."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{outcome.name}.json").write_bytes(as_json(outcome) + b"\n")


def kept(folder: Path, names: Sequence[str]) -> tuple[Outcome, ...]:
    """What is there, in the order of the names."""
    files = (folder / f"{name}.json" for name in names)
    return tuple(from_json(file.read_bytes()) for file in files if file.exists())


def write_figures(outcomes: Sequence[Outcome], folder: Path) -> None:
    """All figures of all of them in one file, a line of JSON each."""
    lines = [line for outcome in outcomes for line in outcome.lines()]
    (folder / _FIGURES).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_pictures(outcomes: Sequence[Outcome], folder: Path) -> dict[str, Path]:
    """Draw what can be drawn; returns the files by the benchmark's name."""
    files = {}
    for outcome in outcomes:
        file = folder / f"bench-{outcome.name}.svg"
        if outcome.finding and outcome.finding.picture:
            draw(outcome.finding.picture, file)
            files[outcome.name] = file
        else:
            file.unlink(missing_ok=True)
    return files
