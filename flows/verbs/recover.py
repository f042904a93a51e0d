"""The verb that recovers a damaged database: the flow, run in this process; see `flows.verbs`."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import partial

import click

from squizzle.cli.assess import DamageOptions, damage_options, has_migrations
from squizzle.cli.backups import store_of
from squizzle.cli.fence import fence_settings, which_fences
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result
from squizzle.cli.rds import instance_of
from squizzle.errors import CouldNotVerifyError, RecoveryError, RefusedError
from squizzle.migrations.layouts.flyway_settings import placeholders_of
from squizzle.postgres.identity import check_identity, read_identity
from squizzle.recovery.fence import session_through_fence
from squizzle.recovery.recovery import RecoveryOutcome, RecoveryReport, recovery_names
from squizzle.recovery.ways import RecoveryPolicy
from squizzle.reports.recovery import recovery_json, recovery_markdown
from squizzle.settings.fences import FenceSettings
from tasks.folders import MigrationsFolder
from tasks.in_this_process import Procedure, Words, run_here
from tasks.recovery_case import WAYS, RecoveryCase
from tasks.sources import NamedApplication, NamedDatabase, NamedInstance, NamedStore

_EXIT_CODES = {
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
    return _EXIT_CODES[report.outcome]


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
