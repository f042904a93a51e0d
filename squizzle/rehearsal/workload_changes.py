"""What two measures of the same queries say about what lies between them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from squizzle.rehearsal.plan_shape import PlanShape
from squizzle.rehearsal.records import PlanChange
from squizzle.rehearsal.workload import QueryMeasure


def compare_workload(
    before: Sequence[QueryMeasure], after: Sequence[QueryMeasure], *, ratio: float = 1.5, floor_ms: float = 5.0
) -> tuple[PlanChange, ...]:
    """How every query fares, in the order in which they were measured before. Pure.

    Worse is a query that no longer runs; one that takes more than `ratio` times as long and `floor_ms` longer; and one
    that reads a relation as a whole where it used an index that is gone, however small the copy is.

    Args:
        before: What `measure_workload` found.
        after: What it found for the same queries afterwards.
        ratio: A query takes at least so many times as long to count as slower.
        floor_ms: And at least so much longer: what is below is noise.
    """
    found = {one.query: one for one in after}
    return tuple(
        _change(_Pair(was=one, now=found.get(one.query, _not_measured(one)), ratio=ratio, floor_ms=floor_ms))
        for one in before
    )


def _not_measured(one: QueryMeasure) -> QueryMeasure:
    return QueryMeasure(query=one.query, why="it was not measured afterwards")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Judgement:
    why: str
    regressed: bool = False
    inconclusive: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pair:
    """One query, before and after."""

    was: QueryMeasure
    now: QueryMeasure
    ratio: float
    floor_ms: float

    @property
    def is_slower(self) -> bool:
        least = self.now.limit_ms if self.now.is_cut else self.now.ms
        return self.was.ms is not None and least is not None and self._is_more(least, self.was.ms)

    @property
    def is_faster(self) -> bool:
        return self.was.ms is not None and self.now.ms is not None and self._is_more(self.was.ms, self.now.ms)

    def _is_more(self, one: float, other: float) -> bool:
        return one > other * self.ratio and one - other > self.floor_ms

    @property
    def times(self) -> str:
        return f"{_time(self.was)} before, {_time(self.now)} now"


def _time(one: QueryMeasure) -> str:
    if one.is_cut:
        return f"ended after {one.limit_ms:,.0f} ms"
    return "not timed" if one.ms is None else f"{one.ms:,.1f} ms"


def _change(pair: _Pair) -> PlanChange:
    judgement = _judge(pair)
    was, now = pair.was, pair.now
    return PlanChange(
        query=was.query.label,
        before_ms=was.ms,
        after_ms=now.ms,
        before=was.shape.text if was.shape else "",
        after=now.shape.text if now.shape else "",
        regressed=judgement.regressed,
        inconclusive=judgement.inconclusive,
        why=judgement.why,
    )


def _judge(pair: _Pair) -> _Judgement:
    was, now = pair.was, pair.now
    if now.refused:
        return _refused(was, now)
    if was.refused:
        return _Judgement(why=f"runs now, and did not before: {was.refused}")
    if was.shape is None or now.shape is None:
        why = was.why or now.why or "it took too long to plan"
        return _Judgement(why=f"cannot be compared: {why}", inconclusive=True)
    return _compared(pair, was.shape, now.shape)


def _compared(pair: _Pair, was: PlanShape, now: PlanShape) -> _Judgement:
    lost = now.lost_indexes(was)
    if lost and (judgement := _without_index(pair, lost, was, now)):
        return judgement
    if pair.is_slower:
        return _Judgement(why=f"is slower: {pair.times}", regressed=True)
    if pair.now.ms is None or (pair.was.ms is None and not pair.was.is_cut):
        return _untimed(pair, was, now)
    return _Judgement(why=_as_good(pair, was, now))


def _refused(was: QueryMeasure, now: QueryMeasure) -> _Judgement:
    if was.shape is not None and not was.refused:
        return _Judgement(why=f"no longer runs: {now.refused}", regressed=True)
    before = "it did not before" if was.refused else f"nobody knows whether it did before: {was.why or 'it was ended'}"
    return _Judgement(why=f"does not run: {now.refused}; {before}", inconclusive=True)


def _without_index(pair: _Pair, lost: tuple[str, ...], was: PlanShape, now: PlanShape) -> _Judgement | None:
    """A relation is read as a whole now. None when that is the planner's choice and costs no more."""
    reads = f"reads {', '.join(lost)} as a whole"
    gone = sorted(was.indexes - pair.now.indexes)
    if gone:
        return _Judgement(why=f"{reads}, for {', '.join(gone)} is gone: {pair.times}", regressed=True)
    if pair.is_slower or (pair.now.ms is None and now.cost > was.cost * pair.ratio):
        return _Judgement(why=f"{reads}, and used {_names(was)} before: {pair.times}", regressed=True)
    return None


def _names(shape: PlanShape) -> str:
    return ", ".join(sorted(shape.indexes)) or "an index"


def _untimed(pair: _Pair, was: PlanShape, now: PlanShape) -> _Judgement:
    why = pair.now.why or pair.was.why or pair.times
    if pair.now.is_cut or pair.was.is_cut:
        return _Judgement(why=f"was not timed to its end: {pair.times}", inconclusive=True)
    if was.text == now.text:
        return _Judgement(why=f"has the same plan; its times cannot be compared: {why}", inconclusive=True)
    by = f"at {now.cost / was.cost:,.1f} times the estimated cost" if was.cost else "at another estimated cost"
    return _Judgement(why=f"has another plan, {by}; its times cannot be compared: {why}", inconclusive=True)


def _as_good(pair: _Pair, was: PlanShape, now: PlanShape) -> str:
    if not pair.is_faster and not pair.was.is_cut:
        return f"as before: {pair.times}"
    fresh = now.indexes - was.indexes
    by = f" by {', '.join(sorted(fresh))}" if fresh else ""
    return f"is faster{by}: {pair.times}"
