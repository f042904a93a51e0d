"""Verbs of the command that run a whole flow in this process; plugged in by the entry points of `squizzle.verbs`.

They use Prefect's temporary API, so they work with no server running; nothing of Prefect is imported before a verb is
called. A Prefect server that the environment names is not used: at 3 a.m. it may be the casualty.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click

from squizzle.backups.open_store import open_store
from squizzle.backups.store import BackupStore
from squizzle.chaos.settings import VARIABLE
from squizzle.cli.assess import DamageOptions, damage_options, has_migrations
from squizzle.cli.backups import store_address, store_of, store_options
from squizzle.cli.fence import fence_settings, which_fences
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result, say
from squizzle.cli.rds import instance_of
from squizzle.config import CONFIG_NAME, load_config
from squizzle.drills.records import DrillRun, DrillScenario, DrillVerdict
from squizzle.drills.scenarios import TITLES
from squizzle.errors import CouldNotVerifyError, InvalidInputError, RecoveryError, RefusedError
from squizzle.fence_settings import FenceSettings
from squizzle.migrations.layouts.flyway_settings import placeholders_of
from squizzle.postgres.identity import check_identity, read_identity
from squizzle.recovery.fence import session_through_fence
from squizzle.recovery.recovery import RecoveryOutcome, RecoveryReport, recovery_names
from squizzle.recovery.ways import RecoveryPolicy
from squizzle.reports.drill import drill_json, drill_markdown, drills_markdown
from squizzle.reports.drill_trend import trend_document, trend_markdown
from squizzle.reports.recovery import recovery_json, recovery_markdown
from squizzle.reports.terminal import StepView, print_markdown
from tasks.folders import MigrationsFolder
from tasks.in_this_process import Procedure, Words, run_here
from tasks.recovery_case import WAYS, RecoveryCase
from tasks.sources import NamedApplication, NamedDatabase, NamedInstance, NamedStore
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
    chaos = f"rate={rate}{'' if seed is None else f' seed={seed}'}" if rate else ""
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


_RECOVERY_CODES = {
    RecoveryOutcome.RECOVERED: 0,
    RecoveryOutcome.NOTHING_TO_DO: 0,
    RecoveryOutcome.PLANNED: 0,
    RecoveryOutcome.REFUSED: RefusedError.code,
    RecoveryOutcome.FAILED: RecoveryError.code,
    RecoveryOutcome.COULD_NOT_VERIFY: CouldNotVerifyError.code,
}


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what is damaged and what would be done; `assess` is quicker.")
@click.option("--may-lose-data", is_flag=True, help="A yes beforehand to a way back that loses what was written since.")
@click.option("--no-salvage", is_flag=True, help="Do not look for the rows that only the damaged database has.")
@which_fences
@common_options
@damage_options
def recover(
    invocation: Invocation,
    options: DamageOptions,
    *,
    dry_run: bool,
    may_lose_data: bool,
    no_salvage: bool,
    names: tuple[str, ...],
    only_database: bool,
) -> int:
    """Get a damaged database back by the cheapest way that works; the damaged one is kept.

    Shuts the environment's applications and the database, compares it with a backup, takes the best way back, compares
    again, and lets everybody in. Before a way that loses data it asks at the terminal; without one it refuses, and
    everything stays shut. A run that was killed is started again with the same options, and goes on.

    Exit codes: 0 recovered, or nothing to do; 7 it failed; 9 nobody agreed; 10 it could not be verified.

    \b
    Examples:
      squizzle recover --env production --dry-run
      squizzle recover --env production --damaged-since 40m --lose-at-most 2h
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    access, target = invocation.target()
    store = store_of(options.address, invocation.config)
    settings = fence_settings(invocation, target, names, only_database=only_database)
    with_scripts = has_migrations(invocation)
    instance = instance_of(invocation, access)
    layout = invocation.folder_layout() if with_scripts else ""
    if not dry_run:
        with session_through_fence(access, target.database, purpose="recover") as session:
            identity = read_identity(session)
        check_identity(identity, target.expected, database=target.database)
        invocation.confirm("shut it and recover it", target, identity)
    started_at = datetime.now(UTC)
    placeholders = tuple(placeholders_of(os.environ).items())
    folder = MigrationsFolder(path=invocation.folder, layout=layout, placeholders=placeholders)
    case = RecoveryCase(
        database=NamedDatabase(meant=target, opens=lambda: access),
        store=NamedStore(opens=lambda: store),
        folders=(folder,) if with_scripts else (),
        names=recovery_names(target.database, started_at),
        policy=RecoveryPolicy(may_lose_data=may_lose_data, max_rpo=options.max_rpo, max_rto=options.max_rto, ways=WAYS),
        insist=options.insist,
        applications=tuple(_application(one) for one in settings),
        backup_id=options.backup_id,
        since=options.since,
        dry_run=dry_run,
        keep_lost_rows=not no_salvage,
        rds=NamedInstance(instance=instance[0], reached=instance[1]) if instance else None,
    )
    report = _recover(case, started_at, quiet=invocation.as_json)
    print_result(recovery_json(report), "", as_json=invocation.as_json)
    return _RECOVERY_CODES[report.outcome]


def _application(settings: FenceSettings) -> NamedApplication:
    return NamedApplication(opens=lambda: settings)


def _recover(case: RecoveryCase, started_at: datetime, *, quiet: bool) -> RecoveryReport:
    words = Words(
        title=f"Recovery of {case.database.database}",
        name="recover",
        run_name=f"recover {case.database.database}",
        report=recovery_markdown,
        agree_beforehand="run the same at a terminal, or with --may-lose-data",
        interrupted="clients may be kept out (`squizzle fence --show`); the same command again goes on",
    )
    return run_here(words, partial(_load, case, started_at), quiet=quiet)


def _load(case: RecoveryCase, started_at: datetime) -> Procedure[RecoveryReport]:
    from flows.recover import carry_out_recovery  # noqa: PLC0415 - Prefect reads its settings when it is imported
    from tasks.reporting import recovery_path  # noqa: PLC0415 - same

    return Procedure(work=partial(carry_out_recovery, case, started_at), path=recovery_path)
