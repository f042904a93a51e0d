"""The verb that says what is damaged in a database, and which ways back there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

import click

from squizzle.backups.rds.access import RdsAccess
from squizzle.backups.store import BackupStore
from squizzle.backups.wal.open_archive import archive_of
from squizzle.cli.backups import store_of
from squizzle.cli.names import backup_ids
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result, say
from squizzle.cli.points import point_in_time
from squizzle.cli.rds import instance_of
from squizzle.durations import parse_duration
from squizzle.errors import CloudError, InvalidInputError, ToolError
from squizzle.frames.forecast import drilled_in
from squizzle.migrations.records import Migration
from squizzle.postgres.access import ServerAccess
from squizzle.postgres.identity import Target, check_identity, read_identity
from squizzle.recovery.assess import assess_damage, read_activity
from squizzle.recovery.decide import decide_recovery
from squizzle.recovery.evidence import Evidence
from squizzle.recovery.fence import control_session, session_through_fence
from squizzle.recovery.fences.order import look_at_all, make_fences
from squizzle.recovery.fences.records import are_shut
from squizzle.recovery.means import find_backups, find_means, newest_comparable, system_identifier
from squizzle.recovery.point_in_time.means import find_point
from squizzle.recovery.recovery import RecoveryReport, judge_recovery
from squizzle.recovery.ways import CloudMeans, DrilledWay, Means, RecoveryPolicy
from squizzle.reports.recovery import recovery_json, recovery_markdown


@dataclass(frozen=True, kw_only=True, slots=True)
class DamageOptions:
    """What the options of `assess` and `recover` say.

    Attributes:
        address: Of the store; None for that of squizzle.toml.
        backup_id: The backup to compare with; empty for the newest from before the damage.
        since: When the damage began; None where nobody knows.
        insist: Somebody knows that there is damage.
        max_rpo: The most that may be lost; None for any.
        max_rto: The longest that it may take; None for any.
    """

    address: str | None
    backup_id: str
    since: datetime | None
    insist: bool
    max_rpo: timedelta | None
    max_rto: timedelta | None


_OPTIONS = (
    click.option("--store", "address", metavar="URL", help="file:///folder or s3://…; without it: [backups] store."),
    click.option(
        "--backup",
        "backup_id",
        default="",
        metavar="ID",
        help="Compare with this one; else the newest.",
        shell_complete=backup_ids,
    ),
    click.option(
        "--damaged-since", metavar="TIME", help="ISO time, or an age such as 2h: what was saved since is not used."
    ),
    click.option("--damaged", "insist", is_flag=True, help="Rows are wrong, though none may be missing."),
    click.option("--lose-at-most", metavar="AGE", help="No way back that loses what was written for longer."),
    click.option("--take-at-most", metavar="AGE", help="No way back that is known to take longer."),
)


def damage_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options about damage and policy; the verb gets them as one `DamageOptions`."""

    @wraps(verb)
    def with_damage(
        *arguments: Any,
        address: str | None,
        backup_id: str,
        damaged_since: str | None,
        insist: bool,
        lose_at_most: str | None,
        take_at_most: str | None,
        **own: Any,
    ) -> Any:
        options = DamageOptions(
            address=address,
            backup_id=backup_id,
            since=point_in_time(damaged_since, datetime.now(UTC)) if damaged_since else None,
            insist=insist,
            max_rpo=_age(lose_at_most, "--lose-at-most"),
            max_rto=_age(take_at_most, "--take-at-most"),
        )
        return verb(*arguments, options, **own)

    for option in reversed(_OPTIONS):
        with_damage = option(with_damage)
    return with_damage


def _age(text: str | None, option: str) -> timedelta | None:
    try:
        return parse_duration(text) if text else None
    except ValueError as exc:
        raise InvalidInputError(f"{option} {text!r}: {exc}", hint=f"write {option} 30m") from exc


@click.command()
@common_options
@damage_options
def assess(invocation: Invocation, options: DamageOptions) -> None:
    """Say what is damaged, compared with a backup, and which ways back there are. Nothing is changed or fenced.

    Every table is read and compared with the fingerprints of the newest backup. Each way back comes with what it takes,
    as it was measured, with what it loses, and with the reason why it is possible or not. Exit code 0, damage or not.

    \b
    Examples:
      squizzle assess --env production --store s3://backups/shop
      squizzle assess --env production --damaged-since 40m --lose-at-most 2h --json
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    access, target = invocation.target()
    store = store_of(options.address, invocation.config)
    migrations = invocation.migrations() if has_migrations(invocation) else None
    started_at = datetime.now(UTC)
    evidence = look_for_damage(access, target, store, migrations, options, instance_of(invocation, access))
    outcome, reasons = judge_recovery(evidence, dry_run=True)
    report = RecoveryReport(
        database=target.database,
        environment=target.environment or "",
        outcome=outcome,
        reasons=reasons,
        fenced=are_shut(evidence.fences, is_sure=False),
        started_at=started_at,
        steps=(),
        evidence=evidence,
    )
    print_result(recovery_json(report), recovery_markdown(report), as_json=invocation.as_json)


def has_migrations(invocation: Invocation) -> bool:
    """Whether there is a migrations folder for down scripts; that there is none is said, unless one was named."""
    if invocation.migrations_folder is None and not invocation.folder.is_dir():
        say(f"note: there is no folder {invocation.folder}, so no down scripts; --migrations names one")
        return False
    return True


def _cloud(instance: tuple[str, RdsAccess] | None, means: Means, struck: datetime | None) -> tuple[CloudMeans, ...]:
    if instance is None:
        return ()
    from squizzle.backups.rds.client import open_rds  # noqa: PLC0415 - boto3 costs 200 ms
    from squizzle.backups.rds.service import Waiting  # noqa: PLC0415 - same
    from squizzle.recovery.rds.means import find_cloud  # noqa: PLC0415 - same

    name, access = instance
    # Whoever looks waits at the terminal; a recovery is more patient.
    soon = Waiting(deadline=timedelta(minutes=1), outage=timedelta(seconds=20))
    try:
        return find_cloud(open_rds(access).rds, name, means.backups, struck=struck, waiting=soon)
    except CloudError as exc:
        say(f"note: what RDS keeps of {name} is not known: {exc.message}; {exc.hint}")
        return ()


def _drilled(store: BackupStore) -> tuple[DrilledWay, ...]:
    try:
        return drilled_in(store)
    except ToolError as exc:
        say(f"note: what drills took is not known: {exc.message}; {exc.hint}")
        return ()


def look_for_damage(
    access: ServerAccess,
    target: Target,
    store: BackupStore,
    migrations: tuple[Migration, ...] | None,
    options: DamageOptions,
    instance: tuple[str, RdsAccess] | None,
) -> Evidence:
    """What is damaged, what can be done, and whether clients are kept out of the database. Nothing is changed.

    Raises:
        SquizzleError: There is nothing to compare with, or a server or the store does not answer.
    """
    with control_session(access, purpose="assess") as control:
        fences = look_at_all(make_fences(control, target.database, ()))
        activity = read_activity(control, target.database)
        with session_through_fence(access, target.database, purpose="assess") as connection:
            check_identity(read_identity(connection), target.expected, database=target.database)
            if options.backup_id:
                backup = store.read(options.backup_id)
            else:
                known = find_backups(store, target.database, system_identifier=system_identifier(control))
                backup = newest_comparable(store, known, before=options.since)
            assessment = assess_damage(
                connection,
                backup,
                schema=target.schema,
                known_versions=None if migrations is None else frozenset(one.version for one in migrations),
                activity=activity,
                since=options.since,
            )
            means = find_means(control, connection, store, schema=target.schema, migrations=migrations or ())
        struck, identifier = assessment.disaster_at, system_identifier(control)
        point = find_point(store, archive_of(store), struck=struck, system_identifier=identifier)
        means = replace(means, point=point, cloud=_cloud(instance, means, struck), drilled=_drilled(store))
    policy = RecoveryPolicy(max_rpo=options.max_rpo, max_rto=options.max_rto)
    plan = decide_recovery(assessment, means, now=datetime.now(UTC), policy=policy, insist=options.insist)
    return Evidence(backup=backup, assessment=assessment, plan=plan, fences=fences)
