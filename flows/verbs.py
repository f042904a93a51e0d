"""Verbs of the command that run a whole flow in this process; plugged in by the entry points of `squizzle.verbs`.

They use Prefect's temporary API, so they work with no server running; nothing of Prefect is imported before a verb is
called. A Prefect server that the environment names is not used: at 3 a.m. it may be the casualty.
"""

from __future__ import annotations

import click

from squizzle.cli.output import print_result
from squizzle.errors import CouldNotVerifyError, RecoveryError
from squizzle.recovery.drill import ALL_SCENARIOS, SCENARIO_TITLES, DrillReport, DrillScenario, DrillVerdict
from squizzle.reports.drill import drill_json, drill_markdown
from squizzle.reports.terminal import StepView, print_markdown
from tasks.temporary_api import temporary_api

_EXIT_CODES = {
    DrillVerdict.PASS: 0,
    DrillVerdict.FAIL: RecoveryError.code,
    DrillVerdict.COULD_NOT_VERIFY: CouldNotVerifyError.code,
}


@click.command()
@click.option(
    "--scenario",
    type=click.Choice([*(one.value for one in DrillScenario), "all"]),
    default=DrillScenario.DATA_LOSS.value,
    show_default=True,
    help="The disaster to play; `all` plays every one that a recovery can answer.",
)
@click.option(
    "--scale",
    type=click.FloatRange(0, 100, min_open=True),
    default=1.0,
    show_default=True,
    help="Size of the example's data; 1 is about 200,000 rows.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")
def drill(scenario: str, scale: float, *, as_json: bool) -> int:
    """Play a disaster on an embedded PostgreSQL and recover from it.

    Nothing of yours is touched: the server, its data and its backup go with the drill. Exit codes: 0 pass, 7 fail,
    10 could not verify.
    """
    chosen = ALL_SCENARIOS if scenario == "all" else (DrillScenario(scenario),)
    reports = [_run(one, scale, quiet=as_json) for one in chosen]
    verdict = worst_verdict(reports)
    document = {"scenarios": [drill_json(report) for report in reports], "verdict": verdict.value}
    print_result(document, "", as_json=as_json)
    return _EXIT_CODES[verdict]


def worst_verdict(reports: list[DrillReport]) -> DrillVerdict:
    """Fail when one failed, else could not verify when one could not, else pass."""
    verdicts = {report.verdict for report in reports}
    order = (DrillVerdict.FAIL, DrillVerdict.COULD_NOT_VERIFY, DrillVerdict.PASS)
    return next(verdict for verdict in order if verdict in verdicts)


def _run(scenario: DrillScenario, scale: float, *, quiet: bool) -> DrillReport:
    with StepView(f"Disaster drill: {SCENARIO_TITLES[scenario]}") as view, temporary_api() as wait_for_api:
        from flows.run_drill import run_drill  # noqa: PLC0415 - Prefect reads its settings when it is imported
        from tasks.reporting import path_of  # noqa: PLC0415 - same
        from tasks.steps import watched_by  # noqa: PLC0415 - same

        wait_for_api()
        with watched_by(view):
            state = run_drill(scenario=scenario, scale=scale, return_state=True)
    report: DrillReport | BaseException = state.result(raise_on_failure=False)
    if isinstance(report, BaseException):
        raise report
    if not quiet:
        print_markdown(drill_markdown(report))
    view.console.print(f"report: {path_of(report)}", highlight=False, soft_wrap=True)
    return report
