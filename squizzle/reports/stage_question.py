"""What somebody decides on who is asked whether a stage of a rollout may begin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from squizzle.numbers import number_of
from squizzle.postgres.decisions import Question
from squizzle.recovery.ways import Way
from squizzle.rehearsal.lock_forecast_records import QueueVerdict
from squizzle.rehearsal.records import Certificate, ProvenWay
from squizzle.reports.markdown import bullets, more, seconds, table
from squizzle.reports.rollout import check_table, slug_of, some_names, stage_table
from squizzle.rollout.checks import CheckRow
from squizzle.rollout.foresight import TargetForecast
from squizzle.rollout.records import RolloutPlan, StagePlan
from squizzle.rollout.report import StageReport

_MOST_ADVICE = 3
# What goes when a way back is taken after a stage, where it brought everything back on the rehearsed data.
_LOSES = {
    Way.ROLL_BACK: "nothing",
    Way.UNDO: "nothing that clients wrote",
    Way.SWAP: "what was written since the copy",
    Way.RESTORE_BESIDE: "what was written since the backup",
    Way.POINT_IN_TIME: "what was written since the point",
    Way.CLOUD: "what was written since the snapshot",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class StageFacts:
    """What is known when a person is asked.

    Attributes:
        checks: What was looked at before.
        certificates: What is proven, by version.
        reports: Of the stages before.
        remarks: What a person should know.
        forecasts: Who would wait now, at some targets; no part of what the answer holds for, for it changes by itself.
        links: Where more is to be read: what it is, and its address.
    """

    checks: Sequence[CheckRow] = ()
    certificates: Mapping[str, Certificate] = field(default_factory=dict)
    reports: Sequence[StageReport] = ()
    remarks: Sequence[str] = ()
    forecasts: Sequence[TargetForecast] = ()
    links: Mapping[str, str] = field(default_factory=dict)


def stage_question(
    stage: StagePlan, plan: RolloutPlan, rollout_id: str, facts: StageFacts, *, name_to_type: str
) -> Question:
    """Whether a stage may begin: for this very plan.

    Args:
        stage: The stage.
        plan: The rollout's.
        rollout_id: The rollout.
        facts: To decide on.
        name_to_type: What an approval has to have typed by hand; empty for nothing.
    """
    versions = ", ".join(one.version for one in plan.versions)
    warnings = [row for row in facts.checks if row.findings]
    known = [*facts.remarks, *plan.remarks]
    parts = [
        f"Rollout `{rollout_id}`: **{versions}** to {number_of(len(stage.targets), 'target')} of {plan.fleet}.",
        stage_table(plan, facts.reports, asked=stage.stage.name),
        some_names([one.name for one in stage.targets]),
        "## What is proven",
        bullets([_proof(one.version, facts.certificates.get(one.version)) for one in plan.versions]),
        *_ways_back(plan, facts.certificates),
        *_if_it_ran_now(facts.forecasts, len(stage.targets)),
    ]
    if known:
        parts += ["## To be known", bullets(known)]
    if warnings:
        parts += ["## What the checks warn of", check_table(warnings)]
    if facts.links:
        parts.append(more(facts.links))
    return Question(
        gate=f"rollout-{slug_of(stage.stage)}",
        title=f"Roll out {versions} to stage {stage.stage.name} of {plan.fleet}",
        plan="\n\n".join(parts),
        facts=(rollout_id, plan.digest, stage.stage.name),
        name_to_type=name_to_type,
    )


def _proof(version: str, certificate: Certificate | None) -> str:
    if certificate is None:
        return f"{version}: no certificate, so no way back was measured"
    took = f", the script took {seconds(certificate.up.duration)}" if certificate.up else ""
    return f"{version}: certificate `{certificate.id}`{took}"


def _ways_back(plan: RolloutPlan, certificates: Mapping[str, Certificate]) -> Iterator[str]:
    rows = [
        (one.version, way.way.words, seconds(way.duration if way.executed else None), _lost(way))
        for one in plan.versions
        if one.version in certificates
        for way in certificates[one.version].ways
    ]
    if rows:
        yield table(("version", "way back", "takes (RTO), as rehearsed", "loses (RPO)"), rows)


def _lost(way: ProvenWay) -> str:
    if not way.executed:
        return f"not known: {way.detail}"
    return _LOSES[way.way] if way.complete else f"**not everything came back**: {way.detail}"


def _if_it_ran_now(forecasts: Sequence[TargetForecast], targets: int) -> Iterator[str]:
    if not forecasts:
        return
    yield f"## If it ran now, at {len(forecasts)} of {targets:,} targets"
    yield table(("target", "clients", "why"), [_row(one) for one in forecasts])
    worst = max(
        (one.forecast for one in forecasts if one.forecast is not None),
        key=lambda one: one.verdict.rank,
        default=None,
    )
    if worst is not None and worst.verdict is not QueueVerdict.NOBODY and worst.advice:
        yield bullets([f"{worst.database}: {one}" for one in worst.advice[:_MOST_ADVICE]])


def _row(one: TargetForecast) -> tuple[str, str, str]:
    if one.forecast is None:
        return one.target.name, "could not be told" if one.why else "nothing to run", one.why
    return one.target.name, one.forecast.verdict.value, one.forecast.sentence
