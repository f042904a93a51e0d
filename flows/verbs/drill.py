"""The verb that plays disasters: the flow, run in this process; see `flows.verbs`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from squizzle.backups.open_store import open_store
from squizzle.backups.store import BackupStore
from squizzle.chaos.settings import SURVIVED_KINDS, VARIABLE
from squizzle.cli.backups import store_address, store_of, store_options
from squizzle.cli.output import print_result, say
from squizzle.config import CONFIG_NAME, Config, load_config, resolve_environment, resolve_url
from squizzle.drills.records import DrillRun, DrillScenario, DrillVerdict
from squizzle.drills.scenarios import TITLES
from squizzle.errors import CouldNotVerifyError, InvalidInputError, RecoveryError
from squizzle.reports.drill import drill_json, drill_markdown, drills_markdown
from squizzle.reports.drill_trend import trend_document, trend_markdown
from squizzle.reports.terminal import print_markdown
from tasks.in_this_process import Procedure, Words, run_here
from tasks.sources import NamedDatabase, NamedStore

if TYPE_CHECKING:
    # Loads Prefect, which reads its settings when it is imported.
    from tasks.drill_case import DrillCase

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
@click.option(
    "--source",
    metavar="ENV",
    help="Play with the newest backup of this environment's database (or of a URL's), on copies; it is not asked.",
)
@click.option("--trend", is_flag=True, help="Show what drills cost so far instead; nothing is played.")
@store_options
def drill(  # noqa: PLR0913 - one argument an option
    scenario: str,
    scale: float,
    rate: float | None,
    seed: int | None,
    source: str | None,
    *,
    trend: bool,
    address: str | None,
    config_file: Path | None,
    as_json: bool,
) -> int:
    """Play a disaster on an embedded PostgreSQL and recover from it.

    Nothing of yours is touched: the server, its data and its backup go with the drill. What it cost is kept in the
    store that squizzle.toml names ([backups] store), and compared with the drills before and with [drills].

    --source plays with your own data: the newest whole backup in --store (or [backups] store) is restored to the
    drill's server, compared, and disasters strike copies of it. The rows are those of the source, unmasked.

    Exit codes: 0 pass, 7 fail, 10 could not verify.

    \b
    Examples:
      squizzle drill
      squizzle drill --scenario data_loss
      squizzle drill --trend --store file:///var/backups/shop
      squizzle drill --source production --store s3://backups/shop
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    if trend:
        return show_drills(open_store(store_address(address, load_config(config_file))), as_json=as_json)
    if address is not None and source is None:
        raise InvalidInputError(
            "--store is for --source and --trend", hint="name the store in squizzle.toml: [backups] store"
        )
    named = None if source is None else _named(source, address, load_config(config_file))
    chosen = DrillScenario(scenario)
    case = partial(_case, named, scenario=chosen, scale=scale, seed=seed, configuration=config_file)
    with _environment(VARIABLE, _chaos(rate, seed) if rate else ""):
        run = _drill(case, chosen, quiet=as_json)
    document = {"scenarios": [drill_json(report) for report in run.reports], "verdict": run.verdict.value}
    print_result(document, "", as_json=as_json)
    return _EXIT_CODES[run.verdict]


def _named(source: str, address: str | None, config: Config) -> tuple[NamedDatabase, NamedStore]:
    """The database whose backup is played with, which is not asked anything, and where that backup is."""
    if "://" in source:
        access, target = resolve_url(config, source, schema=None)
    else:
        access, target = resolve_environment(config, source, schema=None)
    store = store_of(address, config)
    return NamedDatabase(meant=target, opens=lambda: access), NamedStore(opens=lambda: store)


def _case(
    named: tuple[NamedDatabase, NamedStore] | None,
    *,
    scenario: DrillScenario,
    scale: float,
    seed: int | None,
    configuration: Path | None,
) -> DrillCase:
    from tasks.drill_case import DrillCase  # noqa: PLC0415 - blocks load Prefect, which reads its settings then

    source, store = named or (None, None)
    return DrillCase(
        scenario=scenario,
        scale=scale,
        seed=seed,
        source=source,
        source_store=store,
        configuration=configuration or Path(CONFIG_NAME),
    )


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


def _drill(case: Callable[[], DrillCase], scenario: DrillScenario, *, quiet: bool) -> DrillRun:
    words: Words[DrillRun] = Words(
        title=f"Disaster drill: {TITLES[scenario]}",
        name="drill",
        run_name=f"drill {scenario.value}",
        report=lambda run: drill_markdown(run.reports[0]) if len(run.reports) == 1 else drills_markdown(run),
        agree_beforehand="a drill agrees to what it asks",
        interrupted="what the drill had made is gone; nothing else was touched",
    )
    return run_here(words, partial(_load, case), quiet=quiet)


def _load(case: Callable[[], DrillCase]) -> Procedure[DrillRun]:
    from flows.run_drill import carry_out_drill  # noqa: PLC0415 - Prefect reads its settings when it is imported
    from tasks.reporting import drills_path, path_of  # noqa: PLC0415 - same

    def path(run: DrillRun) -> Path:
        return path_of(run.reports[0]) if len(run.reports) == 1 else drills_path(run)

    return Procedure(work=partial(carry_out_drill, case()), path=path)
