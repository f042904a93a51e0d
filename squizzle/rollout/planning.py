"""Who is migrated when. Pure: the same fleet, stages and seed give the same plan, in whatever order they come.

The order of targets: pinned ones, then lower tiers, then smaller sizes (by power of ten, so that growth seldom moves a
target), then a hash of seed and name. A stage takes the next ones in that order. Whoever plans again hands in who was
in which stage (`kept`): nobody changes stages, newcomers come with the last.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from squizzle.errors import InvalidInputError
from squizzle.migrations.batches.shares import carries_shares
from squizzle.migrations.records import Migration
from squizzle.rollout.records import (
    FleetTarget,
    PlannedVersion,
    RolloutKind,
    RolloutPlan,
    RowShare,
    Stage,
    StagePlan,
)
from squizzle.rollout.windows import describe
from squizzle.settings.fleet_labels import Labels, label_words

_WHOLE = 100


def plan_rollout(
    targets: Sequence[FleetTarget],
    stages: Sequence[Stage],
    versions: Sequence[PlannedVersion],
    *,
    fleet: str,
    seed: str = "",
    kept: Mapping[str, str] | None = None,
    policy: Sequence[str] = (),
    only: Labels = (),
) -> RolloutPlan:
    """Divide targets, or the rows of the only one, among the stages.

    Args:
        targets: Those that take part, in any order.
        stages: In order, as `read_stages` gives them.
        versions: What is rolled out, oldest first.
        fleet: The fleet's name.
        seed: Another one shuffles equals anew; empty for the fleet's name and the last version, so that one rollout has
            the same canaries whenever it is planned (also when the first versions are everywhere by now), and the next
            one has others.
        kept: Where the rollout has begun: the stage of every target, as `RolloutPlan.stage_of` of the earlier plan
            says. They stay there, and percentages hold for the earlier fleet.
        policy: What else an approval holds for, as facts in words.
        only: Labels that the targets were chosen by: percentages are those of them, and an approval holds for nobody
            else.

    Raises:
        InvalidInputError: No target, two of one name, no stage, no version, or `kept` names a stage that is gone.
    """
    _check(targets, stages, versions, kept or {})
    chosen = seed or rollout_seed(fleet, versions[-1].version)
    remarks: tuple[str, ...] = ()
    if len(targets) == 1 and (kept or {}).keys() <= {targets[0].name}:
        kind = RolloutKind.ROWS
        plans, remarks = _by_rows(targets[0], stages, versions)
    else:
        kind = RolloutKind.TARGETS
        ordered = rollout_order(targets, seed=chosen)
        plans = _as_kept(ordered, stages, kept) if kept else _by_targets(ordered, stages)
        remarks = _remarks(ordered, plans, kept)
    if only:
        remarks = (f"only targets with {label_words(only)} are in it", *remarks)
        policy = (*policy, f"only {label_words(only)}")
    return RolloutPlan(
        fleet=fleet,
        kind=kind,
        seed=chosen,
        versions=tuple(versions),
        stages=plans,
        digest=_digest(fleet, kind, chosen, versions, plans, policy),
        remarks=remarks,
        only=only,
    )


def rollout_seed(fleet: str, last_version: str) -> str:
    """What the order of equals is computed from where nobody says anything else."""
    return f"{fleet}\n{last_version}"


def planned_versions(migrations: Sequence[Migration]) -> tuple[PlannedVersion, ...]:
    """The migrations of a rollout, and whether each has a statement that is marked to run in batches.

    Raises:
        InvalidInputError: A script cannot be read, or its mark is wrong.
    """
    return tuple(
        PlannedVersion(version=one.version, checksum=one.checksum, batched=carries_shares(one)) for one in migrations
    )


def control_target(targets: Sequence[FleetTarget], *, fleet: str) -> FleetTarget:
    """The target in whose database a rollout is written down where no other is named: always the same one of a fleet.

    Neither new migrations nor databases that grew make another one of it: two runs must find each other.

    Args:
        targets: Those that can be used; at least one.
        fleet: The fleet's name.
    """
    return rollout_order([replace(target, size=None) for target in targets], seed=fleet)[0]


def rollout_order(targets: Sequence[FleetTarget], *, seed: str) -> tuple[FleetTarget, ...]:
    """The targets in the order in which they are migrated; adding one moves no other past another."""

    def key(target: FleetTarget) -> tuple[bool, int, int, bytes]:
        # What is not known may be the biggest of all.
        magnitude = _WHOLE if target.size is None else len(str(target.size))
        rank = hashlib.sha256(f"{seed}\0{target.name}".encode()).digest()
        return not target.pinned, target.tier, magnitude, rank

    return tuple(sorted(targets, key=key))


def cumulative_counts(targets: int, percentages: Sequence[int]) -> tuple[int, ...]:
    """How many targets have been migrated after each stage.

    Rounded down, so that a stage never takes more than its percentage, but for the one target that every stage gets
    where there are enough. Where there are not, the first ones and the last have one each.

    Args:
        targets: How many there are; at least one.
        percentages: Ascending; the last is 100.
    """
    counts: list[int] = []
    for number, percentage in enumerate(percentages):
        before = counts[-1] if counts else 0
        later = len(percentages) - 1 - number
        most = max(targets - later, min(number + 1, targets - 1)) if later else targets
        counts.append(max(before, min(max(targets * percentage // _WHOLE, before + 1), most)))
    return tuple(counts)


def _check(
    targets: Sequence[FleetTarget],
    stages: Sequence[Stage],
    versions: Sequence[PlannedVersion],
    kept: Mapping[str, str],
) -> None:
    if not targets:
        raise InvalidInputError("the fleet has no target", hint="`squizzle fleet NAME` says where it looked")
    if not versions:
        raise InvalidInputError("there is no migration to roll out", hint="`squizzle fleet NAME` shows who has which")
    if not stages or stages[-1].percentage != _WHOLE:
        raise InvalidInputError("the stages do not end with 100 % of the fleet", hint="correct the stages file")
    twice = sorted(name for name, count in Counter(target.name for target in targets).items() if count > 1)
    if twice:
        raise InvalidInputError(f"targets are named twice: {', '.join(twice)}", hint="give each a name of its own")
    gone = sorted(set(kept.values()) - {stage.name for stage in stages})
    if gone:
        raise InvalidInputError(
            f"the rollout began with stages that are no more: {', '.join(gone)}",
            hint="finish it with the stages file that it began with",
        )


def _by_targets(ordered: Sequence[FleetTarget], stages: Sequence[Stage]) -> tuple[StagePlan, ...]:
    counts = cumulative_counts(len(ordered), [stage.percentage for stage in stages])
    return tuple(
        StagePlan(stage=stage, targets=tuple(ordered[before:until]))
        for stage, before, until in zip(stages, (0, *counts), counts, strict=False)
    )


def _as_kept(ordered: Sequence[FleetTarget], stages: Sequence[Stage], kept: Mapping[str, str]) -> tuple[StagePlan, ...]:
    divided: dict[str, list[FleetTarget]] = {stage.name: [] for stage in stages}
    for target in ordered:
        divided[kept.get(target.name, stages[-1].name)].append(target)
    return tuple(StagePlan(stage=stage, targets=tuple(divided[stage.name])) for stage in stages)


def _by_rows(
    target: FleetTarget, stages: Sequence[Stage], versions: Sequence[PlannedVersion]
) -> tuple[tuple[StagePlan, ...], tuple[str, ...]]:
    """Everything before the first batched migration, and its first share, with the first stage; the rest with the last.

    Only one migration can be stopped half-way: the next ones need it whole.
    """
    position = next((number for number, one in enumerate(versions) if one.batched), None)
    rehearsed = "one database only: its rehearsal is the canary"
    if position is None:
        whole = tuple(RowShare(version=one.version) for one in versions)
        last = len(stages) - 1
        plans = [
            StagePlan(stage=stage, targets=(target,) if number == last else (), work=whole if number == last else ())
            for number, stage in enumerate(stages)
        ]
        return tuple(plans), (f"{rehearsed}; no migration runs in batches, so everything is in the last stage",)
    before = tuple(RowShare(version=one.version) for one in versions[:position])
    after = tuple(RowShare(version=one.version) for one in versions[position + 1 :])
    staged, done = versions[position].version, 0
    parts: list[StagePlan] = []
    for stage in stages:
        share = RowShare(version=staged, from_pct=done, until_pct=stage.percentage)
        work = (*(before if done == 0 else ()), share, *(after if stage.percentage == _WHOLE else ()))
        parts.append(StagePlan(stage=stage, targets=(target,), work=work))
        done = stage.percentage
    remarks = [f"{rehearsed}; then {staged} is done by share of its rows"]
    whole_ones = [one.version for one in versions[position + 1 :] if one.batched]
    if whole_ones:
        remarks.append(f"in batches, but all at once in the last stage: {', '.join(whole_ones)}")
    return tuple(parts), tuple(remarks)


def _remarks(
    ordered: Sequence[FleetTarget], plans: Sequence[StagePlan], kept: Mapping[str, str] | None
) -> tuple[str, ...]:
    remarks = []
    late = [target.name for one in plans[1:] for target in one.targets if target.pinned]
    if late and not kept:
        remarks.append(f"{len(late)} pinned targets do not fit into stage {plans[0].stage.name!r} and come later")
    empty = [one.stage.name for one in plans if not one.targets]
    if empty:
        remarks.append(f"no target is in: {', '.join(empty)}")
    if kept:
        names = {target.name for target in ordered}
        came, went = len(names - kept.keys()), len(kept.keys() - names)
        if came:
            remarks.append(f"{came} targets came since the rollout began and are in {plans[-1].stage.name!r}")
        if went:
            remarks.append(f"{went} targets have gone since the rollout began")
    return tuple(remarks)


def _digest(
    fleet: str,
    kind: RolloutKind,
    seed: str,
    versions: Sequence[PlannedVersion],
    plans: Sequence[StagePlan],
    policy: Sequence[str],
) -> str:
    digest = hashlib.sha256()

    def add(*facts: object) -> None:
        digest.update(json.dumps(facts, ensure_ascii=True).encode() + b"\n")

    add("rollout 1", fleet, kind, seed, *policy)
    for version in versions:
        add("version", version.version, version.checksum, version.batched)
    for one in plans:
        add("stage", stage_facts(one.stage))
        # Databases grow while they are migrated, which moves them within their stage.
        for target in sorted(one.targets, key=lambda target: target.name):
            add(target.name, target.server, target.database, target.schema)
        for share in one.work:
            add("rows", share.version, share.from_pct, share.until_pct)
    return digest.hexdigest()


def stage_facts(stage: Stage) -> dict[str, Any]:
    """Everything that a stages file says about a stage, as JSON has it."""
    return asdict(stage) | {
        "duration": stage.duration.total_seconds(),
        "wait_for": None if stage.wait_for is None else stage.wait_for.total_seconds(),
        "windows": [describe(window) for window in stage.windows],
    }
