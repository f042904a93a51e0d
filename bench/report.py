"""What a benchmark found, as text for the terminal and as a page of Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One benchmark's result.

    Attributes:
        title: What was measured.
        method: How, in a sentence or two.
        headings: Of the columns.
        rows: One a contender; the first column is its name.
        missing: Contenders that this machine does not have.
        command: What runs it again.
    """

    title: str
    method: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    missing: tuple[str, ...] = ()
    command: str = ""

    def text(self) -> str:
        """For the terminal: columns as wide as their content."""
        lines = (self.headings, *self.rows)
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.headings))]
        body = ["  ".join(_aligned(line, widths)).rstrip() for line in lines]
        return "\n".join(["", self.title, self.method, "", *body, *self.missing])

    def markdown(self) -> str:
        """For the page."""
        dashes = ["---", *["---:"] * (len(self.headings) - 1)]
        body = [f"| {' | '.join(line)} |" for line in (self.headings, dashes, *self.rows)]
        absent = ["", *(f"{one}." for one in self.missing)] if self.missing else []
        return "\n".join([f"## {self.title}", "", self.method, "", *body, *absent, "", f"`{self.command}`", ""])


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]


def machine_facts(server_version: str) -> tuple[str, ...]:
    """Where and when this ran; one fact a line."""
    load = os.getloadavg()[0]
    server = f"PostgreSQL {server_version}, embedded, on the same machine, over a Unix socket"
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load average {load:.1f} before the first run",
        f"{_processor()}, {os.cpu_count()} processors, {psutil.virtual_memory().total / 2**30:.0f} GiB memory",
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, psycopg {version('psycopg')}",
        f"{server}; settings as initdb leaves them (fsync on), but max_wal_size 4 GB",
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


_HEAD = """# Benchmarks

What Squizzle costs beside what people use instead, measured side by side: the contenders take turns within one run, so
a machine that gets slower meanwhile slows all of them. Read the ratios; absolute times are this machine's.

    make bench                                        # all of them, text on stdout
    python -m bench replay --rounds 5                 # one of them
    python -m bench --output docs/benchmarks.md       # and this page
"""


def page(facts: Sequence[str], versions: Sequence[str], findings: Sequence[Finding]) -> str:
    """The whole page."""
    machine = "\n".join(f"- {fact}" for fact in (*facts, ", ".join(versions)))
    return "\n".join([_HEAD, "## The machine", "", machine, "", *(finding.markdown() for finding in findings)])
