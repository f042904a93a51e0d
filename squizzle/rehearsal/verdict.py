"""What a rehearsal proves. Pure: everything that was found out goes in, the verdict and its reasons come out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from squizzle.durations import words
from squizzle.proof.records import RowChange, RowDifference, SchemaMatch
from squizzle.recovery.ways import Way
from squizzle.rehearsal.records import CertificateVerdict, ProvenWay, RollbackProof

NO_SCRIPT = "none"
DOWN_SCRIPT = "down script"
GENERATED = "generated"


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Everything that was found out about one version.

    Attributes:
        could_not: What could not be tried, a sentence each.
        up_failed: What the up script, or its verify script, failed with; empty when it came to its end.
        rollback: What the way back by script left.
        taken_by_up: The rows and values that the up script itself took away or changed, of the tables whose rows did
            not come back: what no script can bring back that has not saved it.
        again_failed: What the up script failed with the second time; empty when it did not.
        again_differences: In what the schema after the second time differs from the first.
        ways: Every other way back that was tried.
    """

    could_not: tuple[str, ...] = ()
    up_failed: str = ""
    rollback: RollbackProof
    taken_by_up: tuple[RowDifference, ...] = ()
    again_failed: str = ""
    again_differences: tuple[str, ...] = ()
    ways: tuple[ProvenWay, ...] = ()


def judge(evidence: Evidence) -> tuple[CertificateVerdict, tuple[str, ...]]:
    """The verdict, and its reasons, the worst first.

    Something that was executed and is not as it has to be makes it `failed`, whatever else could not be tried. A
    rollback that loses what the up script itself had taken away is no failure when another way back was executed
    and brought back everything. A down script that leaves another schema, or damages rows that the up script had
    left alone, always is.

    Returns:
        The verdict. Of a proven one the reasons are what a reader has to know.
    """
    if failures := tuple(_failures(evidence)):
        return CertificateVerdict.FAILED, (*failures, *evidence.could_not)
    if evidence.could_not:
        return CertificateVerdict.INCONCLUSIVE, evidence.could_not
    if evidence.rollback.is_exact:
        return CertificateVerdict.PROVEN, ()
    losses = tuple(_losses(evidence))
    if way := best_way(evidence.ways):
        return CertificateVerdict.PROVEN, (*losses, _instead(way))
    return CertificateVerdict.INCONCLUSIVE, (*losses, *_no_other(evidence.ways))


def best_way(ways: tuple[ProvenWay, ...]) -> ProvenWay | None:
    """The quickest way back other than by script that was executed and brought back everything; None for none."""
    proven = (one for one in ways if one.way is not Way.ROLL_BACK and one.executed and one.complete)
    return min(proven, key=lambda one: one.duration or timedelta.max, default=None)


def _failures(evidence: Evidence) -> Iterator[str]:
    if evidence.up_failed:
        yield evidence.up_failed
        return
    rollback = evidence.rollback
    if rollback.script == DOWN_SCRIPT:
        yield from _failures_of_down(rollback, evidence.taken_by_up)
    elif rollback.script == GENERATED:
        yield from (_damaged(one) for one in rollback.rows if not is_taken(one, evidence.taken_by_up))
    if evidence.again_failed:
        yield f"applied again after the rollback it fails: {evidence.again_failed}"
    yield from (
        f"applied again after the rollback it leaves another schema: {one}" for one in evidence.again_differences
    )


def _failures_of_down(rollback: RollbackProof, taken: tuple[RowDifference, ...]) -> Iterator[str]:
    if rollback.why:
        yield f"the down script fails: {rollback.why}"
        return
    yield from (f"the down script does not lead back: {one}" for one in rollback.differences)
    yield from (_damaged(one) for one in rollback.rows if not is_taken(one, taken))
    if rollback.schema is SchemaMatch.DIFFERENT and not rollback.differences:
        yield "the down script leaves another schema"


def _damaged(one: RowDifference) -> str:
    return f"the rollback leaves other rows than before, which the up script had not touched: {one.sentence()}"


def is_taken(lost: RowDifference, taken: tuple[RowDifference, ...]) -> bool:
    """Whether the up script itself had taken away what is not there after the rollback."""
    same = [one for one in taken if one.table == lost.table]
    match lost.change:
        case RowChange.UNEXPECTED:
            return False
        case RowChange.MISSING:
            return any(one.change is RowChange.MISSING and one.rows >= lost.rows for one in same)
        case RowChange.CHANGED:
            changed = [one for one in same if one.change is RowChange.CHANGED]
            columns = {name for one in changed for name in one.columns}
            return bool(lost.columns) and set(lost.columns) <= columns


def _losses(evidence: Evidence) -> Iterator[str]:
    rollback = evidence.rollback
    if rollback.script == NO_SCRIPT:
        yield f"there is no way back by script: {rollback.why or 'no down script, and none can be generated'}"
        return
    if rollback.why:
        yield f"the {rollback.script} way back fails: {rollback.why}"
    for one in rollback.rows:
        yield f"the way back by script loses what the migration takes away: {one.sentence()}"
    yield from (f"the {rollback.script} way back does not lead back: {one}" for one in rollback.differences)


def _instead(way: ProvenWay) -> str:
    took = f" in {words(way.duration)}" if way.duration else ""
    return f"{_NAMES[way.way]} brings everything back as of the backup: executed here{took}, and compared"


def _no_other(ways: tuple[ProvenWay, ...]) -> Iterator[str]:
    yield "no other way back was executed that brings it back"
    yield from (f"{_NAMES[one.way]}: {one.detail}" for one in ways if one.way is not Way.ROLL_BACK)


_NAMES = {
    Way.ROLL_BACK: "rolling back",
    Way.UNDO: "undoing changes from the change log",
    Way.SWAP: "swapping in a prepared copy",
    Way.RESTORE_BESIDE: "restoring the backup beside",
    Way.POINT_IN_TIME: "recovering to a point in time",
    Way.CLOUD: "restoring at the cloud provider",
}
