"""What a drill cost, in figures that are kept, and whether that is more than it may or used to cost. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import median

from squizzle import __version__
from squizzle.drills.records import DrillReport, DrillVerdict
from squizzle.durations import words
from squizzle.settings.drills import DrillBudget

DRILLS = "drills"
"""Where a store has what drills cost."""

# A drill that takes so many times what those before took is no chance; of fewer than three nobody knows what is usual.
_MOST_TIMES = 2
LEAST_BEFORE = 3
# So many of the newest are compared: what is usual may change.
MOST_BEFORE = 12
# Drills of some seconds are slowed down by anything; in an emergency nobody would notice so much.
_NO_MATTER = timedelta(seconds=5)
# Beyond this a database is another one: restoring it takes another time.
_SIMILAR = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class DrillFigures:
    """One drill of one disaster.

    Attributes:
        at: When it began.
        run: Its id.
        scenario: The disaster.
        way: How it was answered: a way back, or what was done; empty when it did not get that far.
        source: Whose data it was played on.
        size_bytes: Of the database right before the disaster; None where that was not measured.
        rows: In it; None where they were not counted.
        rto: From noticing to letting clients in again; None when it did not get that far.
        rpo: For so long what was written was lost; None when that was not measured.
        detected_in: From the disaster to noticing it; None when it was not noticed.
        recovered: Whether everything was found right, however long it took.
        verdict: How the drill ended.
        version: Of Squizzle.
        server_version: Of PostgreSQL.
    """

    at: datetime
    run: str
    scenario: str
    way: str
    source: str
    size_bytes: int | None
    rows: int | None
    rto: timedelta | None
    rpo: timedelta | None
    detected_in: timedelta | None
    recovered: bool
    verdict: str
    version: str
    server_version: str


def figures_of(report: DrillReport) -> DrillFigures:
    """What is kept of a drill."""
    findings = report.findings
    return DrillFigures(
        at=report.started_at,
        run=report.run_id,
        scenario=report.scenario.value,
        way=report.recovered_by or "",
        source=report.source,
        size_bytes=findings.size_bytes,
        rows=report.rows,
        rto=findings.rto,
        rpo=findings.rpo,
        detected_in=findings.detected_in,
        recovered=report.verdict is DrillVerdict.PASS,
        verdict=report.verdict.value,
        version=__version__,
        server_version=report.server_version,
    )


def comparable(figures: DrillFigures, earlier: Iterable[DrillFigures]) -> tuple[DrillFigures, ...]:
    """The newest drills before that recovered a database of about that size in the same way; the oldest first."""
    alike = [
        one
        for one in earlier
        if (one.scenario, one.way) == (figures.scenario, figures.way)
        and one.recovered
        and one.at < figures.at
        and one.rto is not None
        and _is_similar(one, figures)
    ]
    return tuple(sorted(alike, key=lambda one: one.at)[-MOST_BEFORE:])


def _is_similar(one: DrillFigures, other: DrillFigures) -> bool:
    """Whether they are of about one size, as far as that is known of both."""
    for mine, its in ((one.size_bytes, other.size_bytes), (one.rows, other.rows)):
        if mine and its:
            return 1 / _SIMILAR <= mine / its <= _SIMILAR
    return False


def usual_rto(alike: Sequence[DrillFigures]) -> timedelta | None:
    """The median of what they took; None where they are too few."""
    took = [one.rto.total_seconds() for one in alike if one.rto is not None]
    return timedelta(seconds=median(took)) if len(took) >= LEAST_BEFORE else None


def judged_by_cost(report: DrillReport, earlier: Iterable[DrillFigures], budget: DrillBudget) -> DrillReport:
    """The report of a drill that passed, failed where it cost more than it may, or than it used to.

    Args:
        report: As it was judged by what was found; one that did not pass stays as it is.
        earlier: Drills before, in any order.
        budget: What it may cost.
    """
    if report.verdict is not DrillVerdict.PASS:
        return report
    reasons = tuple(_too_dear(figures_of(report), tuple(earlier), budget))
    return replace(report, verdict=DrillVerdict.FAIL, reasons=(*reasons, *report.reasons)) if reasons else report


def _too_dear(figures: DrillFigures, earlier: Sequence[DrillFigures], budget: DrillBudget) -> Iterator[str]:
    for what, took, most in (("RTO", figures.rto, budget.rto), ("RPO", figures.rpo, budget.rpo)):
        if took is not None and most is not None and took > most:
            yield f"{what} is {words(took)}, and the budget of [drills] is {words(most)}"
    alike = comparable(figures, earlier)
    usual = usual_rto(alike)
    if figures.rto is None or usual is None:
        return
    if figures.rto > usual * _MOST_TIMES and figures.rto - usual > _NO_MATTER:
        yield (
            f"RTO is {words(figures.rto)}, more than twice the {words(usual)} that is usual:"
            f" the median of {len(alike)} drills of that disaster, way and size"
        )
