"""Taking back what a rollout brought: by its down scripts, and where these do not do, by recovering the target.

No flow of its own: the rollout is, and goes this way after a failure, after a no, and when it is told to go back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from flows.recover import recover_database
from squizzle.errors import RefusedError, SquizzleError, UndecidedError
from squizzle.postgres.decisions import DecisionRow, Question
from squizzle.recovery.ways import RecoveryPolicy, Way
from squizzle.rehearsal.records import Certificate
from squizzle.reports.rollout import go_back_question
from squizzle.reports.unwinding import recovery_question
from squizzle.rollout.orders import ApplyVerdict, RolloutOrder, TargetResult, failures
from squizzle.rollout.records import FleetTarget, StagePlan
from squizzle.rollout.report import StageOutcome, StageReport
from squizzle.rollout.unwinding import (
    Prospect,
    Recovers,
    not_recovered,
    proof_of,
    recovered_result,
    ruled_out_ways,
    split_prospects,
    unproven_scripts,
    way_of,
    why_not_by_script,
)
from squizzle.rollout.windows import next_allowed
from tasks.approval import gate
from tasks.recovery_case import WAYS
from tasks.reporting import publish_stage
from tasks.rollout import begin, note, order_back, wait_for_window
from tasks.rollout_case import Running, TakenBack, Unapproved
from tasks.rollout_events import tell
from tasks.rollout_recovery import find_certificates, look_where, recovery_case, write_down_undone
from tasks.rollout_spread import take_back_from_all
from tasks.steps import now

# Where a report and events name a stage, and it is everything that is taken back.
GO_BACK = "go back"
ONLY_A_PART = "a recovery would take back the stages before it, too: go back, and it is offered"


def ask(run: Running, question: Question, stage: str) -> DecisionRow:
    """Let a person decide about a stage, by the rules of this rollout; see `gate`."""
    case, rollout_id = run.case, run.started.row.id
    tell(rollout_id, "approval-awaited", stage=stage, gate=question.gate)
    try:
        decision = gate(question, database=run.control, timeout=case.approval_timeout, rules=case.rules)
    except RefusedError as exc:
        tell(rollout_id, "not-approved", stage=stage, gate=question.gate, why=exc.message)
        raise
    tell(rollout_id, "approved", stage=stage, gate=question.gate, by=decision.decided_by)
    return decision


def wait(run: Running, stage: StagePlan) -> None:
    """Wait until a stage may work; see `wait_for_window`."""
    name, rollout_id = stage.stage.name, run.started.row.id
    opening = next_allowed(now(), windows=stage.stage.windows, freezes=run.case.fleet.freezes)
    if opening.why:
        until = opening.at.isoformat() if opening.at else ""
        tell(rollout_id, "window-awaited", stage=name, why=opening.why, until=until)
    wait_for_window(run.case, stage.stage)
    if opening.why:
        tell(rollout_id, "window-open", stage=name)


def after_a_failure(run: Running, stage: StagePlan, position: int, report: StageReport) -> StageReport:
    """A stage that failed: taken back where the file says so, or where that is what a no, or silence, means."""
    soak = report.soak
    no = soak is not None and bool(soak.no) and _means(run, is_silence=soak.nobody_decided) is Unapproved.TAKE_BACK
    if not stage.stage.rollback_on_error and not no:
        return replace(report, outcome=StageOutcome.STOPPED)
    return _begun_to_take_back(run, position, report, takes_all=no or run.case.takes_back is TakenBack.ALL)


def _means(run: Running, *, is_silence: bool) -> Unapproved:
    """What becomes of what was brought when a person did not say yes."""
    return run.case.on_timeout if is_silence else run.case.on_rejection


def after_a_no(run: Running, position: int, report: StageReport, refused: RefusedError) -> StageReport:
    """A stage that is not approved: it is not begun; what the stages before it brought stays, or is taken back."""
    report = replace(report, outcome=StageOutcome.NOT_APPROVED, why=refused.message)
    wanted = _means(run, is_silence=isinstance(refused, UndecidedError))
    if wanted is Unapproved.STOP or not run.targets_until(position - 1):
        return report
    return _begun_to_take_back(run, position - 1, report, takes_all=True)


def go_on_taking_back(run: Running) -> StageReport:
    """A run ended while it took a stage back: that is brought to its end, and nothing is applied."""
    row, plans = run.started.row, run.started.plan.stages
    position = [one.stage.name for one in plans].index(row.failed_stage)
    report = StageReport(name=row.failed_stage, outcome=StageOutcome.STOPPED, why=row.failure)
    return _taken_back(run, *_whom(run, position, takes_all=row.takes_all), report)


def take_all_back(run: Running) -> StageReport:
    """Everything that the rollout under way brought is taken back, when a person agrees.

    Raises:
        RefusedError: Nobody agreed; nothing was changed.
    """
    question = go_back_question(run.started.plan, run.started.row.id, name_to_type=run.case.name_to_type)
    decision = ask(run, question, GO_BACK)
    report = StageReport(name=GO_BACK, outcome=StageOutcome.DONE, approved=decision.sentence())
    return _taken_back(run, run.started.order, run.targets_until(len(run.started.plan.stages)), report)


def _begun_to_take_back(run: Running, position: int, report: StageReport, *, takes_all: bool) -> StageReport:
    """Written down first, so that a run that is killed meanwhile is gone on with there."""
    stage = run.started.plan.stages[position].stage.name
    note(run.control, run.started.row.id, stage=stage, why=report.why, takes_all=takes_all)
    return _taken_back(run, *_whom(run, position, takes_all=takes_all), report)


def _whom(run: Running, position: int, *, takes_all: bool) -> tuple[RolloutOrder, Sequence[FleetTarget]]:
    """What is taken back, and from whom."""
    if takes_all:
        return run.started.order, run.targets_until(position)
    return order_back(run.started, position), run.started.plan.stages[position].targets


def _taken_back(run: Running, order: RolloutOrder, targets: Sequence[FleetTarget], report: StageReport) -> StageReport:
    """Every target that it can: by script, or by recovery where that is the proven way or the script failed."""
    rollout_id = run.started.row.id
    tell(rollout_id, "taking-back", stage=report.name, why=report.why, targets=len(targets))
    run.lock.hold()
    certificates, by_recovery = _proven_ways(run, order, targets)
    done = list(by_recovery)
    named = {one.target.name for one in by_recovery}
    done += take_back_from_all(run.case, order, [one for one in targets if one.name not in named])
    if failures(done) and order.versions != run.started.order.versions:
        done = [not_recovered(one, ONLY_A_PART) if one in failures(done) else one for one in done]
    elif failures(done) and run.case.recovers is not Recovers.NEVER:
        done = _recovered(run, report.name, done, certificates)
    publish_stage(run.case.fleet.name, report.name, tuple(done), what="taken-back")
    outcome = StageOutcome.NOT_TAKEN_BACK if failures(done) else StageOutcome.TAKEN_BACK
    tell(rollout_id, "taken-back", stage=report.name, failed=len(failures(done)), targets=len(targets))
    problem = _written_down(run)
    why = "; ".join(one for one in (report.why, problem) if one)
    return replace(report, outcome=outcome, why=why, taken_back=tuple(done))


def _written_down(run: Running) -> str:
    """That it has been taken back as far as it can be; returns why that could not be written, empty when it was.

    The control database may be one of those that were recovered: then its session went with it, and it is as it was
    before the rollout came, or is shut still.
    """
    try:
        run.lock.hold()
        begin(run.control, run.started)
        note(run.control, run.started.row.id, stage="", why="")
    except SquizzleError as exc:
        return f"the control database cannot be used now: {exc.message}"
    return ""


def _proven_ways(
    run: Running, order: RolloutOrder, targets: Sequence[FleetTarget]
) -> tuple[Mapping[str, Certificate], tuple[TargetResult, ...]]:
    """What the certificates prove, and the targets whose proven way back is another one than their down scripts."""
    if not run.case.asks_for_proof or run.case.recovers is Recovers.NEVER:
        return {}, ()
    standings = look_where(run.case, order, targets)
    certificates = find_certificates(run.case, standings)
    unproven = unproven_scripts(certificates)
    others = [(one, why) for one in standings if (why := why_not_by_script(one.brought, unproven))]
    return certificates, tuple(
        TargetResult(
            target=one.target,
            verdict=ApplyVerdict.NOT_TAKEN_BACK,
            before=one.version,
            after=one.version,
            error=why,
        )
        for one, why in others
    )


def _recovered(
    run: Running, stage: str, done: Sequence[TargetResult], certificates: Mapping[str, Certificate]
) -> list[TargetResult]:
    """The same results, with what became of recovering those that failed."""
    prospects = [_prospect(run, one, certificates) for one in failures(done)]
    at_once, asked = split_prospects(prospects, run.case.recovers)
    found = {one.target.name: not_recovered(one.result, one.why_not) for one in prospects if one.way is None}
    try:
        if asked:
            question = recovery_question(run.started.plan, run.started.row.id, stage, asked, run.case.name_to_type)
            ask(run, question, stage)
    except RefusedError as exc:
        found |= {one.target.name: not_recovered(one.result, exc.message) for one in asked}
        asked = ()
    for one in (*at_once, *asked):
        found[one.target.name] = _recover(run, one)
    return [found.get(one.target.name, one) for one in done]


def _prospect(run: Running, result: TargetResult, certificates: Mapping[str, Certificate]) -> Prospect:
    """What the recovery of one target would be, as the recovery itself decides it. Nothing is changed."""
    target, fleet = result.target, run.survey.fleet
    # Also those that take no part would go back with a database that is exchanged.
    everybody = (*fleet.targets, *fleet.not_chosen, *(one.target for one in fleet.excluded))
    ruled_out = ruled_out_ways(target, everybody, by_script=result.error)
    prospect = Prospect(target=target, result=result, ruled_out=ruled_out)
    if run.case.store is None:
        return replace(prospect, why_not="no store is named where its backups are")
    (standing,) = look_where(run.case, run.started.order, (target,))
    if standing.began_at is None:
        return replace(prospect, why_not=standing.error or "its history does not say when the rollout came there")
    policy = RecoveryPolicy(ways=WAYS, ruled_out=prospect.ruled_out)
    evidence = recover_database(recovery_case(run, standing, now(), policy=policy, dry_run=True), now()).evidence
    way, why_not = way_of(evidence)
    assessment = evidence.assessment
    return replace(
        prospect,
        way=way,
        why_not=why_not,
        proven_by=proof_of(way, standing.brought, certificates) if way else "",
        clients=assessment.activity.clients if assessment else 0,
        rows=sum(rows for _, rows in assessment.added_rows) if assessment else 0,
    )


def _recover(run: Running, prospect: Prospect) -> TargetResult:
    """Carry it out; a recovery that cannot begin is a result, too."""
    (before,) = look_where(run.case, run.started.order, (prospect.target,))
    if before.began_at is None:
        return not_recovered(prospect.result, f"its recovery did not begin: {before.error or 'its history changed'}")
    case = recovery_case(run, before, now(), policy=prospect.policy(), dry_run=False)
    try:
        report = recover_database(case, now())
    except SquizzleError as exc:
        return not_recovered(prospect.result, f"its recovery did not begin: {exc.message}")
    result = recovered_result(prospect, report)
    if result.recovery is not None and result.recovery.way == Way.UNDO.words:
        try:
            write_down_undone(run.case, run.started.order, before)
        except SquizzleError as exc:
            return not_recovered(
                prospect.result, f"its rows are back, but its history could not be written: {exc.message}"
            )
    (after,) = look_where(run.case, run.started.order, (prospect.target,))
    return replace(result, after=after.version)
