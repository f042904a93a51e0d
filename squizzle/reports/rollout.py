"""The report of a rollout: what is decided on, who is where, how to go on or back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from squizzle.durations import words
from squizzle.postgres.decisions import Question
from squizzle.reports.markdown import bullets, seconds, table, timeline
from squizzle.reports.reconcile import reconciliation_json, standing_table, whole_move
from squizzle.reports.unwinding import recovered_table, recovery_json
from squizzle.rollout.checks import CheckRow
from squizzle.rollout.orders import ApplyVerdict, TargetResult, failures
from squizzle.rollout.records import RolloutPlan, Stage, StagePlan, TargetReport, TargetState
from squizzle.rollout.report import RolloutOutcome, RolloutReport, StageOutcome, StageReport
from squizzle.rollout.soak import SoakReport
from squizzle.rollout.windows import describe
from squizzle.settings.fleet_labels import label_words

# A table of artifacts and a question are read by a person; the rest is counted.
_MOST_ROWS = 1000
_NAMED = 20
# Of a stage's targets in the report, which has several stages.
_SHOWN = 10


def rollout_summary(report: RolloutReport) -> str:
    """One line for a list of artifacts, and for the state of a run that did not end well."""
    only = f" ({label_words(report.plan.only)} only)" if report.plan and report.plan.only else ""
    fleet = f"{report.fleet}{only}"
    what = f"Rollout of {', '.join(report.versions)} to {fleet}" if report.versions else f"Fleet {fleet}"
    why = report.problem or next((_why(one) for one in report.stages if one.why), "")
    if report.outcome is RolloutOutcome.NOT_BEGUN and not why and not report.stages:
        return f"{what}: a dry run, no target was changed"
    return f"{what}: {report.outcome.value}{f' ({why})' if why else ''}"


def _why(stage: StageReport) -> str:
    # What was not approved says itself which stage it is about.
    return stage.why if stage.outcome is StageOutcome.NOT_APPROVED else f"{stage.name}: {stage.why}"


def rollout_markdown(report: RolloutReport) -> str:
    """The whole report as Markdown."""
    return "\n\n".join(_parts(report)) + "\n"


def rollout_json(report: RolloutReport) -> dict[str, object]:
    """The report for programs: the outcome, each stage with its targets, and who has which version now."""
    return {
        "fleet": report.fleet,
        "rollout_id": report.rollout_id,
        "outcome": report.outcome.value,
        "problem": report.problem,
        "versions": list(report.versions),
        "stages": [
            {
                "name": one.name,
                "outcome": one.outcome.value,
                "why": one.why,
                "approved": one.approved,
                "targets": [_result_json(result) for result in one.results],
                "taken_back": [_result_json(result) for result in one.taken_back],
            }
            for one in report.stages
        ],
        "labels": dict(report.plan.only) if report.plan else {},
        "left_out": [{"name": one.target.name, "reason": one.reason} for one in report.left_out],
        "targets": [
            {"name": one.target.name, "state": one.state.value, "version": one.version, "pending": list(one.pending)}
            for one in report.found
        ],
        "standing": reconciliation_json(report.standing) if report.standing else None,
    }


def _result_json(one: TargetResult) -> dict[str, object]:
    by = one.recovery
    recovery = {"recovery": recovery_json(by)} if by else {}
    return {
        "name": one.target.name,
        "verdict": one.verdict.value,
        "share": one.share,
        "before": one.before,
        "after": one.after,
        "versions": list(one.versions),
        "duration_ms": round(one.duration.total_seconds() * 1000),
        "lock_wait_ms": round(one.lock_wait.total_seconds() * 1000),
        "attempts": one.attempts,
        "error": one.error,
        "database_state": one.database_state.value,
        **recovery,
    }


def _parts(report: RolloutReport) -> Iterator[str]:
    yield f"# {rollout_summary(report)}"
    if report.rollout_id:
        yield f"Rollout `{report.rollout_id}`"
    yield next_step(report)
    if report.certificates:
        yield "## What is proven"
        yield bullets([f"{one.version}: certificate `{one.id}` of {one.database}" for one in report.certificates])
    if report.plan is not None:
        yield "## Stages"
        yield stage_table(report.plan, report.stages)
        yield from (text for one in report.stages for text in _stage(one))
        remarks = dict.fromkeys(remark for one in report.stages if one.soak for remark in one.soak.remarks)
        if remarks:
            yield bullets(list(remarks))
        yield "## Who is where"
        yield standing_table(report.standing) if report.standing else _where(report)
    if report.left_out:
        yield "## Not in it"
        yield _left_out(report)
    if report.checks:
        yield "## Checks before"
        yield _checks(report.checks)
    yield f"## What was done ({seconds(report.duration)})"
    yield timeline(report.steps)


def next_step(report: RolloutReport) -> str:
    """What to do now, for a person."""
    labels = report.plan.only if report.plan else ()
    again = " ".join(
        [f"squizzle roll-out {report.fleet} --stages FILE", *(f"--label {name}={value}" for name, value in labels)]
    )
    match report.outcome:
        case RolloutOutcome.NOTHING_TO_DO:
            return "Every target has every version."
        case RolloutOutcome.DONE:
            return "Every target has every version of the rollout."
        case RolloutOutcome.TAKEN_BACK:
            return f"Nothing of it is left. Mend what is named below; the same again begins anew: `{again}`"
        case RolloutOutcome.NOT_BEGUN if report.problem or report.stages:
            return f"No target was changed. When that is repaired: `{again}`"
        case RolloutOutcome.NOT_BEGUN:
            return f"No target was changed. To begin: `{again}`, or the deployment with *Dry run* off."
    have = sum(map(report.has_all, report.found))
    told = f"**{have:,} of {len(report.found):,} targets have all of it.** Old and new schema are in use side by side;"
    lines = [
        f"{told} the table below says who has which.",
        f"- go on: mend what is named below, then `{again}`: it goes on where this run ended",
        f"- go back: `{again} --go-back` takes back what this rollout brought, and nothing else",
    ]
    if report.standing:
        lines[1] += f"; {whole_move(report.standing.on)}"
        lines[2] += f"; {whole_move(report.standing.back)}"
    lines += [f"- {line}" for line in _recoveries(report)]
    return "\n".join(lines)


def _recoveries(report: RolloutReport) -> Iterator[str]:
    """Targets that their down scripts did not bring back."""
    for stage in report.stages:
        for one in stage.taken_back:
            if one.verdict is ApplyVerdict.NOT_TAKEN_BACK:
                where = f"`{one.target.database}` on `{one.target.server}`"
                yield (
                    f"recover {where}, which could not be taken back ({one.error}):"
                    " `squizzle recover --url URL-OF-THAT-DATABASE --store URL`"
                )


def stage_table(plan: RolloutPlan, reports: Sequence[StageReport] = (), *, asked: str = "") -> str:
    """The stages, and how those that were begun ended.

    Args:
        plan: Who is migrated when.
        reports: Of the stages that were begun.
        asked: The stage that somebody is asked about; empty for none.
    """
    ended = {one.name: one for one in reports}
    # As few columns as can be: what pauses a run shows them in a window that is 40 letters wide.
    with_windows = any(one.stage.windows for one in plan.stages)
    headings = ("stage", "until", "targets", "watched", "if it fails", *(["when"] if with_windows else []), "result")

    def result(stage: Stage) -> str:
        return _ended(stage, ended.get(stage.name), asked=asked, is_plan=not reports)

    rows = [(*_stage_cells(one, with_windows=with_windows), result(one.stage)) for one in plan.stages]
    return table(headings, rows)


def _ended(stage: Stage, report: StageReport | None, *, asked: str, is_plan: bool) -> str:
    if report is not None:
        return report.outcome.value
    if stage.name == asked:
        return "**asked now**"
    if not is_plan:
        return "not reached"
    return "asks first" if stage.approval_required else "asks nobody"


def _stage_cells(one: StagePlan, *, with_windows: bool) -> tuple[str, ...]:
    stage = one.stage
    share = f" ({one.share.version} to {one.share.until_pct} % of its rows)" if one.share else ""
    return (
        stage.name,
        f"{stage.percentage} %",
        f"{len(one.targets):,}{share}",
        words(stage.duration) if stage.duration else "one look",
        "taken back" if stage.rollback_on_error else "stops",
        *(["; ".join(map(describe, stage.windows)) or "any time"] if with_windows else []),
    )


def _stage(one: StageReport) -> Iterator[str]:
    yield f"### {one.name}: {one.outcome.value}"
    facts = [*([f"approval: {one.approved}"] if one.approved else []), *([one.why] if one.why else []), *one.secured]
    if facts:
        yield bullets(facts)
    if one.soak is not None:
        yield soak_words(one.soak)
    if one.results:
        yield _results(one.results)
    if one.taken_back:
        yield "Taken back:"
        yield _results(one.taken_back)
        if recovered := recovered_table(one.taken_back):
            yield "Recovered, because their down scripts did not bring them back:"
            yield recovered


def soak_words(soak: SoakReport) -> str:
    """What watching came to."""
    if not soak.reasons:
        return f"Watched: **{soak.verdict.value}**; nothing was wrong."
    return f"Watched: **{soak.verdict.value}**\n\n" + bullets([f"{one.target}: {one.text}" for one in soak.reasons])


def result_words(results: Sequence[TargetResult]) -> str:
    """How many came to which verdict, and the first one that failed."""
    counts: dict[str, int] = {}
    for one in results:
        counts[one.verdict.value] = counts.get(one.verdict.value, 0) + 1
    bad = failures(results)
    first = f"; {bad[0].target.name}: {bad[0].error}" if bad else ""
    return ", ".join(f"{count:,} {verdict}" for verdict, count in counts.items()) + first


def result_rows(results: Sequence[TargetResult]) -> list[dict[str, str]]:
    """Targets for a table artifact: before, after, duration, lock wait, attempts, verdict, error."""
    return [
        {
            "target": one.target.name,
            "before": one.before or "",
            "after": one.after or "",
            "duration": seconds(one.duration),
            "lock wait": seconds(one.lock_wait),
            "attempts": str(one.attempts),
            "verdict": f"{one.verdict.value} ({one.share})" if one.share else one.verdict.value,
            "error": one.error,
        }
        for one in _bad_first(results)[:_MOST_ROWS]
    ]


def _bad_first(results: Sequence[TargetResult]) -> list[TargetResult]:
    return sorted(results, key=lambda one: not one.error)


def _results(results: Sequence[TargetResult]) -> str:
    """All that failed, and some of the others: the table of the stage has every one."""
    rows = result_rows(results)[: max(_SHOWN, len(failures(results)))]
    text = table(list(rows[0]), [list(row.values()) for row in rows])
    others = _bad_first(results)[len(rows) :]
    return f"{text}\n\n… and {len(others):,} more: {result_words(others)}" if others else text


def _checks(rows: Sequence[CheckRow]) -> str:
    """What a check found, of those that found something; the others are counted."""
    found = [row for row in rows if row.findings]
    well = f"{len(rows) - len(found)} of {len(rows)} checks found nothing."
    return f"{check_table(found)}\n\n{well}" if found else well


def _where(report: RolloutReport) -> str:
    placed = report.plan.stage_of if report.plan else {}
    order = sorted(report.found, key=lambda one: (report.has_all(one), one.target.name))
    states = {(one.version or "none", _state(report, one)) for one in order}
    if len(states) == 1:
        return "All {:,} targets: version {}, {}.".format(len(order), *states.pop())
    rows = [
        (one.target.name, placed.get(one.target.name, ""), one.version or "none", _state(report, one))
        for one in order[:_MOST_ROWS]
    ]
    text = table(("target", "stage", "version", "state"), rows)
    left_out = len(order) - len(rows)
    return f"{text}\n\n… and {left_out:,} more that have all of it" if left_out > 0 else text


def _left_out(report: RolloutReport) -> str:
    together: dict[str, list[str]] = {}
    for one in report.left_out:
        together.setdefault(one.reason, []).append(one.target.name)
    return table(("why", "targets"), [(why, some_names(names)) for why, names in together.items()])


def _state(report: RolloutReport, one: TargetReport) -> str:
    if one.state is not TargetState.READY:
        return f"**{one.state.value}**: {one.detail}"
    missing = [version for version in report.versions if version in one.pending]
    state = f"lacks {', '.join(missing)}" if missing else "has all of it"
    state += "".join(f"; of {part.version} {part.detail}" for part in one.partly if part.version in missing)
    return f"{state}; **failed or not ended: {', '.join(one.failed)}**" if one.failed else state


def check_table(rows: Sequence[CheckRow]) -> str:
    """What was looked at before, a row for each check."""
    cells = [
        (row.check, row.result.value, f"{row.ok:,}", f"{len(row.findings):,}", row.sentence() or "") for row in rows
    ]
    return table(("check", "result", "well at", "not at", "what"), cells)


def soak_question(stage: Stage, plan: RolloutPlan, rollout_id: str, soak: SoakReport) -> Question:
    """Whether what was seen is no reason to stop."""
    signs = sorted({(one.target, one.sign.value) for one in soak.reasons})
    return Question(
        gate=f"soak-{slug_of(stage)}",
        title=f"Go on after stage {stage.name} of {plan.fleet}, although not all is well",
        plan="\n\n".join(
            [soak_words(soak), *_not_compared(soak), "Approve: it is no reason to stop. Reject: it failed."]
        ),
        facts=(rollout_id, plan.digest, stage.name, *(f"{target}: {sign}" for target, sign in signs)),
    )


def _not_compared(soak: SoakReport) -> Iterator[str]:
    if soak.remarks:
        yield bullets(list(soak.remarks))


def go_back_question(plan: RolloutPlan, rollout_id: str, *, name_to_type: str) -> Question:
    """Whether everything that a rollout brought may be taken back."""
    versions = ", ".join(one.version for one in reversed(plan.versions))
    return Question(
        gate="rollout-go-back",
        title=f"Take back {versions} from {plan.fleet}",
        plan=f"Rollout `{rollout_id}`: the down scripts of {versions} run on every target that it brought them to.",
        facts=(rollout_id, plan.digest, "go back"),
        name_to_type=name_to_type,
    )


def slug_of(stage: Stage) -> str:
    """A stage's name as part of a gate's key."""
    return "".join(one if one.isascii() and one.isalnum() else "-" for one in stage.name.lower())


def some_names(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(f"`{one}`" for one in names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
