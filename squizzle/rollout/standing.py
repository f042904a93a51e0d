"""Where each target of a rollout stands, by its history: what it has, what of that the rollout brought, what broke off.

Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

import psycopg
from psycopg import sql

from squizzle.errors import SquizzleError
from squizzle.migrations.history import History, find_history, read_history
from squizzle.migrations.records import Direction, RowState
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import check_identity, read_identity
from squizzle.postgres.translation import translate_error
from squizzle.rollout.bounded import each_bounded
from squizzle.rollout.deadlines import Deadlines
from squizzle.rollout.orders import RolloutOrder
from squizzle.rollout.records import FleetTarget
from squizzle.settings.fleets import resolve_server

_TIMES = """
    SELECT direction, sum(duration_ms)::int FROM {} WHERE success AND rollout_id = %s GROUP BY direction
"""


class Stands(StrEnum):
    """Where a target stands in a rollout, in a word.

    `has all`: every version is there. `has none`: none is. `has a part`: some are. `half done`: a script, forwards or
    backwards, left something and did not come to its end. `failed`: the last run of a version failed and left what was
    there before. `not seen`: it did not answer, or is not who it should be.
    """

    ALL = "has all"
    NONE = "has none"
    PART = "has a part"
    HALF_DONE = "half done"
    FAILED = "failed"
    NOT_SEEN = "not seen"


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where one target stands.

    Attributes:
        target: Which.
        stands: In a word.
        version: Its highest version; None on an empty one, or when that is not known.
        lacking: The versions of the rollout that it lacks, oldest first.
        brought: The versions that the rollout brought, whole or in part, newest first: what going back takes back.
        by_others: The versions of the rollout that it has from somebody else; they stay.
        broken: The versions whose last run failed or has not ended.
        going_back: Whether the last of these was on its way back.
        error: What that run said; of a target that was not seen, why.
        certificates: The ids of the certificates by which it got what was brought, by version.
        began_at: When the rollout first worked here, by the server's clock; None when it did not.
        forth: How long the rollout's scripts took here; None when none came to its end.
        back: How long it took to take them back; None when that was not done.
        partly: Versions of which a share of the rows is done, as was meant, each with how far it is, in a clause.
    """

    target: FleetTarget
    stands: Stands
    version: str | None = None
    lacking: tuple[str, ...] = ()
    brought: tuple[str, ...] = ()
    by_others: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    going_back: bool = False
    error: str = ""
    certificates: Mapping[str, str] = field(default_factory=dict)
    began_at: datetime | None = None
    forth: timedelta | None = None
    back: timedelta | None = None
    partly: tuple[str, ...] = ()


def look_where_they_stand(
    order: RolloutOrder, targets: Sequence[FleetTarget], *, deadline: timedelta, environ: Mapping[str, str]
) -> tuple[Standing, ...]:
    """Read the history of each target, some at the same time; what cannot be read is said in its standing.

    Args:
        order: Which versions, and whose rows are the rollout's.
        targets: Whom to look at.
        deadline: How long one target may take to answer.
        environ: Where secrets are.

    Returns:
        In the order of `targets`.

    Raises:
        InvalidInputError: A variable is not set.
    """
    servers = {target.server for target in targets}
    accesses = {name: resolve_server(order.fleet.servers[name], environ=environ)[0] for name in servers}
    seen: dict[str, Standing] = {}
    with Deadlines() as deadlines:

        def look(target: FleetTarget) -> Standing:
            return _look(order, target, accesses[target.server], deadlines, deadline.total_seconds())

        for target, standing in each_bounded(
            targets, look, place=lambda one: one.server, concurrency=order.concurrency, per_place=order.per_server
        ):
            seen[target.name] = standing
    return tuple(seen[target.name] for target in targets)


def _look(
    order: RolloutOrder, target: FleetTarget, access: ServerAccess, deadlines: Deadlines, deadline_s: float
) -> Standing:
    try:
        connection = connect(access, target.database, purpose="fleet", read_only=True)
        try:
            with deadlines.limit(connection, deadline_s):
                check_identity(read_identity(connection), order.target(target).expected, database=target.database)
                history = read_history(connection, target.schema)
                forth, back = _times(connection, target.schema, order.rollout_id)
        finally:
            connection.close()
    except (SquizzleError, psycopg.Error) as exc:
        error = exc if isinstance(exc, SquizzleError) else translate_error(exc, doing=f"look at {target.name}")
        return Standing(target=target, stands=Stands.NOT_SEEN, error=error.message)
    return standing_of(order, target, history, forth=forth, back=back)


def _times(connection: Connection, schema: str, rollout_id: str) -> tuple[timedelta | None, timedelta | None]:
    """What the rollout's scripts took, forwards and backwards."""
    history = find_history(connection, schema) if rollout_id else None
    if history is None:
        return None, None
    rows = connection.execute(sql.SQL(_TIMES).format(history), (rollout_id,)).fetchall()
    took = {direction: timedelta(milliseconds=total) for direction, total in rows if total is not None}
    return took.get(Direction.APPLY.value), took.get(Direction.ROLLBACK.value)


def standing_of(
    order: RolloutOrder,
    target: FleetTarget,
    history: History,
    *,
    forth: timedelta | None = None,
    back: timedelta | None = None,
) -> Standing:
    """What a history says. Pure."""
    wanted = set(order.versions)
    brought, lacking, applied = order.brought(history), order.lacking(history), history.applied()
    bad = [
        row for state in (RowState.FAILED, RowState.RUNNING) for row in history.in_state(state) if row.version in wanted
    ]
    last = max(bad, key=lambda row: row.id, default=None)
    halves = {**history.half_done(), **history.half_rolled_back()}
    partly = {version: row for version, row in halves.items() if row.is_partly and version in wanted}
    mine = [row for row in history.rows if order.rollout_id and row.rollout_id == order.rollout_id]
    return Standing(
        target=target,
        stands=_word(
            is_half=bool(wanted & halves.keys() - partly.keys()) or any(row.success is None for row in bad),
            is_bad=bool(bad),
            has_some=bool(wanted & (applied.keys() | partly.keys())),
            lacks_some=bool(lacking),
        ),
        version=history.current,
        lacking=lacking,
        brought=brought,
        by_others=tuple(one for one in order.versions if one in applied and one not in brought),
        broken=tuple(row.version for row in bad),
        going_back=last is not None and last.direction is Direction.ROLLBACK,
        error=((last.error or "it has not ended, or its process died") if last else ""),
        certificates={row.version: row.certificate for row in mine if row.certificate and row.version in brought},
        began_at=min((row.applied_at for row in mine), default=None),
        forth=forth,
        back=back,
        partly=tuple(f"{version} {row.batch_progress.staged}" for version, row in partly.items() if row.batch_progress),
    )


def _word(*, is_half: bool, is_bad: bool, has_some: bool, lacks_some: bool) -> Stands:
    if is_half:
        return Stands.HALF_DONE
    if is_bad:
        return Stands.FAILED
    if not lacks_some:
        return Stands.ALL
    return Stands.PART if has_some else Stands.NONE
