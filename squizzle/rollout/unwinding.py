"""How a target is brought back that its down scripts did not bring back, or were not proven to. Pure.

What ways there are and what each would lose is the recovery's own decision (`squizzle.recovery.decide`); here is what a
rollout adds to it: what certificates proved, who else is at work, and when a person is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum

from squizzle.proof.records import SchemaMatch
from squizzle.recovery.evidence import Evidence
from squizzle.recovery.recovery import RecoveryOutcome, RecoveryReport
from squizzle.recovery.ways import RecoveryPolicy, Way, WayBack
from squizzle.rehearsal.records import Certificate
from squizzle.rehearsal.verdict import best_way
from squizzle.rollout.orders import ApplyVerdict, Recovered, TargetResult
from squizzle.rollout.records import FleetTarget

# They exchange the whole database, or take back whatever migrations did in it.
_WHOLE = (Way.UNDO, Way.SWAP, Way.RESTORE_BESIDE, Way.POINT_IN_TIME, Way.CLOUD)


class Recovers(StrEnum):
    """When a target that could not be taken back is recovered.

    `safe`: at once where the way loses nothing, or was proven and nobody else is at work; else a person is asked.
    `ask`: a person is always asked. `never`: it is named, and left as it is.
    """

    SAFE = "safe"
    ASK = "ask"
    NEVER = "never"


@dataclass(frozen=True, kw_only=True, slots=True)
class Prospect:
    """What a recovery of one target would be.

    Attributes:
        target: Which.
        result: What taking it back came to before.
        way: What it would be recovered by; None where nothing can be done.
        proven_by: Where this way was carried out and compared before; empty for nowhere.
        clients: Sessions of others that are in the database.
        rows: Rows that came since the backup, at least.
        why_not: Why nothing can be done; empty when something can.
        ruled_out: Ways that are not taken, and why.
    """

    target: FleetTarget
    result: TargetResult
    way: WayBack | None = None
    proven_by: str = ""
    clients: int = 0
    rows: int = 0
    why_not: str = ""
    ruled_out: Mapping[Way, str] = field(default_factory=dict)

    @property
    def others_at_work(self) -> str:
        """Who else is at work there, in words; empty for nobody."""
        said = []
        if self.clients:
            said.append(f"{self.clients:,} sessions of others are in")
        if self.rows:
            said.append(f"at least {self.rows:,} rows came since the backup")
        return " and ".join(said)

    @property
    def why_ask(self) -> str:
        """Why a person has to be asked where only what is safe is done at once; empty where nobody has to."""
        if self.way is None or not self.way.loses_data:
            return ""
        if not self.proven_by:
            return "this way was never carried out before"
        return self.others_at_work

    def policy(self) -> RecoveryPolicy:
        """What its recovery may do: this way with this backup or copy, and nothing else."""
        if self.way is None:
            raise AssertionError("there is nothing that could be done")
        return RecoveryPolicy(
            may_lose_data=self.way.loses_data,
            ways=frozenset({self.way.way}),
            only=frozenset({self.way.name}),
            ruled_out=self.ruled_out,
        )


def split_prospects(
    prospects: Iterable[Prospect], policy: Recovers
) -> tuple[tuple[Prospect, ...], tuple[Prospect, ...]]:
    """Those that are recovered at once, and those that a person is asked about."""
    possible = [one for one in prospects if one.way is not None]
    asked = [one for one in possible if policy is Recovers.ASK or one.why_ask]
    return tuple(one for one in possible if one not in asked), tuple(asked)


def unproven_scripts(certificates: Mapping[str, Certificate]) -> dict[str, str]:
    """The versions whose certificate shows that the way back is another one than the down script, with the reason."""
    found = {}
    for version, certificate in certificates.items():
        way = best_way(certificate.ways)
        if not certificate.rollback.is_exact and way is not None:
            why = certificate.rollback.why or "its down script does not bring everything back"
            found[version] = f"certificate {certificate.id} proves {way.way.words} as the way back, for {why}"
    return found


def why_not_by_script(brought: Sequence[str], unproven: Mapping[str, str]) -> str:
    """Why the down scripts of what was brought are not run; empty where they are."""
    return "; ".join(f"{version}: {unproven[version]}" for version in brought if version in unproven)


def ruled_out_ways(target: FleetTarget, everybody: Iterable[FleetTarget], *, by_script: str) -> dict[Way, str]:
    """The ways that a rollout does not take, and why.

    Args:
        target: What is to be recovered.
        everybody: All targets of its fleet.
        by_script: Why its down scripts are no way.
    """
    found = {Way.ROLL_BACK: by_script}
    here = target.server, target.database
    others = [one.name for one in everybody if (one.server, one.database) == here and one.name != target.name]
    if others:
        more = f" and {len(others) - 1:,} more" if len(others) > 1 else ""
        found |= dict.fromkeys(_WHOLE, f"{others[0]}{more} is in the same database, and would be taken back with it")
    return found


def proof_of(way: WayBack, versions: Iterable[str], certificates: Mapping[str, Certificate]) -> str:
    """Where a way was carried out and compared before: for itself, or in the rehearsal of every version; else empty."""
    if way.proven_at is not None:
        return f"carried out and compared at {way.proven_at:%Y-%m-%d %H:%M %Z}"
    found = []
    for version in versions:
        certificate = certificates.get(version)
        shown = certificate is not None and any(
            one.way is way.way and one.executed and one.complete for one in certificate.ways
        )
        if certificate is None or not shown:
            return ""
        found.append(certificate.id)
    return f"certificate {', '.join(dict.fromkeys(found))}" if found else ""


def way_of(evidence: Evidence) -> tuple[WayBack | None, str]:
    """What the recovery would do, or why nothing can be done.

    The change log's undo takes back rows: it is no way where a version left another schema.
    """
    plan, assessment = evidence.plan, evidence.assessment
    if plan is None or assessment is None:
        return None, evidence.error or "nobody could say what there is to recover it with"
    is_same = assessment.comparison.schema is not SchemaMatch.DIFFERENT
    way = next((one for one in plan.ways if one.possible and (is_same or one.way is not Way.UNDO)), None)
    return way, "" if way else plan.reason


def recovered_result(prospect: Prospect, report: RecoveryReport) -> TargetResult:
    """What became of a target that was to be recovered.

    Args:
        prospect: What was to be done.
        report: Of its recovery.
    """
    evidence, result = report.evidence, prospect.result
    if report.outcome is not RecoveryOutcome.RECOVERED:
        shut = "; clients are kept out, and the same `squizzle recover` goes on" if report.fenced else ""
        return not_recovered(
            result, f"its recovery: {report.outcome.value.replace('_', ' ')}: {report.reasons[0]}{shut}"
        )
    way = evidence.decisions[-1] if evidence.decisions else prospect.way
    if way is None:
        raise AssertionError("it was recovered by no way")
    took = sum((one.duration for one in report.steps), timedelta())
    return replace(
        result,
        verdict=ApplyVerdict.RECOVERED,
        before=result.after,
        duration=result.duration + took,
        error="",
        hint="",
        recovery=Recovered(
            way=way.way.words,
            name=way.name,
            why=result.error,
            took=evidence.rto,
            lost=way.rpo,
            rows=_rows(evidence),
            verified=evidence.verified or "",
            kept_as=evidence.kept_as,
            rows_kept=evidence.salvage.rows_at_risk if evidence.salvage else None,
        ),
    )


def not_recovered(result: TargetResult, why: str) -> TargetResult:
    """The same, and why it was not recovered either."""
    return replace(result, error=f"{result.error}; {why}" if result.error else why)


def _rows(evidence: Evidence) -> int | None:
    """How many rows the comparison that counts has looked at; None where it was no comparison table by table."""
    if evidence.undo is not None:
        return evidence.undo.changes
    found = evidence.final or evidence.copy
    return None if found is None else sum(one.found_rows or 0 for one in found.tables)
