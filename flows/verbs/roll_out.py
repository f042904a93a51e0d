"""The verb that rolls out: the flow, run in this process; see `flows.verbs`."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from squizzle.cli.backups import store_of
from squizzle.cli.names import fleets, versions
from squizzle.cli.output import print_result
from squizzle.config import CONFIG_NAME, load_config
from squizzle.errors import RecoveryError
from squizzle.postgres.access import parse_url
from squizzle.postgres.identity import Target
from squizzle.reports.rollout import rollout_json, rollout_markdown
from squizzle.rollout.report import RolloutOutcome, RolloutReport
from squizzle.rollout.unwinding import Recovers
from tasks.in_this_process import Procedure, Words, run_here
from tasks.rollout_case import RolloutCase, Secured, Spread, TakenBack, Unapproved, case_of
from tasks.sources import NamedDatabase, NamedStore


@click.command("roll-out")
@click.argument("fleet", shell_complete=fleets)
@click.option(
    "--stages", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The stages file (YAML)."
)
@click.option("--section", metavar="NAME", help="Which section of it, where it has several.")
@click.option(
    "--to",
    "version",
    default="",
    metavar="VERSION",
    help="The last version to roll out; else everything.",
    shell_complete=versions,
)
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Only targets that have it; repeatable.")
@click.option("--store", "address", metavar="URL", help="file:///folder or s3://…; without it: [backups] store.")
@click.option("--control", metavar="URL", help="Where rollouts are written down; else in the first canary.")
@click.option(
    "--backups",
    type=click.Choice([one.value for one in Secured]),
    default=Secured.ALL.value,
    show_default=True,
    help="Which targets of a stage are backed up before it, in production.",
)
@click.option(
    "--takes-back",
    type=click.Choice([one.value for one in TakenBack]),
    default=TakenBack.STAGE.value,
    show_default=True,
    help="What a failure takes back, where the stage does.",
)
@click.option(
    "--recovers",
    type=click.Choice([one.value for one in Recovers]),
    default=Recovers.SAFE.value,
    show_default=True,
    help="When a target that could not be taken back is recovered.",
)
@click.option(
    "--on-rejection",
    type=click.Choice([one.value for one in Unapproved]),
    default=Unapproved.STOP.value,
    show_default=True,
    help="What becomes of what is migrated when a stage is not approved.",
)
@click.option(
    "--spread",
    type=click.Choice([one.value for one in Spread]),
    default=Spread.HERE.value,
    show_default=True,
    help="Who works on the targets: this process, or a Dask cluster.",
)
@click.option(
    "--checks", type=click.Path(path_type=Path), metavar="FILE", help="SQL that must hold while it is watched."
)
@click.option(
    "--alerts",
    multiple=True,
    metavar="FILE",
    help="Alert rules that must not fire meanwhile; `guide`: ours.",
)
@click.option("--without-certificates", default="", metavar="REASON", help="Go to production unproven.")
@click.option("--approver", default="", metavar="NAME", help="Who answers for that.")
@click.option("--dry-run", is_flag=True, help="Look, check and plan only.")
@click.option("--go-back", is_flag=True, help="Take back what the rollout that is under way brought.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), metavar="FILE", help="squizzle.toml.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")
def roll_out(
    fleet: str,
    stages: Path,
    section: str | None,
    address: str | None,
    without_certificates: str,
    approver: str,
    config_file: Path | None,
    *,
    as_json: bool,
    **wanted: Any,
) -> int:
    """Bring migrations to every database of FLEET, stage by stage, and watch what was migrated.

    Stages that want a person's yes ask at the terminal. Killed anywhere, the same command again goes on, and does
    nothing twice. Exit codes: 0 done, or a dry run; 7 it stopped, or was taken back; 9 refused.

    \b
    Examples:
      squizzle roll-out customers --stages rollout.yaml --dry-run
      squizzle roll-out customers --stages rollout.yaml --to 0013
      squizzle roll-out customers --stages rollout.yaml --go-back
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    config = load_config(config_file)
    store = store_of(address, config) if address else None
    case = case_of(
        fleet,
        stages,
        section=section,
        configuration=config_file or Path(CONFIG_NAME),
        store=NamedStore(opens=lambda: store) if store else None,
        without_certificates=without_certificates,
        approver=approver,
        environ=os.environ,
    )
    case = _as_wanted(case, **wanted)
    report = run_here(_words(fleet), partial(_load, case, datetime.now(UTC)), quiet=as_json)
    print_result(rollout_json(report), "", as_json=as_json)
    well = report.is_well or case.dry_run or (case.go_back and report.outcome is RolloutOutcome.TAKEN_BACK)
    return 0 if well else RecoveryError.code


def _as_wanted(  # noqa: PLR0913 - one for each option
    case: RolloutCase,
    *,
    version: str,
    labels: tuple[str, ...],
    control: str | None,
    backups: str,
    takes_back: str,
    recovers: str,
    on_rejection: str,
    spread: str,
    checks: Path | None,
    alerts: tuple[str, ...],
    dry_run: bool,
    go_back: bool,
) -> RolloutCase:
    """The case with what the options say of it."""
    return replace(
        case.only(labels),
        version=version,
        control=_named(control) if control else None,
        backups=Secured(backups),
        takes_back=TakenBack(takes_back),
        recovers=Recovers(recovers),
        on_rejection=Unapproved(on_rejection),
        spread=Spread(spread),
        checks=checks,
        alerts=(*case.alerts, *alerts),
        dry_run=dry_run,
        go_back=go_back,
    )


def _named(url: str) -> NamedDatabase:
    access, database = parse_url(url)
    return NamedDatabase(meant=Target(database=database), opens=lambda: access)


def _words(fleet: str) -> Words[RolloutReport]:
    return Words(
        title=f"Rollout to {fleet}",
        name="roll-out",
        run_name=f"rollout → {fleet}",
        report=rollout_markdown,
        agree_beforehand="run the same at a terminal, or start the deployment rollout and answer in Prefect's UI",
        interrupted="what was applied stays; the same command again goes on (`squizzle fleet NAME` shows who has what)",
    )


def _load(case: RolloutCase, started_at: datetime) -> Procedure[RolloutReport]:
    from flows.roll_out import carry_out_rollout  # noqa: PLC0415 - Prefect reads its settings when it is imported
    from tasks.reporting import rollout_path  # noqa: PLC0415 - same

    return Procedure(work=partial(carry_out_rollout, case, started_at), path=rollout_path)
