"""The verb that rehearses: the flow, run in this process; see `flows.verbs`."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import click

from squizzle.cli.backups import store_of
from squizzle.cli.names import backup_ids, versions
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result
from squizzle.durations import parse_duration
from squizzle.errors import CouldNotVerifyError, InvalidInputError, RecoveryError
from squizzle.migrations.layouts.flyway_settings import placeholders_of
from squizzle.postgres.access import CONTROL_DATABASE, parse_url
from squizzle.postgres.identity import Target
from squizzle.rehearsal.certificate import document_of
from squizzle.rehearsal.records import CertificateVerdict
from squizzle.rehearsal.report import RehearsalReport
from squizzle.reports.rehearsal import rehearsal_markdown
from squizzle.settings.rehearsal import rehearsal_server
from tasks.folders import MigrationsFolder
from tasks.in_this_process import Procedure, Words, run_here
from tasks.rehearsal_case import RehearsalCase
from tasks.sources import NamedDatabase, NamedStore

_EXIT_CODES = {
    CertificateVerdict.PROVEN: 0,
    CertificateVerdict.FAILED: RecoveryError.code,
    CertificateVerdict.INCONCLUSIVE: CouldNotVerifyError.code,
}


@click.command()
@click.argument("version", required=False, shell_complete=versions)
@click.option("--all", "every", is_flag=True, help="Every pending version, in order.")
@click.option("--store", "address", metavar="URL", help="file:///folder or s3://…; without it: [backups] store.")
@click.option(
    "--backup",
    "backup_id",
    default="",
    metavar="ID",
    help="Restore this one; else the newest fresh one.",
    shell_complete=backup_ids,
)
@click.option("--max-backup-age", metavar="AGE", help="An older backup does not count; a new one is taken (1d).")
@click.option("--scratch", metavar="URL", help="A server for the copy; without it, one of our own is started.")
@click.option("--mask", type=click.Path(path_type=Path), metavar="FILE", help="SQL that masks the copy first.")
@click.option(
    "--workload", type=click.Path(path_type=Path), metavar="FILE", help="Queries to compare before and after."
)
@click.option(
    "--top-queries", type=click.IntRange(0, 500), default=0, help="Compare so many of the costliest queries, too."
)
@click.option("--point-in-time", is_flag=True, help="Carry out and measure a recovery to a point in time, too.")
@click.option("--budget", metavar="AGE", help="How long one script may take on the copy (1h).")
@common_options
def rehearse(  # noqa: PLR0913, PLR0917 - one argument an option
    invocation: Invocation,
    version: str | None,
    address: str | None,
    backup_id: str,
    max_backup_age: str | None,
    scratch: str | None,
    mask: Path | None,
    workload: Path | None,
    budget: str | None,
    top_queries: int,
    *,
    every: bool,
    point_in_time: bool,
) -> int:
    """Prove VERSION, or --all pending ones, and the way back, on a copy of the data; write a certificate.

    The database itself is only read: a fresh backup is restored to a scratch place and compared row by row; there each
    version is applied with every lock traced, taken back, compared, and applied again. Production asks for the
    certificate. Exit codes: 0 proven, 7 failed, 10 inconclusive.

    \b
    Examples:
      squizzle rehearse 0013 --env production
      squizzle rehearse --all --env production --max-backup-age 6h --json
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    if (version is None) != every:
        raise InvalidInputError("say what to rehearse", hint="give VERSION or --all, and not both")
    access, target = invocation.target()
    store = store_of(address, invocation.config)
    settings = invocation.config.rehearsal
    placeholders = tuple(placeholders_of(os.environ).items())
    folder = MigrationsFolder(path=invocation.folder, layout=invocation.folder_layout(), placeholders=placeholders)
    case = RehearsalCase(
        database=NamedDatabase(meant=target, opens=lambda: access),
        store=NamedStore(opens=lambda: store),
        folder=folder,
        version=version or "",
        backup_id=backup_id,
        max_backup_age=_age(max_backup_age, "--max-backup-age") or settings.max_backup_age,
        scratch=_scratch(invocation, scratch),
        mask=mask or settings.mask,
        workload=workload or settings.workload,
        with_point_in_time=point_in_time,
        budget=_age(budget, "--budget") or settings.budget,
        policy=invocation.config.policy,
        signing_key_env=settings.signing_key_env,
        top_queries=top_queries,
        may_grow=settings.may_grow,
        keep_backup=settings.max_age,
    )
    report = _rehearse(case, datetime.now(UTC), quiet=invocation.as_json)
    print_result(_document(report, only=version is not None), "", as_json=invocation.as_json)
    return _EXIT_CODES[report.verdict]


def _age(text: str | None, option: str) -> timedelta | None:
    try:
        return parse_duration(text) if text else None
    except ValueError as exc:
        raise InvalidInputError(f"{option} {text!r}: {exc}", hint=f"write {option} 6h") from exc


def _scratch(invocation: Invocation, url: str | None) -> NamedDatabase | None:
    said = parse_url(url)[0] if url else rehearsal_server(invocation.config.rehearsal, os.environ)
    return NamedDatabase(meant=Target(database=CONTROL_DATABASE), opens=lambda: said) if said else None


def _document(report: RehearsalReport, *, only: bool) -> dict[str, object]:
    documents = [document_of(one) for one in report.certificates]
    if only and documents:
        return documents[-1]
    return {"certificates": documents, "verdict": report.verdict.value, "not_reached": list(report.not_reached)}


def _rehearse(case: RehearsalCase, started_at: datetime, *, quiet: bool) -> RehearsalReport:
    words = Words(
        title=f"Rehearsal for {case.database.database}",
        name="rehearse",
        run_name=f"rehearse for {case.database.database}",
        report=rehearsal_markdown,
        agree_beforehand="a rehearsal asks nobody",
        interrupted="the copy goes with the server that was started for it, or with the next rehearsal; run it again",
    )
    return run_here(words, partial(_load, case, started_at), quiet=quiet)


def _load(case: RehearsalCase, started_at: datetime) -> Procedure[RehearsalReport]:
    from flows.rehearse import carry_out_rehearsal  # noqa: PLC0415 - Prefect reads its settings when it is imported
    from tasks.reporting import rehearsal_path  # noqa: PLC0415 - same

    return Procedure(work=partial(carry_out_rehearsal, case, started_at), path=rehearsal_path)
