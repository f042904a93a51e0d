"""What targets had counted before and right after their migration, kept in the database that knows the rollout.

Kept there and not in the targets: nothing is written to one that is not migrated yet, and a restart finds it. About
6 kB for each look at a target, less where the server counts less; it goes when the rollout ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.types.json import Json

from squizzle.postgres.access import Connection
from squizzle.postgres.own_scripts import OwnTables
from squizzle.postgres.own_tables import ensure_tables, find_tables
from squizzle.postgres.translation import translate_error
from squizzle.rollout.counters import Counters, counted_between

_TABLES = OwnTables(package="squizzle.rollout", script="baseline_table")
_NEEDS = "CREATE on the database; or where squizzle.rollout_baseline is there already, all rights on its rows"


class Moment(StrEnum):
    """When counters were read."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, kw_only=True, slots=True)
class Noted:
    """One look at one target.

    Attributes:
        counters: What its server had counted; None when it could not say so.
        firing: Names of the alert rules that fired then.
    """

    counters: Counters | None = None
    firing: frozenset[str] = frozenset()

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        counters = self.counters.kept().to_json() if self.counters else None
        return {"counters": counters, "firing": sorted(self.firing)}

    @staticmethod
    def from_json(value: Mapping[str, Any] | None) -> Noted | None:
        """As it was kept; None when it was not."""
        if value is None:
            return None
        counters = value["counters"]
        return Noted(counters=Counters.from_json(counters) if counters else None, firing=frozenset(value["firing"]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """What is known of one target's time before its migration.

    Attributes:
        earlier: When the rollout began, or an earlier stage; None when that was not before `before`.
        before: Right before it was touched; None when nobody looked then.
        after: Right after its migration; None when nobody looked then, as when a run was killed in between.
    """

    before: Noted | None = None
    after: Noted | None = None
    earlier: Noted | None = None

    @property
    def counters(self) -> Counters | None:
        """Those from before the migration."""
        return self.before.counters if self.before else None

    @property
    def recent(self) -> Counters | None:
        """What was counted between the first look and the migration; None when there was one look only."""
        if self.earlier is None or self.earlier.counters is None or self.counters is None:
            return None
        return counted_between(self.earlier.counters, self.counters)

    @property
    def begin(self) -> Counters | None:
        """Those from which what came afterwards is counted: what waited for the migration itself is not its harm."""
        return (self.after.counters if self.after else None) or self.counters

    @property
    def firing(self) -> frozenset[str]:
        """The alert rules that fired before."""
        return self.before.firing if self.before else frozenset()


NO_BASELINE = Baseline()

_COLUMNS: Mapping[Moment, LiteralString] = {Moment.BEFORE: "before", Moment.AFTER: "after"}
# Of a target that is about to be migrated the newest look counts; of one to compare with, the first.
_SAVE: Mapping[tuple[Moment, bool], LiteralString] = {
    (Moment.BEFORE, True): "before = excluded.before, after = NULL, noted_at = excluded.noted_at",
    (Moment.AFTER, True): "after = excluded.after",
    (Moment.BEFORE, False): "before = coalesce(b.before, excluded.before)",
    (Moment.AFTER, False): "after = coalesce(b.after, excluded.after)",
}


def save_baselines(
    connection: Connection,
    rollout_id: str,
    stage: str,
    noted: Mapping[str, Noted],
    *,
    moment: Moment,
    renew: bool,
) -> None:
    """Keep what was seen at some targets.

    Args:
        connection: A session in the database that knows the rollout.
        rollout_id: Of the rollout.
        stage: The stage that is watched.
        noted: By the target's name.
        moment: When it was seen.
        renew: Whether it replaces what was kept before.

    Raises:
        DatabaseError: It cannot be written; nothing was changed.
    """
    query = sql.SQL(
        "INSERT INTO squizzle.rollout_baseline AS b (rollout_id, stage, target, {column}) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (rollout_id, target, stage) DO UPDATE SET "
    ).format(column=sql.Identifier(_COLUMNS[moment])) + sql.SQL(_SAVE[moment, renew])
    try:
        with connection.transaction(), connection.cursor() as cursor:
            ensure_tables(connection, _TABLES)
            rows = [(rollout_id, stage, target, Json(one.to_json())) for target, one in noted.items()]
            cursor.executemany(query, rows)
    except psycopg.Error as exc:
        raise translate_error(exc, doing="keep what targets had counted", needs=_NEEDS) from exc


def read_baselines(connection: Connection, rollout_id: str, stage: str, targets: Sequence[str]) -> dict[str, Baseline]:
    """What was kept of some targets; nothing of those of which nothing was. Nothing is changed.

    What a target had counted before the stage is that before an earlier one where the stage has nothing: the rows of
    one database go stage by stage, and it was untouched only before the first. Where it has both, what was counted in
    between is the newest that is known of its time before.

    Args:
        connection: A session in the database that knows the rollout.
        rollout_id: Of the rollout.
        stage: The stage that is watched.
        targets: Their names.

    Raises:
        DatabaseError: It cannot be read.
    """
    try:
        if _is_missing(connection):
            return {}
        rows = connection.execute(
            "SELECT target,"
            " (array_agg(before ORDER BY (stage = %(stage)s) DESC, noted_at) FILTER (WHERE before IS NOT NULL))[1],"
            " (array_agg(after) FILTER (WHERE after IS NOT NULL AND stage = %(stage)s))[1],"
            " (array_agg(before ORDER BY noted_at) FILTER (WHERE before IS NOT NULL AND stage <> %(stage)s))[1]"
            " FROM squizzle.rollout_baseline WHERE rollout_id = %(rollout)s AND target = ANY(%(targets)s)"
            " GROUP BY target",
            {"stage": stage, "rollout": rollout_id, "targets": list(targets)},
        ).fetchall()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read what targets had counted", needs=_NEEDS) from exc
    return {
        target: Baseline(
            before=Noted.from_json(before),
            after=Noted.from_json(after),
            earlier=None if earlier == before else Noted.from_json(earlier),
        )
        for target, before, after, earlier in rows
    }


def baselines_there(connection: Connection, rollout_id: str, targets: Sequence[str]) -> frozenset[str]:
    """Those of some targets of which something was kept, at whatever stage. Nothing is changed.

    Raises:
        DatabaseError: It cannot be read.
    """
    try:
        if _is_missing(connection):
            return frozenset()
        query = "SELECT target FROM squizzle.rollout_baseline WHERE rollout_id = %s AND target = ANY(%s)"
        return frozenset(name for (name,) in connection.execute(query, (rollout_id, list(targets))))
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read what targets had counted", needs=_NEEDS) from exc


def forget_baselines(connection: Connection) -> None:
    """Remove what was kept for rollouts that have ended.

    Raises:
        DatabaseError: It cannot be removed.
    """
    try:
        if not _is_missing(connection):
            connection.execute(
                "DELETE FROM squizzle.rollout_baseline b WHERE NOT EXISTS"
                " (SELECT FROM squizzle.rollout r WHERE r.id = b.rollout_id AND r.ended_at IS NULL)"
            )
    except psycopg.Error as exc:
        raise translate_error(exc, doing="remove what targets had counted", needs=_NEEDS) from exc


def _is_missing(connection: Connection) -> bool:
    return find_tables(connection, _TABLES) is None
