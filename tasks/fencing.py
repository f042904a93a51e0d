"""Shutting a database and whoever writes to it, and opening all of it again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from prefect.runtime import flow_run

from squizzle.recovery.fence import control_session, server_time
from squizzle.recovery.fences.order import look_at_all, make_fences, put_up_all, take_down_all
from squizzle.recovery.fences.records import FenceStatus, Hold
from tasks.sources import DatabaseSource, FenceSource
from tasks.steps import run_name, step


def _told(statuses: tuple[FenceStatus, ...]) -> str:
    return "; ".join(f"{one.name} {one.state.value}{f' ({one.detail})' if one.detail else ''}" for one in statuses)


@step("Fence applications and database", timeout=timedelta(hours=1), detail=_told)
def put_up_fences(
    database: DatabaseSource, applications: Sequence[FenceSource], *, holder: str, reason: str
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
    with control_session(database.access(), purpose="fence") as control:
        # By the server's clock: a later run asks what was done since, and may be on another machine.
        at = server_time(control)
        hold = Hold(holder=holder, by=run_name(), reason=reason, run=str(flow_run.id or ""), at=at)
        return put_up_all(make_fences(control, database.database, [one.settings() for one in applications]), hold)


@step("Unfence database and applications", timeout=timedelta(hours=1), detail=_told)
def take_down_fences(
    database: DatabaseSource, applications: Sequence[FenceSource], *, holder: str
) -> tuple[FenceStatus, ...]:
    """Let go of this recovery's hold, the database first; what nobody else holds is as it was before.

    Raises:
        FencingFailedError: Some are not open; all were tried, and are tried again when that may help.
    """
    with control_session(database.access(), purpose="unfence") as control:
        fences = make_fences(control, database.database, [one.settings() for one in applications])
        return take_down_all(fences, holder)


@step("See what is shut", timeout=timedelta(minutes=10), detail=_told)
def look_at_fences(database: DatabaseSource, applications: Sequence[FenceSource]) -> tuple[FenceStatus, ...]:
    """What each of them is like now, the database last; one that cannot be asked is `unknown`. Nothing is changed."""
    with control_session(database.access(), purpose="fence") as control:
        return look_at_all(make_fences(control, database.database, [one.settings() for one in applications]))
