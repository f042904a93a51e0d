"""Rolling out: look at the fleet, check it, secure it, apply in batches, take back."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial

from prefect.runtime import flow_run

from squizzle.errors import ConnectionFailedError, InvalidInputError, RefusedError
from squizzle.migrations.bookkeeping import open_books
from squizzle.migrations.listener import Listener
from squizzle.migrations.records import Migration
from squizzle.migrations.versions import is_repeatable
from squizzle.numbers import number_of
from squizzle.postgres.access import Connection, connect
from squizzle.reports.rollout import result_words
from squizzle.rollout.applying import apply_to_targets, take_back_from_targets
from squizzle.rollout.baselines import forget_baselines
from squizzle.rollout.checks import CheckRow, check_targets, stops
from squizzle.rollout.discovery import discover_fleet
from squizzle.rollout.disk import check_disks
from squizzle.rollout.halfway import check_half_way
from squizzle.rollout.ledger import (
    FleetLock,
    RolloutRow,
    begin_rollout,
    end_rollout,
    find_rollout,
    fleet_lock,
    note_taking_back,
    refuse_other_labels,
    renew_rollout,
    with_scripts,
)
from squizzle.rollout.orders import RolloutOrder, TargetResult
from squizzle.rollout.planning import plan_rollout, planned_versions, rollout_order
from squizzle.rollout.records import (
    FleetTarget,
    RolloutKind,
    RolloutPlan,
    Stage,
    TargetState,
)
from squizzle.rollout.survey import each_report, survey_fleet
from squizzle.rollout.windows import next_allowed
from squizzle.settings.fleets import resolve_server
from tasks.folders import read_folders
from tasks.rollout_case import RolloutCase, Running, Started, Survey
from tasks.rollout_disk import ask_rds, needs_of
from tasks.sources import DatabaseSource, NamedDatabase
from tasks.steps import log_line, now, run_name, step

# An hour less than the task that applies may take.
_ROWS_DEADLINE = timedelta(hours=23)
# So many targets are one task: few enough that a cancelled run stops soon, and that the page of a run stays readable.
BATCH = 200
# So many targets that have other labels are asked whether they are the one where it is written down.
_ASKED = 20
LISTENER = Listener(on_wait=partial(log_line, level=logging.WARNING), on_progress=log_line)


def _surveyed(survey: Survey) -> str:
    behind = sum(bool(report.pending) for report in survey.reports)
    return f"{number_of(len(survey.reports), 'target')}, {behind:,} lack something"


@step("Look at the fleet", timeout=timedelta(hours=2), detail=_surveyed)
def look_at_fleet(case: RolloutCase) -> Survey:
    """Who is in it, who answers, who has what. Nothing is changed."""
    migrations = _chosen(case, read_folders(case.folder))
    fleet = discover_fleet(case.fleet, default_schema=case.default_schema, environ=case.environ)
    reports = survey_fleet(fleet, case.fleet, migrations, environ=case.environ)
    if case.fleet.exclude_unreachable:
        reports = tuple(report for report in reports if report.state is not TargetState.UNREACHABLE)
    return Survey(fleet=fleet, reports=reports, migrations=migrations)


def _chosen(case: RolloutCase, migrations: tuple[Migration, ...]) -> tuple[Migration, ...]:
    """What is on disk up to the version that was named; repeatable ones only where none was."""
    if not case.version:
        return migrations
    versions = [one.version for one in migrations]
    if case.version not in versions:
        raise InvalidInputError(
            f"there is no version {case.version} in {case.folder.path}", hint="name one that is there, or none"
        )
    kept = versions.index(case.version) + 1
    return tuple(one for one in migrations[:kept] if not one.repeatable)


def control_of(case: RolloutCase, survey: Survey) -> DatabaseSource:
    """Where decisions and the rollout itself are written down: what was named, else always the same one of the fleet.

    Neither new migrations nor databases that grew nor labels make another one of it: two runs must find each other.
    """
    if case.control is not None:
        return case.control
    ready = [replace(report.target, size=None) for report in survey.reports if report.state is TargetState.READY]
    if not ready:
        why = survey.reports[0].detail if survey.reports else "none is left"
        raise ConnectionFailedError(
            f"no target of {case.fleet.name} can be used: {why}",
            hint=f"`squizzle fleet {case.fleet.name}` says what is wrong with each",
        )
    unsized = [replace(one, size=None) for one in survey.fleet.not_chosen]
    ordered = rollout_order([*ready, *unsized], seed=case.fleet.name)
    first = next(one for one in ordered if one in ready)
    others = ordered[: ordered.index(first)]
    first = next((one for few in (others[:1], others[1:_ASKED]) for one in _ready(case, survey, few)), first)
    access, _ = resolve_server(survey.fleet.servers[first.server], environ=case.environ)
    order = RolloutOrder(rollout_id="", fleet=survey.fleet, migrations=(), versions=())
    return NamedDatabase(meant=order.target(first), opens=lambda: access)


def _ready(case: RolloutCase, survey: Survey, targets: tuple[FleetTarget, ...]) -> tuple[FleetTarget, ...]:
    """Those of some targets that were not looked at which can be used."""
    reports = each_report(replace(survey.fleet, targets=targets), case.fleet, (), environ=case.environ)
    ready = {one.target.name for one in reports if one.state is TargetState.READY}
    return tuple(one for one in targets if one.name in ready)


@contextmanager
def locked_fleet(case: RolloutCase, control: DatabaseSource) -> Iterator[FleetLock]:
    """Nobody else rolls out to the fleet inside."""

    def opens() -> Connection:
        return connect(control.access(), control.database, purpose=f"rollout lock {flow_run.id or ''}".strip())

    if case.dry_run:
        # Looking keeps nobody from working.
        yield FleetLock(opens, case.fleet.name)
        return
    with fleet_lock(opens, case.fleet.name) as lock:
        yield lock


def _planned(started: Started | None) -> str:
    if started is None:
        return "nothing to roll out: every target has every version"
    plan = started.plan
    versions = ", ".join(one.version for one in plan.versions)
    return f"{started.row.id}: {versions} for {number_of(len(plan.stage_of), 'target')}"


@step("Plan the rollout", timeout=timedelta(minutes=30), detail=_planned)
def plan(case: RolloutCase, survey: Survey, control: DatabaseSource) -> Started | None:
    """Go on with the rollout that is under way, or plan a new one; None where there is nothing to do.

    Raises:
        RefusedError: A script of the one under way was changed, and some target has it; or it has other labels.
        InvalidInputError: See `plan_rollout`.
    """
    with connect(control.access(), control.database, purpose="rollout", read_only=True) as connection:
        row = find_rollout(connection, case.fleet.name)
    if row is not None:
        refuse_other_labels(row, case.fleet.only)
    lacking = {version for report in survey.reports for version in report.pending}
    wanted = planned_versions([one for one in survey.migrations if one.version in lacking])
    if row is not None and (case.go_back or _is_the_same(row, survey, lacking)):
        if not case.go_back:
            row = with_scripts(row, {one.version: one for one in planned_versions(survey.migrations)}, _had(survey))
    elif row is not None and row.failed_stage:
        raise RefusedError(
            f"the stage {row.failed_stage} of the rollout {row.id} is being taken back, and this is another rollout",
            hint="take back what it brought (go back), or restore the files as they were and run that again",
        )
    elif not wanted or case.go_back:
        return None
    else:
        row = None
    versions = row.versions if row else wanted
    planned = plan_rollout(
        survey.targets,
        case.stages,
        versions,
        fleet=case.fleet.name,
        kept=row.stage_of if row else None,
        only=case.fleet.only,
    )
    found = row or RolloutRow(
        id=f"{case.fleet.name}-{now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}",
        fleet=case.fleet.name,
        versions=versions,
        stage_of=planned.stage_of,
        started_at=now(),
        started_by=run_name(),
        only=case.fleet.only,
    )
    return Started(row=found, plan=planned, order=_order(case, survey, found), certificates={})


def _is_the_same(row: RolloutRow, survey: Survey, lacking: set[str]) -> bool:
    """Whether the rollout that is under way brings all that is lacking, and ends where this one would."""
    known = {one.version for one in row.versions}
    ordered = [one.version for one in survey.migrations if not is_repeatable(one.version)]
    last = next((one.version for one in reversed(row.versions) if not is_repeatable(one.version)), None)
    return lacking <= known and (last is None or not ordered or ordered[-1] == last)


def _had(survey: Survey) -> set[str]:
    """The versions that some target has, or may have: it could not be asked."""
    versions = {one.version for one in survey.migrations}
    had = (versions - (set(one.pending) if one.state is TargetState.READY else set()) for one in survey.reports)
    return {part.version for one in survey.reports for part in one.partly}.union(*had)


def _order(case: RolloutCase, survey: Survey, row: RolloutRow) -> RolloutOrder:
    folder = case.folder
    return RolloutOrder(
        rollout_id=row.id,
        fleet=survey.fleet,
        migrations=survey.migrations,
        versions=tuple(one.version for one in row.versions),
        policy=case.policy,
        books=open_books(folder.path, folder.layout, survey.migrations) if case.keep_in_step else None,
        concurrency=case.fleet.concurrency,
        per_server=case.fleet.per_server,
    )


@step("Write down that it begins", timeout=timedelta(minutes=1), detail=lambda row: row.id)
def begin(control: DatabaseSource, started: Started) -> RolloutRow:
    """So that a run that is killed is gone on with: nobody changes stages, and the histories' rows can be told."""
    with connect(control.access(), control.database, purpose="rollout") as connection:
        row = find_rollout(connection, started.row.fleet)
        if row is not None and row.id == started.row.id:
            if row.versions != started.row.versions:
                renew_rollout(connection, started.row)
            return started.row
        return begin_rollout(connection, started.row)


@step("Write down what failed", timeout=timedelta(minutes=1))
def note(control: DatabaseSource, rollout_id: str, *, stage: str, why: str, takes_all: bool = False) -> None:
    """So that a run that is killed while it takes a stage back is gone on with there; no stage when that is done."""
    with connect(control.access(), control.database, purpose="rollout") as connection:
        note_taking_back(connection, rollout_id, stage=stage, why=why, takes_all=takes_all)


@step("Write down how it ended", timeout=timedelta(minutes=1))
def end(control: DatabaseSource, rollout_id: str, outcome: str) -> None:
    """The next run of the same begins anew."""
    with connect(control.access(), control.database, purpose="rollout") as connection:
        end_rollout(connection, rollout_id, outcome)
        forget_baselines(connection)


def _checked(rows: tuple[CheckRow, ...]) -> str:
    bad = [row for row in rows if row.findings]
    return "; ".join(f"{row.check}: {row.result.value}" for row in bad) or "all is well"


@step("Check targets and servers", timeout=timedelta(hours=2), detail=_checked)
def check(case: RolloutCase, survey: Survey, started: Started) -> tuple[CheckRow, ...]:
    """Whether they are fit to be migrated now. Nothing is changed."""
    sizes: dict[str, int] = {}
    found = check_targets(
        started.order,
        survey.reports,
        deadline=case.fleet.deadline,
        environ=case.environ,
        exclude_unreachable=case.fleet.exclude_unreachable,
        on_size=sizes.__setitem__,
    )
    disks = check_disks(
        started.order,
        survey.reports,
        needs_of(case, started.certificates),
        sizes,
        deadline=case.fleet.deadline,
        environ=case.environ,
        ask_cloud=ask_rds,
    )
    return (*found, *disks, *check_half_way(started.plan, survey.migrations, started.certificates))


def refuse_stops(rows: Sequence[CheckRow]) -> None:
    """Refuse to begin where a check says so.

    Raises:
        RefusedError: The message has every such finding up to ten. Nothing was changed.
    """
    found = stops(rows)
    if not found:
        return
    shown = [f"{one.place}: {one.check}: {one.detail}" for one in found[:10]]
    more = [f"and {len(found) - 10:,} more"] if len(found) > 10 else []  # noqa: PLR2004 - as above
    raise RefusedError(
        "\n  ".join(["the rollout does not begin:", *shown, *more]),
        hint="repair it, or exclude the target with a reason ([[fleets.NAME.exclude]]); then run the same again",
    )


@step("Wait until it may work", timeout=timedelta(days=30), detail=lambda waited: waited or "it may at once")
def wait_for_window(case: RolloutCase, stage: Stage) -> str:
    """Wait for a window of the stage, and for freezes to end; says what was waited for.

    Raises:
        RefusedError: It would take longer than the stage may wait, or nobody knows how long. Nothing was changed.
    """
    since, waited = now(), ""
    while True:
        opening = next_allowed(now(), windows=stage.windows, freezes=case.fleet.freezes)
        if not opening.why:
            return waited
        patience = stage.wait_for
        if opening.at is None or (patience is not None and opening.at > since + patience):
            until = f"until {opening.at:%Y-%m-%d %H:%M %Z}" if opening.at else "for nobody knows how long"
            raise RefusedError(
                f"{stage.name} would have to wait {until}: {opening.why}",
                hint="run the same again when it may work; what is done stays done",
            )
        waited = f"waited, {opening.why}"
        log_line(f"{stage.name} begins at {opening.at:%Y-%m-%d %H:%M %Z}: {opening.why}")
        # In pieces: the clock of the machine may be put right meanwhile.
        time.sleep(min(60.0, max(0.1, (opening.at - now()).total_seconds())))


def order_of(run: Running, position: int) -> RolloutOrder:
    """What a stage applies, and how: every version, or of the only target the versions that this stage does."""
    case, one = run.case, run.started.plan.stages[position]
    order = run.started.order
    return replace(
        order,
        versions=tuple(share.version for share in one.work) if _is_by_rows(run.started.plan) else order.versions,
        share=one.share,
        # The rows of one database may take longer than one of many targets may.
        deadline=_ROWS_DEADLINE if one.work else order.deadline,
        concurrency=one.stage.concurrency or case.fleet.concurrency,
        per_server=one.stage.per_server or case.fleet.per_server,
    )


def order_back(started: Started, position: int) -> RolloutOrder:
    """What is taken back of a stage: of the only target the versions of which the stage does rows, each wholly."""
    if not _is_by_rows(started.plan):
        return started.order
    return replace(started.order, versions=tuple(share.version for share in started.plan.stages[position].work))


def _is_by_rows(plan: RolloutPlan) -> bool:
    return plan.kind is RolloutKind.ROWS


@step("Apply to targets", timeout=timedelta(hours=24), detail=result_words)
def apply_batch(
    case: RolloutCase, order: RolloutOrder, targets: tuple[FleetTarget, ...], *, max_failures: int
) -> tuple[TargetResult, ...]:
    """Apply what they lack. Safe to repeat: what is done is left as it is."""
    return apply_to_targets(order, targets, max_failures=max_failures, environ=case.environ, listener=LISTENER)


@step("Take back from targets", timeout=timedelta(hours=24), detail=result_words)
def take_back(case: RolloutCase, order: RolloutOrder, targets: tuple[FleetTarget, ...]) -> tuple[TargetResult, ...]:
    """Run the down scripts of what this rollout brought, newest first. Safe to repeat."""
    return take_back_from_targets(order, targets, environ=case.environ, listener=LISTENER)


def batches(targets: Sequence[FleetTarget]) -> Iterator[tuple[FleetTarget, ...]]:
    """The targets in pieces that are a task each."""
    for begin_ in range(0, len(targets), BATCH):
        yield tuple(targets[begin_ : begin_ + BATCH])
