"""The verb that shows a fleet: who is in it, who has which version, and who would be migrated when."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import click

from squizzle.cli.names import fleets
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import JsonDocument, print_result, say, table
from squizzle.durations import words
from squizzle.errors import InvalidInputError
from squizzle.migrations.records import Migration
from squizzle.numbers import number_of
from squizzle.rollout.discovery import discover_fleet
from squizzle.rollout.planning import plan_rollout, planned_versions, stage_facts
from squizzle.rollout.records import Fleet, RolloutPlan, Stage, StagePlan, TargetReport, TargetState, UnreachableServer
from squizzle.rollout.survey import stopping, survey_fleet
from squizzle.rollout.windows import Opening, next_allowed
from squizzle.settings.fleet_labels import label_words, parse_labels
from squizzle.settings.fleets import FleetSettings, fleet_named

# A person who waits for more than a second or two wants to know what for.
_MANY = 200
_NAMED = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class _Planned:
    plan: RolloutPlan
    openings: tuple[Opening, ...]
    stops: tuple[str, ...]


@click.command()
@click.argument("name", shell_complete=fleets)
@click.option("--stages", type=click.Path(path_type=Path), metavar="FILE", help="Stages, as docs/fleets.md has them.")
@click.option("--section", metavar="NAME", help="Which section of the stages file, where it has several.")
@click.option("--plan", "show_plan", is_flag=True, help="Show the stages of a rollout instead of the targets.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Only targets that have it; repeatable.")
@common_options
def fleet(
    invocation: Invocation,
    *,
    name: str,
    stages: Path | None,
    section: str | None,
    labels: tuple[str, ...],
    show_plan: bool,
) -> None:
    """Show the targets of a fleet, what each has, and in which stage of a rollout it would be. Nothing is changed.

    \b
    Examples:
      squizzle fleet shops
      squizzle fleet shops --stages stages.yaml --plan
      squizzle fleet shops --label tier=gold
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    settings = settings_of(invocation, name)
    if show_plan and stages is None:
        raise InvalidInputError("a plan needs stages", hint="name their file with --stages FILE")
    settings = replace(settings, only=parse_labels(labels))
    staged = _stages(stages, section)
    migrations = invocation.migrations()
    found = discover_fleet(settings, default_schema=invocation.schema or invocation.config.schema, environ=os.environ)
    if len(found.targets) > _MANY:
        say(f"looking at {len(found.targets):,} targets, {settings.concurrency} at the same time ...")
    reports = survey_fleet(found, settings, migrations, environ=os.environ)
    planned = _planned(settings, staged, migrations, found, reports) if staged else None
    human = _plan_text(planned, reports) if planned and show_plan else _text(found, reports, planned)
    print_result(_document(found, reports, planned), human, as_json=invocation.as_json)


def _stages(file: Path | None, section: str | None) -> tuple[Stage, ...] | None:
    if file is None:
        return None
    from squizzle.rollout.stages import read_stages  # noqa: PLC0415 - YAML, for which no --help need wait

    return read_stages(file, section=section)


def _planned(
    settings: FleetSettings,
    stages: Sequence[Stage],
    migrations: Sequence[Migration],
    found: Fleet,
    reports: Sequence[TargetReport],
) -> _Planned | None:
    """The plan of a rollout; None where nobody lacks anything."""
    wanted = _wanted(migrations, reports)
    if not wanted:
        say("nothing to roll out: every target that answered has every version")
        return None
    excludes = settings.exclude_unreachable
    targets = [one.target for one in reports if not (excludes and one.state is TargetState.UNREACHABLE)]
    plan = plan_rollout(targets, stages, planned_versions(wanted), fleet=settings.name, only=settings.only)
    now = datetime.now(UTC)
    stops = [f"{one.target.name}: {_state_text(one)}" for one in stopping(reports, exclude_unreachable=excludes)]
    return _Planned(
        plan=plan,
        openings=tuple(next_allowed(now, windows=one.windows, freezes=settings.freezes) for one in stages),
        stops=(*(() if excludes else map(_server_text, found.unreachable)), *stops),
    )


def settings_of(invocation: Invocation, name: str) -> FleetSettings:
    """The section of a fleet.

    Raises:
        InvalidInputError: There is none, or the call names a database besides.
    """
    if invocation.environment or invocation.url:
        raise InvalidInputError("a fleet says itself which databases it has", hint="leave out --env and --url")
    return fleet_named(invocation.config.fleets, name)


def _wanted(migrations: Sequence[Migration], reports: Sequence[TargetReport]) -> tuple[Migration, ...]:
    """What at least one target lacks: until the last one is migrated, that is the whole rollout."""
    lacking = {version for pending in {report.pending for report in reports} for version in pending}
    return tuple(one for one in migrations if one.version in lacking)


def _document(found: Fleet, reports: Sequence[TargetReport], planned: _Planned | None) -> JsonDocument:
    stage_of = planned.plan.stage_of if planned else {}
    document: dict[str, object] = {
        "fleet": found.name,
        "environment": found.environment,
        "targets": [
            {
                "name": report.target.name,
                "server": report.target.server,
                "database": report.target.database,
                "schema": report.target.schema,
                "tier": report.target.tier,
                "size": report.target.size,
                "pinned": report.target.pinned,
                "labels": dict(report.target.labels),
                "stage": stage_of.get(report.target.name),
                "state": report.state.value,
                "version": report.version,
                "pending": list(report.pending),
                "failed": list(report.failed),
                "partly": [{"version": one.version, "pct": one.pct, "detail": one.detail} for one in report.partly],
                "detail": report.detail,
            }
            for report in reports
        ],
        "only": dict(found.only),
        "not_chosen": [one.name for one in found.not_chosen],
        "excluded": [{"name": one.target.name, "reason": one.reason} for one in found.excluded],
        "unreachable_servers": [{"server": one.server, "why": one.why} for one in found.unreachable],
        "remarks": list(found.remarks),
    }
    if planned:
        document["plan"] = _plan_document(planned)
    return document


def _plan_document(planned: _Planned) -> JsonDocument:
    plan = planned.plan
    return {
        "kind": plan.kind.value,
        "digest": plan.digest,
        "versions": [one.version for one in plan.versions],
        "stages": [
            {
                **stage_facts(one.stage),
                "targets": [target.name for target in one.targets],
                "work": [
                    {"version": share.version, "from_pct": share.from_pct, "until_pct": share.until_pct}
                    for share in one.work
                ],
                "next_allowed": opening.at.isoformat() if opening.at else None,
                "waits_because": opening.why,
            }
            for one, opening in zip(plan.stages, planned.openings, strict=True)
        ],
        "remarks": list(plan.remarks),
        "stopped_by": list(planned.stops),
    }


def _head(found: Fleet, reports: Sequence[TargetReport]) -> list[str]:
    counts = Counter(report.state for report in reports)
    states = ", ".join(f"{counts[state]:,} {state}" for state in TargetState if counts[state])
    excluded = f"; {len(found.excluded):,} excluded" if found.excluded else ""
    lines = [f"{found.name} ({found.environment or 'environment not named'}): {states}{excluded}"]
    if found.not_chosen:
        names = ", ".join(one.name for one in found.not_chosen[:_NAMED])
        more = f" and {len(found.not_chosen) - _NAMED:,} more" if len(found.not_chosen) > _NAMED else ""
        lines.append(f"only {label_words(found.only)}; {len(found.not_chosen):,} have not: {names}{more}")
    lines += map(_server_text, found.unreachable)
    return [*lines, *(f"note: {remark}" for remark in found.remarks)]


def _server_text(one: UnreachableServer) -> str:
    return f"server {one.server} could not be asked, so its targets may be missing: {one.why}"


def _text(found: Fleet, reports: Sequence[TargetReport], planned: _Planned | None) -> str:
    stage_of = planned.plan.stage_of if planned else {}
    rows = [
        (
            report.target.name,
            *((stage_of.get(report.target.name, "left out"),) if planned else ()),
            report.version or ("none" if report.state is TargetState.READY else ""),
            f"{len(report.pending):,} pending" if report.pending else "",
            _state_text(report),
        )
        for report in reports
    ]
    headings = ("target", *(("stage",) if planned else ()), "version", "to do", "state")
    excluded = [f"excluded: {one.target.name}: {one.reason}" for one in found.excluded]
    return "\n".join([*_head(found, reports), "", table(headings, rows), *(["", *excluded] if excluded else [])])


def _state_text(report: TargetReport) -> str:
    partly = "".join(f"; of {one.version} {one.detail}" for one in report.partly)
    if report.failed:
        return f"{report.state}; FAILED or not ended: {', '.join(report.failed)}{partly}"
    if partly:
        return f"{report.state}{partly}"
    return report.state.value if report.state is TargetState.READY else f"{report.state.upper()}: {report.detail}"


def _plan_text(planned: _Planned, reports: Sequence[TargetReport]) -> str:
    plan = planned.plan
    versions = ", ".join(one.version for one in plan.versions)
    ready = [one for one in reports if one.state is TargetState.READY]
    rows = [_stage_row(one, opening, ready) for one, opening in zip(plan.stages, planned.openings, strict=True)]
    headings = ("stage", "until", "targets", "done", "watched", "after a failure", "approval", "may begin")
    lines = [
        f"rollout of {versions} over {plan.fleet}: {number_of(len(plan.stage_of), 'target')}",
        f"digest {plan.digest}",
        "",
        table(headings, rows),
    ]
    lines += [f"note: {remark}" for remark in plan.remarks]
    if planned.stops:
        lines += ["", "it would not begin, because of", *(f"  {stop}" for stop in planned.stops)]
    return "\n".join(lines)


def _stage_row(one: StagePlan, opening: Opening, ready: Sequence[TargetReport]) -> tuple[str, ...]:
    stage = one.stage
    shares = [share for share in one.work if (share.from_pct, share.until_pct) != (0, 100)]
    rows = "".join(f" ({share.version} to {share.until_pct} % of its rows)" for share in shares)
    # Of the only target a stage does a part; of many, everything.
    whole = [share.version for share in one.work if share is not one.share]
    done = {
        report.target.name for report in ready if not (report.lacks(whole, one.share) if one.work else report.pending)
    }
    begins = "when it is lifted" if opening.at is None else f"{opening.at:%Y-%m-%d %H:%M %Z}"
    return (
        stage.name,
        f"{stage.percentage} %",
        f"{len(one.targets):,}{rows}",
        f"{sum(target.name in done for target in one.targets):,}",
        words(stage.duration) if stage.duration else "no",
        "rolled back" if stage.rollback_on_error else "stops",
        "yes" if stage.approval_required else "no",
        f"{begins}, {opening.why}" if opening.why else "now",
    )
