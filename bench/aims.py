"""What we said that we would reach, where, and whether a run reached it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from bench import (
    backup_figures,
    batches,
    fingerprints,
    fleet,
    fleet_flow,
    rehearsal,
    replay,
    status,
    sweep,
    switch_over,
    tracer,
)
from bench.report import Figure, Finding, Table, shown


class Of(StrEnum):
    """What of a figure an aim is about."""

    OURS = "ours"
    RATIO = "ratio"


class Answer(StrEnum):
    """Whether it was reached."""

    YES = "yes"
    NO = "no"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, kw_only=True, slots=True)
class Aim:
    """One limit.

    Attributes:
        what: In words, for the table.
        benchmark: Which one measures it.
        figure: The figure's name.
        peer_name: The figure's peer; empty where it has none.
        of: The number itself, or its ratio to the peer's.
        limit: At most, or with `at_least` at least.
        at_least: The limit is from below.
        stated: Where; most of them only here.
    """

    what: str
    benchmark: str
    figure: str
    of: Of
    limit: float
    peer_name: str = ""
    at_least: bool = False
    stated: str = "here"

    def value(self, figures: tuple[Figure, ...]) -> float | None:
        """What was measured of it."""
        for one in figures:
            if (one.name, one.peer_name) == (self.figure, self.peer_name):
                return one.ours if self.of is Of.OURS else one.to_peer()
        return None

    def unit(self, figures: tuple[Figure, ...]) -> str:
        """Of the number; a ratio's is "x"."""
        if self.of is Of.RATIO:
            return "x"
        return next((one.unit for one in figures if one.name == self.figure), "")

    def answer(self, figures: tuple[Figure, ...]) -> Answer:
        """Whether it was reached."""
        value = self.value(figures)
        if value is None:
            return Answer.NOT_MEASURED
        return Answer.YES if (value >= self.limit if self.at_least else value <= self.limit) else Answer.NO


AIMS: tuple[Aim, ...] = (
    Aim(
        what="no request fails while a careful migration runs",
        benchmark="stalls",
        figure="failed requests a migration, careful",
        of=Of.OURS,
        limit=0,
    ),
    Aim(
        what="nobody waits for a second while a careful migration runs",
        benchmark="stalls",
        figure="longest wait of all changes, careful",
        of=Of.OURS,
        limit=1000,
    ),
    Aim(
        what="a column behind a long reader is felt a tenth as long as psql's",
        benchmark="stalls",
        figure="longest wait, ADD COLUMN",
        peer_name="psql",
        of=Of.RATIO,
        limit=0.1,
    ),
    Aim(
        what="a history is replayed as fast as psql does, a process a file",
        benchmark="replay",
        figure=replay.OURS,
        peer_name=replay.BASELINE,
        of=Of.RATIO,
        limit=1,
    ),
    Aim(
        what="the status of 1,000 migrations in half a second",
        benchmark="status",
        figure=status.OURS,
        of=Of.OURS,
        limit=0.5,
    ),
    Aim(
        what="a backfill in batches is felt a tenth as long as in one statement",
        benchmark="batches",
        figure=f"p99 of clients, {batches.IN_BATCHES}",
        peer_name=batches.WHOLE,
        of=Of.RATIO,
        limit=0.1,
    ),
    Aim(
        what="the lock tracer costs a statement 5 ms",
        benchmark="tracer",
        figure=f"{tracer.SMALL}, a statement more",
        of=Of.OURS,
        limit=5,
    ),
    Aim(
        what="the lock tracer costs a migration of rows a tenth",
        benchmark="tracer",
        figure=f"{tracer.SHOP_PART}, traced",
        peer_name="not traced",
        of=Of.RATIO,
        limit=1.1,
    ),
    Aim(
        what="a copy of the cluster takes half of the time that the guide's does",
        benchmark="backup",
        figure=backup_figures.COPY,
        peer_name=backup_figures.GUIDE_COPY,
        of=Of.RATIO,
        limit=0.5,
        stated="docs/backups.md",
    ),
    Aim(
        what="a full backup takes half of the time that the guide's does",
        benchmark="backup",
        figure=backup_figures.DUMP,
        peer_name=backup_figures.GUIDE_DUMP,
        of=Of.RATIO,
        limit=0.5,
        stated="docs/backups.md",
    ),
    Aim(
        what="rows are fingerprinted as fast as COPY reads them",
        benchmark="fingerprints",
        figure="fingerprints",
        peer_name=fingerprints.COPIED,
        of=Of.RATIO,
        limit=1,
        at_least=True,
    ),
    Aim(
        what="no acknowledged write is lost or misdirected by a switch-over",
        benchmark="switch-over",
        figure=switch_over.LOST,
        of=Of.OURS,
        limit=0,
    ),
    Aim(
        what="a rehearsal of the example's last version, beside backup, restore and comparison alone",
        benchmark="rehearsal",
        figure=rehearsal.REHEARSAL,
        peer_name=rehearsal.ALONE,
        of=Of.RATIO,
        limit=rehearsal.LIMIT,
    ),
    Aim(
        what="a rehearsal of a backfill, beside the same",
        benchmark="rehearsal",
        figure=rehearsal.BACKFILL,
        peer_name=rehearsal.ALONE,
        of=Of.RATIO,
        limit=rehearsal.LIMIT,
    ),
    Aim(
        what="a sweep beside a bare pool of psycopg that asks the same",
        benchmark="sweep",
        figure=sweep.SWEEP,
        peer_name=sweep.BARE,
        of=Of.RATIO,
        limit=1.5,
    ),
    Aim(
        what="a sweep over 1,000 databases in a minute",
        benchmark="sweep",
        figure=sweep.SWEEP,
        peer_name=sweep.BARE,
        of=Of.OURS,
        limit=60,
    ),
    Aim(
        what="a column for 1,000 databases in a minute",
        benchmark="fleet",
        figure="a column for 1,000 databases",
        peer_name=fleet.BARE,
        of=Of.OURS,
        limit=60,
        stated="docs/sizing.md",
    ),
    Aim(
        what="all drills in five minutes",
        benchmark="drill",
        figure="all drills",
        of=Of.OURS,
        limit=300,
    ),
    Aim(
        what="orchestration of one of 10,000 targets in 2 ms",
        benchmark="fleet-memory",
        figure=fleet_flow.ORCHESTRATION,
        of=Of.OURS,
        limit=2,
        stated="docs/sizing.md",
    ),
)


def table_of_aims(findings: Mapping[str, Finding], aims: tuple[Aim, ...] = AIMS) -> Table:
    """Every aim, with what was measured of it.

    Args:
        findings: By the benchmark's name; those that did not end well are not among them.
        aims: Which.
    """
    rows = []
    for aim in aims:
        found = findings.get(aim.benchmark)
        figures = found.figures if found else ()
        value = aim.value(figures)
        unit = aim.unit(figures)
        word = "at least" if aim.at_least else "at most"
        measured = "" if value is None else f"{shown(value)} {unit}"
        rows.append(
            (aim.what, f"{word} {aim.limit:g} {unit}".rstrip(), measured, aim.answer(figures).value, aim.stated)
        )
    return Table(headings=("aim", "limit", "measured", "reached", "stated in"), rows=tuple(rows))


def not_found(findings: Mapping[str, Finding], aims: tuple[Aim, ...] = AIMS) -> tuple[str, ...]:
    """Aims whose benchmark ran well and has no such figure: one of the two names is wrong."""
    measured = ((aim, findings[aim.benchmark].figures) for aim in aims if aim.benchmark in findings)
    return tuple(aim.what for aim, figures in measured if aim.value(figures) is None)
