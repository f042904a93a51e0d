"""Which rollout of a fleet is under way, where its targets stand, and what proves the way back. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from squizzle.backups.store import BackupStore
from squizzle.errors import DatabaseError
from squizzle.migrations.records import Migration
from squizzle.postgres.access import ServerAccess, connect
from squizzle.rehearsal.certificate_store import read_certificates
from squizzle.rehearsal.records import Certificate
from squizzle.rollout.ledger import RolloutRow, find_rollout
from squizzle.rollout.orders import RolloutOrder
from squizzle.rollout.planning import control_target
from squizzle.rollout.reconciling import Reconciliation
from squizzle.rollout.records import Fleet, TargetReport, TargetState
from squizzle.rollout.standing import Standing, look_where_they_stand
from squizzle.settings.fleet_labels import label_words
from squizzle.settings.fleets import FleetSettings, resolve_server

_NOTHING_WRITTEN = (
    "no rollout is written down, so nothing is known of stages, and nothing is a rollout's to take back: where a target"
    " has too much, `squizzle rollback VERSION` there takes it back"
)


def reconcile_fleet(
    settings: FleetSettings,
    fleet: Fleet,
    reports: Sequence[TargetReport],
    migrations: Sequence[Migration],
    *,
    control: tuple[ServerAccess, str] | None,
    store: BackupStore | None,
    environ: Mapping[str, str],
) -> Reconciliation:
    """Where every target of a fleet stands, and what it takes to go on and back.

    Args:
        settings: The fleet's.
        fleet: As `discover_fleet` found it.
        reports: As `survey_fleet` gave them; only those who take part.
        migrations: What is on disk.
        control: Where rollouts are written down; None where a rollout itself would look.
        store: Where certificates are, for measured times; None for nowhere.
        environ: Where secrets are.

    Raises:
        InvalidInputError: A variable is not set.
        ToolError: The store cannot be read.
    """
    row, remarks = _find_under_way(fleet, reports, control, environ)
    if row is not None and row.only:
        # The others are in another rollout, or in none.
        reports = [report for report in reports if set(row.only) <= set(report.target.labels)]
        remarks = (*remarks, f"the rollout is for targets with {label_words(row.only)} only; others are not shown")
    lacking = {version for report in reports for version in report.pending}
    versions = tuple(one.version for one in row.versions) if row else _on_disk(migrations, lacking)
    order = RolloutOrder(
        rollout_id=row.id if row else "",
        fleet=fleet,
        migrations=tuple(migrations),
        versions=versions,
        concurrency=settings.concurrency,
        per_server=settings.per_server,
    )
    targets = [report.target for report in reports]
    standings = look_where_they_stand(order, targets, deadline=settings.deadline, environ=environ)
    return Reconciliation(
        fleet=fleet.name,
        row=row,
        versions=versions,
        standings=standings,
        servers=fleet.servers,
        certificates=certificates_of(store, standings),
        concurrency=settings.concurrency,
        remarks=(
            *remarks,
            *fleet.remarks,
            *(f"server {one.server} could not be asked for its targets: {one.why}" for one in fleet.unreachable),
        ),
    )


def _on_disk(migrations: Iterable[Migration], wanted: set[str]) -> tuple[str, ...]:
    return tuple(one.version for one in migrations if one.version in wanted)


def _find_under_way(
    fleet: Fleet,
    reports: Sequence[TargetReport],
    control: tuple[ServerAccess, str] | None,
    environ: Mapping[str, str],
) -> tuple[RolloutRow | None, tuple[str, ...]]:
    """The rollout that has not ended, and what a person should know about that."""
    if control is None:
        ready = [report.target for report in reports if report.state is TargetState.READY]
        if not ready:
            return None, ("no target could be asked which rollout is under way",)
        first = control_target(ready, fleet=fleet.name)
        control = resolve_server(fleet.servers[first.server], environ=environ)[0], first.database
    access, database = control
    try:
        with connect(access, database, purpose="rollout", read_only=True) as connection:
            row = find_rollout(connection, fleet.name)
    except DatabaseError as exc:
        return None, (f"the rollout that is under way could not be read: {exc.message}",)
    return row, () if row else (_NOTHING_WRITTEN,)


def certificates_of(store: BackupStore | None, standings: Iterable[Standing]) -> dict[str, Certificate]:
    """The certificates by which versions came to targets, as the histories name them; the newest of each version.

    Raises:
        ToolError: The store cannot be read.
    """
    wanted = {found for one in standings for found in one.certificates.items()}
    if store is None or not wanted:
        return {}
    found: dict[str, Certificate] = {}
    for one in read_certificates(store).found:
        if (one.version, one.id) in wanted:
            found.setdefault(one.version, one)
    return found
