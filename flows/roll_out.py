"""The staged rollout: a fleet's canaries first, watched, then more, then all; with people in the loop."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

from prefect import flow
from prefect.exceptions import TerminationSignal
from prefect.runtime import flow_run
from prefect.states import Cancelled

from blocks.fleet import chosen_fleet
from blocks.references import refuse_inline
from flows import roll_out_fields as form
from flows.run_names import name_of
from flows.take_back import after_a_failure, after_a_no, ask, go_on_taking_back, take_all_back, wait
from squizzle import __version__
from squizzle.errors import RefusedError, SquizzleError, UndecidedError
from squizzle.numbers import number_of
from squizzle.postgres.decisions import ApprovalRules, Question
from squizzle.reports.rollout import rollout_summary, soak_question
from squizzle.reports.stage_question import StageFacts, stage_question
from squizzle.rollout.orders import ApplyVerdict, RolloutOrder, TargetResult, applied_to, failures
from squizzle.rollout.records import FleetTarget, StagePlan
from squizzle.rollout.report import RolloutOutcome, RolloutReport, StageOutcome, StageReport
from squizzle.rollout.soak import SoakReport, SoakVerdict
from tasks.outcome import ends_in_our_words, failed
from tasks.reporting import progress_artifact, publish_checks, publish_rollout, publish_stage
from tasks.rollout import (
    begin,
    check,
    control_of,
    end,
    locked_fleet,
    look_at_fleet,
    order_of,
    plan,
    refuse_stops,
)
from tasks.rollout_case import RolloutCase, Running, Secured, Spread, case_of
from tasks.rollout_events import keep_transitions, tell
from tasks.rollout_foresight import foresee, links_of
from tasks.rollout_names import call_run
from tasks.rollout_proof import prove
from tasks.rollout_recovery import reconcile
from tasks.rollout_securing import secure
from tasks.rollout_spread import apply_to_all
from tasks.rollout_watching import note_after, note_before, read_watched, soak
from tasks.steps import about, keep_journal, now
from tasks.stopping import ended_when_cancelled, is_cancelled, undisturbed

# Besides those of each stage.
STEPS = 8
STEPS_A_STAGE = 4
# Of a stage that is watched for a while: what is counted before and after.
STEPS_TO_COMPARE = 2

DESCRIPTION = """\
Brings migrations to every database of a fleet, stage by stage: a few first, watched; then more; then all.

1. looks at every target, and checks targets and servers; production needs a certificate of every version
2. each stage: asks a person where the stages file says so, waits for its window, makes backups and a restore point
3. applies to many targets at the same time; a failure stops the stage, and takes it back if the file says so
4. watches what was migrated for as long as the file says, beside those that were not

It begins as a **dry run**. Killed anywhere, the same run started again goes on and does nothing twice.
"""


def run_title() -> str:
    """What a run is called: whoever sees it completed must not take a dry run for the rollout."""
    asked = flow_run.parameters
    what = " (going back)" if asked.get("go_back") and not asked.get("dry_run") else ""
    return name_of("rollout {version} → {fleet}", asked) + what


@flow(name="roll-out", flow_run_name=run_title, description=DESCRIPTION, persist_result=False, version=__version__)
@ends_in_our_words
def roll_out(  # noqa: PLR0913 - each is a field of the form
    fleet: form.FleetName = "",
    stages: form.Stages = Path("stages.yaml"),
    *,
    version: form.Version = "",
    dry_run: form.DryRun = True,
    go_back: form.GoBack = False,
    labels: form.Labels = [],  # noqa: B006 - a form's default; nobody changes it
    section: form.Section = "",
    configuration: form.Config = Path("squizzle.toml"),
    fleet_block: form.FleetBlock = None,
    store: form.Store = None,
    control: form.Control = None,
    backups: form.Backups = Secured.ALL,
    spread: form.Where = Spread.HERE,
    failure: form.WhenFailed = form.Failure(),  # noqa: B008 - frozen
    watching: form.Watched = form.Watching(),  # noqa: B008 - frozen
    approval: form.Approved = form.Approval(),  # noqa: B008 - frozen
    unproven: form.OnAWord = form.Unproven(),  # noqa: B008 - frozen
) -> RolloutReport:
    """Bring migrations to a fleet in stages.

    Args:
        fleet: A section `[fleets.NAME]` of squizzle.toml; empty where a block is chosen.
        stages: The stages file, on the worker.
        version: The last version to roll out; empty for everything.
        dry_run: Look, check and plan only.
        go_back: Take back what the rollout that is under way brought.
        labels: `NAME=VALUE`; only targets that have all of them take part. Empty for all.
        section: Which section of the stages file, where it has several.
        configuration: squizzle.toml, on the worker; secrets are in the worker's environment.
        fleet_block: The fleet, where it is not in squizzle.toml.
        store: Backups and certificates; empty for `[backups] store` of squizzle.toml.
        control: Where decisions are written down; empty for one of the fleet's own, always the same.
        backups: Which targets of a stage are backed up before it, where the environment asks for certificates.
        spread: Where a stage's targets are worked on.
        failure: What is taken back and recovered when a stage fails.
        watching: What must hold at targets that were migrated.
        approval: Whose yes counts, and what becomes of a stage without one.
        unproven: Why it goes to production without certificates, and who answers for that.

    Returns:
        The report; inside a Failed state unless all was done that was asked for.
    """
    refuse_inline(store, control, fleet_block)
    chosen, secrets = chosen_fleet(fleet, fleet_block)
    case = case_of(
        chosen,
        stages,
        section=section or None,
        configuration=configuration,
        store=store,
        **unproven.model_dump(),
        environ={**os.environ, **secrets},
    )
    case = replace(
        case.only(labels),
        version=version,
        control=control,
        backups=backups,
        takes_back=failure.takes_back,
        recovers=failure.recovers,
        checks=watching.checks,
        alerts=(*case.alerts, *watching.alerts),
        watch_every=timedelta(seconds=watching.watch_every_s),
        on_timeout=approval.on_timeout,
        on_rejection=approval.on_rejection,
        approval_timeout=timedelta(hours=approval.approval_hours),
        rules=ApprovalRules(approvers=approval.approvers, two_people=approval.two_people),
        spread=spread,
        dry_run=dry_run,
        go_back=go_back,
    )
    try:
        with ended_when_cancelled():
            report = carry_out_rollout(case, now())
    except TerminationSignal:
        if not is_cancelled():
            raise
        return cast("RolloutReport", Cancelled(message="cancelled before anything was begun"))
    if report.was_stopped:
        if not is_cancelled():
            raise TerminationSignal(signal=signal.SIGTERM)
        return cast("RolloutReport", Cancelled(message=rollout_summary(report), data=report))
    if report.is_well or dry_run or (go_back and report.outcome is RolloutOutcome.TAKEN_BACK):
        return report
    # A flow that returns a state ends in that state; the report travels as its data.
    return cast("RolloutReport", failed(rollout_summary(report), report))


def carry_out_rollout(case: RolloutCase, started_at: datetime) -> RolloutReport:
    """The order of the steps, for the flow and for the command.

    Raises:
        SquizzleError: Nothing was begun: a target, a script or a certificate is not as it must be.
    """
    read_watched(case)
    watched = sum(bool(one.duration) for one in case.stages)
    total = STEPS + STEPS_A_STAGE * len(case.stages) + STEPS_TO_COMPARE * watched
    watcher = progress_artifact("rollout-progress", total=total, what=f"Progress of the rollout to {case.fleet.name}")
    with keep_journal(watcher) as journal:
        survey = look_at_fleet(case)
        control = control_of(case, survey)
        with locked_fleet(case, control) as lock:
            started = plan(case, survey, control)
            report = RolloutReport(
                fleet=case.fleet.name,
                rollout_id=started.row.id if started else "",
                plan=started.plan if started else None,
                started_at=started_at,
                duration=timedelta(),
                found=survey.reports,
                left_out=survey.fleet.left_out,
            )
            if started is not None:
                call_run(case, started)
                goes_back = case.go_back or bool(started.row.failed_stage)
                started = started if goes_back else prove(case, survey, started)
                checks = check(case, survey, started)
                publish_checks(case.fleet.name, checks)
                report = replace(report, checks=checks, certificates=tuple(started.certificates.values()))
                if not case.dry_run:
                    run = Running(case=case, control=control, lock=lock, started=started, survey=survey, checks=checks)
                    with keep_transitions() as told:
                        report = replace(_carried_out(run, report), transitions=tuple(told))
            with undisturbed(when=report.was_stopped):
                report = replace(report, duration=now() - started_at, steps=journal.steps)
                publish_rollout(report)
    return report


def _carried_out(run: Running, report: RolloutReport) -> RolloutReport:
    """What a run that changes something makes of the report."""
    done: list[StageReport] = []
    problem, was_stopped = "", False
    try:
        problem = _work(run, done)
    except TerminationSignal:
        problem, was_stopped = "the run was cancelled, or told to end, so nothing more was begun", True
    with undisturbed(when=was_stopped):
        # Whoever cannot be reached now is not left out of what is told.
        everybody = replace(run.case, fleet=replace(run.case.fleet, exclude_unreachable=False))
        survey = look_at_fleet(everybody)
        report = replace(report, stages=tuple(done), problem=problem, found=survey.reports, was_stopped=was_stopped)
        if report.outcome is RolloutOutcome.HALF_MIGRATED:
            report = replace(report, standing=reconcile(run, survey))
        if report.outcome in {RolloutOutcome.DONE, RolloutOutcome.TAKEN_BACK} and not problem:
            end(run.control, report.rollout_id, report.outcome.value)
            call_run(run.case, run.started)
        tell(run.started.row.id, "ended", outcome=report.outcome.value, why=problem)
    return report


def _begin(run: Running) -> None:
    try:
        refuse_stops(run.checks)
    except RefusedError as exc:
        tell(run.started.row.id, "refused", why=exc.message)
        raise
    begin(run.control, run.started)
    plan_ = run.started.plan
    versions, targets = [one.version for one in plan_.versions], len(plan_.stage_of)
    tell(run.started.row.id, "begun", fleet=plan_.fleet, versions=versions, targets=targets, plan_digest=plan_.digest)


def _work(run: Running, done: list[StageReport]) -> str:
    """Every stage that is begun is put into `done` when it ends; what else ended the run."""
    if run.case.go_back or run.started.row.failed_stage:
        done.append(take_all_back(run) if run.case.go_back else go_on_taking_back(run))
        return ""
    _begin(run)
    try:
        for position, stage in enumerate(run.started.plan.stages):
            with about(stage.stage.name):
                done.append(_stage(run, stage, position, tuple(done)))
            outcome, why = done[-1].outcome.value, done[-1].why
            tell(run.started.row.id, "stage-ended", stage=stage.stage.name, outcome=outcome, why=why)
            if not done[-1].is_done:
                break
    except SquizzleError as exc:
        return exc.in_one_line
    return ""


def _stage(run: Running, stage: StagePlan, position: int, before: tuple[StageReport, ...]) -> StageReport:
    """One stage: approval, window, backups, the work, watching."""
    case, name, order = run.case, stage.stage.name, order_of(run, position)
    if not stage.targets or not order.versions:
        return StageReport(name=name, outcome=StageOutcome.NOTHING_TO_DO)
    report = StageReport(name=name, outcome=StageOutcome.DONE)
    lacking = run.lacking(stage, order)
    if lacking:
        tell(run.started.row.id, "stage-begun", stage=name, targets=len(lacking))
        call_run(case, run.started, stage=name)
        if stage.stage.approval_required:
            try:
                decision = ask(run, _question(run, stage, before), name)
            except RefusedError as exc:
                return after_a_no(run, position, report, exc)
            report = replace(report, approved=decision.sentence())
            order = order.approved(decision.decided_by)
        wait(run, stage)
        if case.asks_for_proof:
            tell(run.started.row.id, "securing", stage=name, targets=len(lacking))
            report = replace(report, secured=secure(case, run.started, stage.stage, lacking))
            tell(run.started.row.id, "secured", stage=name, made=len(report.secured))
    results = _applied(run, order, stage, position, is_new=bool(lacking))
    report = replace(report, results=results)
    bad = failures(results)
    if len(bad) > stage.stage.max_failures:
        failed = number_of(len(bad), "target")
        why = f"{failed} failed, {stage.stage.max_failures} may; {bad[0].target.name}: {bad[0].error}"
        return after_a_failure(run, stage, position, replace(report, why=why))
    watched = _watched(run, order, stage, position, results)
    report = replace(report, soak=watched)
    if watched is not None and watched.verdict is not SoakVerdict.PASS:
        why = f"{watched.reasons[0].target}: {watched.reasons[0].text}{f'; {watched.no}' if watched.no else ''}"
        return after_a_failure(run, stage, position, replace(report, why=why))
    return report


def _question(run: Running, stage: StagePlan, before: tuple[StageReport, ...]) -> Question:
    started = run.started
    facts = StageFacts(
        checks=run.checks,
        certificates=started.certificates,
        reports=before,
        remarks=started.remarks,
        forecasts=foresee(run, stage.targets),
        links=links_of(run, [one.name for one in before]),
    )
    question = stage_question(stage, started.plan, started.row.id, facts, name_to_type=run.case.name_to_type)
    override = run.case.override if run.case.asks_for_proof else None
    # A yes to what was proven is none to the same without its proof.
    return replace(question, facts=(*question.facts, f"unproven: {override.reason}")) if override else question


def _applied(
    run: Running, order: RolloutOrder, stage: StagePlan, position: int, *, is_new: bool
) -> tuple[TargetResult, ...]:
    """What became of each target of the stage, batch by batch; behind a batch with too many failures none is begun."""
    seen: list[TargetResult] = []
    name, rollout_id, every = stage.stage.name, run.started.row.id, len(stage.targets)
    tell(rollout_id, "applying", stage=name, targets=every)

    def before(batch: tuple[FleetTarget, ...], is_first: bool) -> None:  # noqa: FBT001 - told, not chosen
        if is_new and not is_first:
            wait(run, stage)
        run.lock.hold()
        if is_new:
            note_before(run, order, position, batch, is_first=is_first)

    def after(results: tuple[TargetResult, ...]) -> None:
        if is_new:
            note_after(run, order, position, applied_to(results), is_first=not seen)
        seen.extend(results)
        bad = len(failures(seen))
        tell(rollout_id, "targets-done", stage=name, done=len(seen) - bad, failed=bad, targets=every)

    most = stage.stage.max_failures
    done = apply_to_all(run.case, order, stage.targets, max_failures=most, before=before, after=after)
    tell(rollout_id, "applied", stage=name, failed=len(failures(done)), targets=every)
    publish_stage(run.case.fleet.name, stage.stage.name, done)
    return done


def _watched(
    run: Running, order: RolloutOrder, stage: StagePlan, position: int, results: tuple[TargetResult, ...]
) -> SoakReport | None:
    """The verdict on what was migrated; where it is in doubt, a person's."""
    there = {ApplyVerdict.APPLIED, ApplyVerdict.SHARE_APPLIED, ApplyVerdict.DONE_BEFORE}
    migrated = tuple(one.target for one in results if one.verdict in there)
    if not migrated:
        return None
    accepted: frozenset[tuple[str, str]] = frozenset()
    name, rollout_id, for_s = stage.stage.name, run.started.row.id, round(stage.stage.duration.total_seconds())
    while True:
        tell(rollout_id, "soaking", stage=name, targets=len(migrated), duration_s=for_s)
        found = soak(run, order, stage.stage, migrated, run.targets_after(position), accepted=accepted)
        why = found.reasons[0].text if found.reasons else ""
        tell(rollout_id, "soaked", stage=name, verdict=found.verdict.value, why=why)
        if found.verdict is not SoakVerdict.INCONCLUSIVE:
            return found
        question = soak_question(stage.stage, run.started.plan, run.started.row.id, found)
        try:
            ask(run, question, name)
        except RefusedError as exc:
            return replace(found, no=exc.message, nobody_decided=isinstance(exc, UndecidedError))
        accepted |= {(one.target, one.sign.value) for one in found.reasons}
