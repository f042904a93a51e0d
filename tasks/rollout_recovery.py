"""What a rollout has to know before it recovers a target: where targets stand, what certificates prove."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from squizzle.migrations.settling import note_undone
from squizzle.postgres.access import connect
from squizzle.recovery.recovery import recovery_names
from squizzle.recovery.ways import RecoveryPolicy
from squizzle.rehearsal.records import Certificate
from squizzle.rollout.orders import RolloutOrder
from squizzle.rollout.reconciling import Reconciliation
from squizzle.rollout.records import FleetTarget
from squizzle.rollout.standing import Standing, Stands, look_where_they_stand
from squizzle.rollout.under_way import certificates_of
from squizzle.settings.fleets import resolve_server
from tasks.recovery_case import RecoveryCase
from tasks.rollout_case import RolloutCase, Running, Survey
from tasks.sources import NamedDatabase
from tasks.steps import step


def _stand(standings: tuple[Standing, ...]) -> str:
    counts = {word: sum(one.stands is word for one in standings) for word in Stands}
    return ", ".join(f"{count:,} {word.value}" for word, count in counts.items() if count)


@step("See where targets stand", timeout=timedelta(hours=2), detail=_stand)
def look_where(case: RolloutCase, order: RolloutOrder, targets: Sequence[FleetTarget]) -> tuple[Standing, ...]:
    """What each has, and what of that the rollout brought, by its history. Nothing is changed."""
    return look_where_they_stand(order, targets, deadline=case.fleet.deadline, environ=case.environ)


def _named(found: Mapping[str, Certificate]) -> str:
    return ", ".join(f"{version}: {one.id}" for version, one in found.items()) or "no certificate"


@step("See which way back is proven", timeout=timedelta(minutes=30), detail=_named)
def find_certificates(case: RolloutCase, standings: tuple[Standing, ...]) -> dict[str, Certificate]:
    """The certificates by which versions came to targets, as the histories name them."""
    return certificates_of(case.store.open() if case.store else None, standings)


def recovery_case(
    run: Running, standing: Standing, started_at: datetime, *, policy: RecoveryPolicy, dry_run: bool
) -> RecoveryCase:
    """The recovery of one target to what it was before the rollout came; a store is named.

    Args:
        run: The rollout.
        standing: Where the target stands.
        started_at: When the recovery begins.
        policy: What it may do.
        dry_run: Only find out what there is.
    """
    case, target = run.case, standing.target
    if case.store is None:
        raise AssertionError("a store was asked for before")
    access, _ = resolve_server(run.started.order.fleet.servers[target.server], environ=case.environ)
    return RecoveryCase(
        database=NamedDatabase(meant=run.started.order.target(target), opens=lambda: access),
        store=case.store,
        folders=(case.folder,),
        names=recovery_names(target.database, started_at),
        policy=policy,
        # It has what was to be taken back, also where nothing of the backup is missing.
        insist=True,
        # The backup is the newest from before; what was made since is no way back.
        since=standing.began_at,
        by_migration=True,
        dry_run=dry_run,
        patience=case.approval_timeout,
    )


@step("Write down that it was taken back", timeout=timedelta(minutes=10))
def write_down_undone(case: RolloutCase, order: RolloutOrder, standing: Standing) -> str:
    """What the rollout brought is no longer there, says the history, after the change log took back what it did."""
    target = order.target(standing.target)
    access, _ = resolve_server(order.fleet.servers[standing.target.server], environ=case.environ)
    with connect(access, target.database, purpose="rollout") as connection:
        return note_undone(
            connection,
            target,
            order.migrations,
            standing.brought,
            policy=order.policy,
            books=order.books,
            approvals=order.approvals("", is_begun=True),
        )


def _state(found: Reconciliation) -> str:
    return found.state.value


@step("See how to go on and back", timeout=timedelta(hours=2), detail=_state)
def reconcile(run: Running, survey: Survey) -> Reconciliation:
    """Where every target of the rollout stands, and what it takes to go on or back, by what was measured."""
    case, started = run.case, run.started
    targets = [one for one in survey.targets if one.name in started.plan.stage_of]
    standings = look_where_they_stand(started.order, targets, deadline=case.fleet.deadline, environ=case.environ)
    return Reconciliation(
        fleet=case.fleet.name,
        row=started.row,
        versions=started.order.versions,
        standings=standings,
        servers=started.order.fleet.servers,
        certificates={**certificates_of(case.store.open() if case.store else None, standings), **started.certificates},
        concurrency=case.fleet.concurrency,
    )
