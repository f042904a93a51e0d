"""Shutting a database and whoever writes to it, and opening all of it again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from prefect.runtime import flow_run

from blocks import CommandFence, KubernetesApplication, PgBouncer, PostgresDatabase
from squizzle.recovery.fence import control_session
from squizzle.recovery.fences.order import make_fences, put_up_all, take_down_all
from squizzle.recovery.fences.records import FenceStatus, Hold
from tasks.steps import now, run_name, step

Application = KubernetesApplication | PgBouncer | CommandFence


def _told(statuses: tuple[FenceStatus, ...]) -> str:
    return "; ".join(f"{one.name} {one.state.value}{f' ({one.detail})' if one.detail else ''}" for one in statuses)


@step("Fence applications and database", timeout=timedelta(hours=1), detail=_told)
def put_up_fences(
    database: PostgresDatabase, applications: Sequence[Application], *, holder: str, reason: str
) -> tuple[FenceStatus, ...]:
    """Shut the applications in this order, then the database; everything is tried, whatever fails before.

    Args:
        database: The database to fence.
        applications: What writes to it.
        holder: The name of this recovery; another run of the same recovery gives the same, and finds its own hold.
        reason: For whoever wonders later.

    Raises:
        FencingFailedError: Some are not shut; retried when that may help, since every fence may be repeated.
    """
    hold = Hold(holder=holder, by=run_name(), reason=reason, run=str(flow_run.id or ""), at=now())
    with control_session(database.access(), purpose="fence") as control:
        return put_up_all(make_fences(control, database.database, [one.settings() for one in applications]), hold)


@step("Unfence database and applications", timeout=timedelta(hours=1), detail=_told)
def take_down_fences(
    database: PostgresDatabase, applications: Sequence[Application], *, holder: str
) -> tuple[FenceStatus, ...]:
    """Let go of this recovery's hold, the database first; what nobody else holds is as it was before.

    Raises:
        FencingFailedError: Some are not open; all were tried, and are tried again when that may help.
    """
    with control_session(database.access(), purpose="unfence") as control:
        fences = make_fences(control, database.database, [one.settings() for one in applications])
        return take_down_all(fences, holder)
