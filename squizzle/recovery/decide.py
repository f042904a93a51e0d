"""Which way back to take. Pure: the same facts always give the same decision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import median

from squizzle.backups.proofs import Verdict
from squizzle.backups.records import BackupKind
from squizzle.durations import words
from squizzle.postgres.access import APPLICATION_NAME
from squizzle.recovery.assess import Assessment
from squizzle.recovery.undo.records import UndoRequest
from squizzle.recovery.ways import BackupMeans, Means, RecoveryPlan, RecoveryPolicy, UndoMeans, Way, WayBack

Tried = Mapping[tuple[Way, str], str]
_NOTHING: Tried = {}
_DEFAULT_POLICY = RecoveryPolicy()


@dataclass(frozen=True, kw_only=True, slots=True)
class RollbackAttempt:
    """What became of running the down scripts.

    Attributes:
        versions: What was to be rolled back, newest first.
        error: Why it failed; empty when every script ran.
        remaining: Damage that is still there afterwards.
        doubtful: Tables that miss no row and whose rows are still others than in the backup: clients wrote them, or the
            script brought back something else. Only a comparison row by row can tell.
    """

    versions: tuple[str, ...]
    error: str
    remaining: tuple[str, ...]
    doubtful: tuple[str, ...] = ()

    @property
    def brought_back(self) -> bool:
        """Whether schema and rows are back."""
        return not self.error and not self.remaining

    @property
    def why_not(self) -> str:
        """Why the next way is needed; empty when it is not."""
        if self.error:
            return f"the down script failed ({self.error})"
        return f"the down script ran and did not bring the data back ({self.remaining[0]})" if self.remaining else ""


def decide_recovery(
    assessment: Assessment,
    means: Means,
    *,
    now: datetime,
    policy: RecoveryPolicy = _DEFAULT_POLICY,
    tried: Tried = _NOTHING,
    insist: bool = False,
) -> RecoveryPlan:
    """Put the ways back in order: those that lose nothing first, the quickest of them before the others.

    Of those that lose something, the one that loses least comes first, then the quickest.

    Args:
        assessment: What is damaged.
        means: What there is to recover with.
        now: The time.
        policy: What is allowed.
        tried: What failed already, and why: it is not chosen again.
        insist: Somebody says that there is damage, though none was found.
    """
    ways = tuple(_judged(way, policy, tried) for way in _ways(assessment, means, now))
    # Sorting keeps the order of the enumeration where all else is equal.
    ordered = tuple(sorted(ways, key=_preference))
    # A version that was applied since the backup and did no damage is what migrations are for.
    is_needed = insist or bool(assessment.damage)
    chosen = next((way for way in ordered if way.possible), None) if is_needed else None
    approval = ""
    if chosen is not None and chosen.loses_data and not policy.may_lose_data:
        approval = f"{chosen.way.words} loses what was written in the last {words(chosen.rpo)}"
    return RecoveryPlan(ways=ordered, chosen=chosen, is_needed=is_needed, approval=approval, tried=dict(tried))


_UNKNOWN = timedelta(days=36_500)


def _preference(way: WayBack) -> tuple[bool, timedelta, timedelta, int]:
    return (not way.possible, way.rpo, _UNKNOWN if way.rto is None else way.rto, list(Way).index(way.way))


def _judged(way: WayBack, policy: RecoveryPolicy, tried: Tried) -> WayBack:
    """The same way, impossible when it failed already or the policy forbids it."""
    failed = tried.get((way.way, way.name))
    if failed is not None:
        return replace(way, possible=False, why=f"it was tried: {failed}")
    why = _forbidden(way, policy) if way.possible else ""
    return replace(way, possible=False, why=why) if why else way


def _forbidden(way: WayBack, policy: RecoveryPolicy) -> str:
    """Why the policy forbids a way; empty where it does not."""
    if way.way in policy.ruled_out:
        return policy.ruled_out[way.way]
    if way.way not in policy.ways or (policy.only and way.name not in policy.only):
        return "the policy does not allow it"
    if policy.max_rto is not None and way.rto is not None and way.rto > policy.max_rto:
        return f"it takes {words(way.rto)}, the policy allows {words(policy.max_rto)}"
    if policy.max_rpo is not None and way.rpo > policy.max_rpo:
        return f"it loses what was written in {words(way.rpo)}, the policy allows {words(policy.max_rpo)}"
    return ""


def _ways(assessment: Assessment, means: Means, now: datetime) -> Iterator[WayBack]:
    struck = assessment.disaster_at
    yield _roll_back(assessment, means)
    yield _undo(assessment, means, struck, now)
    if not means.copies:
        yield _impossible(Way.SWAP, "no copy was prepared")
    for copy in means.copies:
        late = struck is not None and copy.made_at >= struck
        yield WayBack(
            way=Way.SWAP,
            name=copy.name,
            possible=not late,
            why="it was made after the disaster" if late else f"a copy made {words(now - copy.made_at)} ago is ready",
            # Two renames in one transaction: 7 ms whatever the size; the time goes into comparing.
            rto=timedelta(seconds=1),
            measured_by="a swap of names takes the same time whatever the size",
            rpo=max(now - copy.made_at, timedelta(milliseconds=1)),
        )
    if not means.backups:
        yield _impossible(Way.RESTORE_BESIDE, "there is no backup of this database")
    for backup in means.backups:
        yield _restore(backup, means, struck, now)
    yield _point_in_time(means, struck, now)
    if not means.cloud:
        yield _impossible(Way.CLOUD, "no provider's snapshot is known")
    for one in means.cloud:
        late = struck is not None and one.at >= struck
        why = one.problem or ("it is from after the disaster" if late else f"the provider has the state of {one.at}")
        yield WayBack(
            way=Way.CLOUD,
            name=one.name,
            possible=not (one.problem or late),
            why=why,
            rto=one.took,
            rpo=max(now - one.at, timedelta(milliseconds=1)),
            measured_by="the last restore of that kind" if one.took else "",
        )


def _impossible(way: Way, why: str) -> WayBack:
    return WayBack(way=way, name="", possible=False, why=why)


def _roll_back(assessment: Assessment, means: Means) -> WayBack:
    versions = assessment.applied_since
    scripts = {one.version: one for one in means.scripts}
    name = ", ".join(reversed(versions))
    if not versions:
        return _impossible(Way.ROLL_BACK, "nothing was applied since the backup")
    without = [version for version in versions if version not in scripts or not scripts[version].has_down]
    if without:
        return WayBack(
            way=Way.ROLL_BACK, name=name, possible=False, why=f"there is no down script for {', '.join(without)}"
        )
    known = [scripts[version] for version in versions]
    took = [one.took for one in known if one.took is not None]
    done = [one.rolled_back_at for one in known if one.rolled_back_at is not None]
    return WayBack(
        way=Way.ROLL_BACK,
        name=name,
        possible=True,
        why=f"{name} came after the backup and can be rolled back in place",
        rto=sum(took, timedelta()) if len(took) == len(known) else None,
        proven_at=min(done) if len(done) == len(known) else None,
        measured_by="the history: how long these versions took" if len(took) == len(known) else "",
    )


def _undo(assessment: Assessment, means: Means, struck: datetime | None, now: datetime) -> WayBack:
    problem = _why_no_undo(assessment, means.undo, struck)
    if problem or struck is None:
        return _impossible(Way.UNDO, problem)
    if assessment.by_migration:
        what, why, rpo = "what migrations did", "and what clients wrote stays", timedelta()
    else:
        what, why = "everything", "and nobody knows whose changes were wrong, so all of them go"
        rpo = max(now - struck, timedelta(milliseconds=1))
    took, measured_by = _drilled(means, Way.UNDO)
    return WayBack(
        way=Way.UNDO,
        name=f"{what} since {struck:%Y-%m-%d %H:%M:%S %Z}",
        possible=True,
        why=f"the change log covers all damaged tables, {why}",
        rto=took,
        rpo=rpo,
        measured_by=measured_by,
    )


def _why_no_undo(assessment: Assessment, log: UndoMeans | None, struck: datetime | None) -> str:
    """Why the change log cannot bring it back; empty when it can."""
    if log is None:
        return "no change log is switched on"
    if assessment.schema_damage:
        return f"the change log brings back rows, no definitions ({assessment.schema_damage[0]})"
    if struck is None:
        return "it is not known when the damage was done: say since when (`--damaged-since`, *Damaged since*)"
    if log.since > struck:
        return f"the change log begins at {log.since}, after the disaster"
    missing = sorted({one.table for one in assessment.damaged_tables} - log.tables.keys())
    if missing:
        return f"the change log does not cover {', '.join(missing)}"
    return "" if _tables(assessment, log) else "no table that the change log covers is damaged"


def _tables(assessment: Assessment, log: UndoMeans) -> frozenset[str]:
    """The damaged tables; also those with other rows, where a migration did it or where nothing else is damaged."""
    damaged = frozenset(one.table for one in assessment.damaged_tables)
    if damaged and not assessment.by_migration:
        return damaged
    return damaged | (frozenset(assessment.changed_tables) & log.tables.keys())


# How sessions call themselves in which migrations are applied and rolled back.
_MIGRATIONS = tuple(f"{APPLICATION_NAME} {purpose}" for purpose in ("migration", "rollback", "rollout"))


def undone_tables(assessment: Assessment, means: Means) -> frozenset[str]:
    """Which tables the way `undo` takes back changes of, by their names as they are quoted."""
    return frozenset() if means.undo is None else _tables(assessment, means.undo)


def undo_request(assessment: Assessment, means: Means) -> UndoRequest:
    """What the way `undo` takes back: of migrations their own transactions, else everything since the damage.

    Args:
        assessment: What is damaged, and since when.
        means: With a change log for which that way is possible.
    """
    if means.undo is None or assessment.disaster_at is None:
        raise AssertionError("this way was not possible")
    return UndoRequest(
        tables=tuple(means.undo.tables[name] for name in sorted(undone_tables(assessment, means))),
        since=assessment.disaster_at,
        applications=_MIGRATIONS if assessment.by_migration else (),
    )


_RESTORED_ALONE = frozenset({BackupKind.FULL})


def _restore(one: BackupMeans, means: Means, struck: datetime | None, now: datetime) -> WayBack:
    backup = one.backup
    if backup is None or one.problems:
        return WayBack(
            way=Way.RESTORE_BESIDE,
            name=one.id,
            possible=False,
            why="; ".join(one.problems) or "its manifest is damaged",
        )
    problem = ""
    if backup.kind not in _RESTORED_ALONE:
        problem = f"a backup of kind {backup.kind.value} does not hold the whole database"
    elif struck is not None and backup.started_at >= struck:
        problem = "it was taken after the disaster"
    else:
        failed = next((proof for proof in (one.restored, one.verified) if _failed(proof)), None)
        if failed is not None:
            problem = f"it failed its last check: {failed.sentences[0] if failed.sentences else failed.kind.value}"
    proven = one.restored is not None and one.restored.verdict is Verdict.PASS
    took, measured_by = _restore_time(one, means)
    known = "restored and compared before" if proven else "never restored before"
    return WayBack(
        way=Way.RESTORE_BESIDE,
        name=backup.id,
        possible=not problem,
        why=problem or f"a backup {words(now - backup.started_at)} old, {known}",
        rto=took,
        rpo=max(now - backup.started_at, timedelta(milliseconds=1)),
        proven_at=one.restored.at if proven and one.restored else None,
        measured_by=measured_by,
    )


def _failed(proof: object) -> bool:
    return getattr(proof, "verdict", None) is Verdict.FAIL


def _restore_time(one: BackupMeans, means: Means) -> tuple[timedelta | None, str]:
    """What a restore takes: what it took, or what another backup of this kind took, by its size."""
    if one.backup is None:
        return None, ""
    candidates = [one, *means.backups]
    for other in candidates:
        proof = other.restored
        if other.backup is None or proof is None or proof.verdict is not Verdict.PASS:
            continue
        if other.backup.kind is not one.backup.kind or not other.backup.size_bytes:
            continue
        if other is one:
            return proof.duration, "the last restore of this backup"
        return (
            proof.duration * (one.backup.size_bytes / other.backup.size_bytes),
            f"the restore of {other.id}, by size",
        )
    return _drilled(means, Way.RESTORE_BESIDE, rows=one.backup.rows)


def _drilled(means: Means, way: Way, *, rows: int | None = None) -> tuple[timedelta | None, str]:
    """What a way took in drills, the median of them; for more rows it takes longer by as much, for fewer no less.

    Args:
        means: With what drills took.
        way: Which.
        rows: Of the database; None where the time does not go by them, 0 where they are not known.
    """
    drilled = [one for one in means.drilled if one.way is way and (rows is None or (rows and one.rows))]
    if not drilled:
        return None, ""
    took = [one.took * (max(1.0, rows / one.rows) if rows and one.rows else 1.0) for one in drilled]
    by = "1 drill" if len(drilled) == 1 else f"the median of {len(drilled)} drills"
    return timedelta(seconds=median(one.total_seconds() for one in took)), f"{by}{', by rows' if rows else ''}"


def _point_in_time(means: Means, struck: datetime | None, now: datetime) -> WayBack:
    point = means.point
    if point is None and struck is None:
        return _impossible(Way.POINT_IN_TIME, "it is not known when the damage was done: name the time")
    if point is None:
        return _impossible(Way.POINT_IN_TIME, "there is no copy of the cluster with an archive of its log")
    return WayBack(
        way=Way.POINT_IN_TIME,
        name=f"{point.backup_id} to {point.target}",
        possible=not point.problem,
        why=point.problem or f"the log is archived until the disaster ({struck or point.target})",
        rto=point.took,
        rpo=max(now - point.target, timedelta(milliseconds=1)),
        proven_at=point.proven_at,
        measured_by="the last recovery to a point" if point.took else "",
    )
