"""The side relations of a statement in what is found about it: who else has to wait, which its text does not say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from squizzle.analysis.findings import Finding, Severity
from squizzle.analysis.locks.records import Forecast, RelationName, RelationSet
from squizzle.analysis.locks.shapes import Shape
from squizzle.analysis.locks.side import SideLock, Surroundings, side_locks

SIDE_LOCKS = ("L139", "side-locks")
_GOES = frozenset({Shape.DROP_TABLE, Shape.DROP_VIEW, Shape.DROP_MATERIALIZED_VIEW, Shape.DROP_SEQUENCE})


class SideLooks:
    """Looks at the statements of one script, in their order."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._gone: set[RelationName] = set()

    def locks_of(self, forecast: Forecast, created: RelationSet) -> tuple[SideLock, ...]:
        """The side locks of the next statement, without those on what earlier statements made or dropped."""
        forecast = forecast.without(created)
        found = side_locks(forecast, self._around)
        found = tuple(one for one in found if one.relation not in self._gone)
        for use in forecast.uses:
            if use.shape in _GOES:
                dropped = self._around.kin.find(use.named[0][1])
                self._gone |= {dropped.name} if dropped is not None else set()
        return found


def with_side_locks(found: Sequence[Finding], side: tuple[SideLock, ...], *, file: str, line: int) -> list[Finding]:
    """The findings about one statement, those about its lock with its side locks; a finding of its own where none is.

    Args:
        found: What rules say about the statement.
        side: What it locks besides what it names.
        file: The script.
        line: Where the statement begins.
    """
    if not any(one.lock for one in found) and any(one.mode.blocks_writes for one in side):
        found = [*found, _finding(side, file, line)]
    return [replace(one, also_locks=side) if one.lock else one for one in found]


def _finding(side: tuple[SideLock, ...], file: str, line: int) -> Finding:
    strongest = max(side, key=lambda one: one.mode.strength)
    return Finding(
        file=file,
        line=line,
        column=1,
        rule=SIDE_LOCKS[0],
        name=SIDE_LOCKS[1],
        severity=Severity.WARNING if strongest.mode.blocks_reads else Severity.INFO,
        message=f"locks {strongest.relation}, which it does not name, {strongest.mode} ({strongest.because})",
        effect="Clients of that table wait as well, from the moment on that the statement waits for its lock.",
        lock=strongest.mode.value,
        relation=str(strongest.relation),
        hint="mind the traffic of both; run it when no long transaction uses either, and keep lock_timeout short",
    )
