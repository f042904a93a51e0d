"""What we said that we would reach, where, and whether a run reached it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from bench.report import Figure, Finding, Table


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
        stated: Where: a page of docs/, or "requirement".
    """

    what: str
    benchmark: str
    figure: str
    of: Of
    limit: float
    peer_name: str = ""
    at_least: bool = False
    stated: str = "requirement"

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


AIMS: tuple[Aim, ...] = ()


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
        measured = "" if value is None else f"{value:.3g} {unit}"
        rows.append(
            (aim.what, f"{word} {aim.limit:g} {unit}".rstrip(), measured, aim.answer(figures).value, aim.stated)
        )
    return Table(headings=("aim", "limit", "measured", "reached", "stated in"), rows=tuple(rows))


def not_found(findings: Mapping[str, Finding], aims: tuple[Aim, ...] = AIMS) -> tuple[str, ...]:
    """Aims whose benchmark ran well and has no such figure: one of the two names is wrong."""
    measured = ((aim, findings[aim.benchmark].figures) for aim in aims if aim.benchmark in findings)
    return tuple(aim.what for aim, figures in measured if aim.value(figures) is None)
