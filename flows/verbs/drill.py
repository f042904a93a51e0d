"""The verb that plays disasters: the flow, run in this process; see `flows.verbs`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from squizzle.backups.open_store import open_store
from squizzle.backups.store import BackupStore
from squizzle.chaos.settings import SURVIVED_KINDS, VARIABLE
from squizzle.cli.backups import store_address, store_options
from squizzle.cli.output import print_result, say
from squizzle.config import CONFIG_NAME, load_config
from squizzle.drills.records import DrillRun, DrillScenario, DrillVerdict
from squizzle.drills.scenarios import TITLES
from squizzle.errors import CouldNotVerifyError, InvalidInputError, RecoveryError
from squizzle.reports.drill import drill_json, drill_markdown, drills_markdown
from squizzle.reports.drill_trend import trend_document, trend_markdown
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
    type=click.Choice([one.value for one in DrillScenario]),
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
@click.option(
    "--chaos",
    "rate",
    type=click.FloatRange(0, 1),
    help="Let steps, sessions and files of the drill fail on purpose, so often: 0.1 is one time in ten.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    metavar="N",
    help="Play the same random moment again, and with --chaos strike at the same places, as a report says.",
)
@click.option("--trend", is_flag=True, help="Show what drills cost so far instead; nothing is played.")
@store_options
def drill(
    scenario: str,
    scale: float,
    rate: float | None,
    seed: int | None,
    *,
    trend: bool,
    address: str | None,
    config_file: Path | None,
    as_json: bool,
) -> int:
    """Play a disaster on an embedded PostgreSQL and recover from it.

    Nothing of yours is touched: the server, its data and its backup go with the drill. What it cost is kept in the
    store that squizzle.toml names ([backups] store), and compared with the drills before and with [drills]. --store is
    for --trend. Exit codes: 0 pass, 7 fail, 10 could not verify.
    """
    if trend:
        return show_drills(open_store(store_address(address, load_config(config_file))), as_json=as_json)
    if address is not None:
        raise InvalidInputError("--store is for --trend", hint="name the store in squizzle.toml: [backups] store")
    chaos = _chaos(rate, seed) if rate else ""
    with _environment(VARIABLE, chaos):
        run = _run(DrillScenario(scenario), scale, seed, config_file, quiet=as_json)
    document = {"scenarios": [drill_json(report) for report in run.reports], "verdict": run.verdict.value}
    print_result(document, "", as_json=as_json)
    return _EXIT_CODES[run.verdict]


def show_drills(store: BackupStore, *, as_json: bool) -> int:
    """Print what the drills that are kept in a store cost; nothing is played."""
    from squizzle.frames.drills import read_drills, trend_of  # noqa: PLC0415 - pandas costs 0.7 s

    found = read_drills(store)
    for problem in found.problems:
        say(f"warning: {problem}")
    trend = trend_of(found.figures)
    document = {"drills": trend_document(trend), "problems": list(found.problems)}
    if as_json:
        print_result(document, "", as_json=True)
    elif found.figures:
        print_markdown(trend_markdown(trend))
    else:
        say(f"no drill is kept in {store.address}")
    return 0


def _chaos(rate: float, seed: int | None) -> str:
    """What switches it on; a drill that is killed ends without a report, so nobody is killed."""
    drawn = "" if seed is None else f" seed={seed}"
    return f"rate={rate:g}{drawn} kinds={','.join(sorted(SURVIVED_KINDS))}"


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set a variable in the block; an empty value leaves it as it is."""
    before = os.environ.get(name)
    if value:
        os.environ[name] = value
    try:
        yield
    finally:
        if value:
            del os.environ[name]
            os.environ.update({} if before is None else {name: before})


def _run(scenario: DrillScenario, scale: float, seed: int | None, config_file: Path | None, *, quiet: bool) -> DrillRun:
    with StepView(f"Disaster drill: {TITLES[scenario]}") as view, temporary_api() as wait_for_api:
        from flows.run_drill import run_drill  # noqa: PLC0415 - Prefect reads its settings when it is imported
        from tasks.outcome import report_of  # noqa: PLC0415 - same
        from tasks.reporting import drills_path, path_of  # noqa: PLC0415 - same
        from tasks.steps import watched_by  # noqa: PLC0415 - same

        wait_for_api()
        with watched_by(view):
            configuration = config_file or Path(CONFIG_NAME)
            state = run_drill(scenario=scenario, scale=scale, seed=seed, configuration=configuration, return_state=True)
    run: DrillRun | BaseException = report_of(state)
    if isinstance(run, BaseException):
        raise run
    is_one = len(run.reports) == 1
    if not quiet:
        print_markdown(drill_markdown(run.reports[0]) if is_one else drills_markdown(run))
    path = path_of(run.reports[0]) if is_one else drills_path(run)
    view.console.print(f"report: {path}", highlight=False, soft_wrap=True)
    return run
