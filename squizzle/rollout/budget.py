"""What versions took on a target, beside what their rehearsal took. Nothing is changed.

The history of a target knows how long each script took, how long it waited for locks, and what it locked; how long each
lock was held it does not know, but never longer than the script took.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from psycopg import sql

from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import RelationName
from squizzle.migrations.history import find_history
from squizzle.postgres.access import Connection
from squizzle.rehearsal.records import ScriptTrace, TracedStatement
from squizzle.rollout.soak import BudgetUse


@dataclass(frozen=True, kw_only=True, slots=True)
class RehearsedVersion:
    """What a rehearsal measured of one version.

    Attributes:
        trace: What its script did.
        schema: The schema that it worked in; a target may have another one.
        rows: Rows of the tables of its copy; empty where that is not known any more.
    """

    trace: ScriptTrace
    schema: str
    rows: Mapping[RelationName, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class AppliedVersion:
    """What one version took on a target, as its history says.

    Attributes:
        version: Which.
        duration: From its first statement to its commit.
        lock_wait: How much of that it was seen waiting for locks.
        locks: What it locked, by the relation's name with its schema; None when nobody looked.
    """

    version: str
    duration: timedelta
    lock_wait: timedelta
    locks: Mapping[str, LockMode] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownRelation:
    """A relation of a target.

    Attributes:
        rows: As the planner has them; None when it was never analysed.
        root: The table that it is a partition of, with its schema; None when it is none.
    """

    rows: float | None = None
    root: str | None = None


def read_budget(
    connection: Connection, schema: str, rollout_id: str, rehearsed: Mapping[str, RehearsedVersion]
) -> tuple[BudgetUse, ...]:
    """What the versions of a rollout took here, beside what was rehearsed.

    Args:
        connection: A session in the target.
        schema: Where its history is.
        rollout_id: Of the rollout; what others brought is not looked at.
        rehearsed: By version; those that were not rehearsed are not compared.

    Raises:
        psycopg.Error: No right to read the history, or the session was lost.
    """
    history = find_history(connection, schema) if rehearsed else None
    if history is None:
        return ()
    applied = _read_applied(connection, history, rollout_id, tuple(rehearsed))
    names = {name for one in applied for name in one.locks or ()}
    for one in applied:
        names |= {_here(relation, rehearsed[one.version], schema) for relation in rehearsed[one.version].rows}
    known = _read_relations(connection, names)
    return tuple(use for one in applied for use in compare_budget(one, rehearsed[one.version], known, schema=schema))


def _read_applied(
    connection: Connection, history: sql.Composable, rollout_id: str, versions: Sequence[str]
) -> tuple[AppliedVersion, ...]:
    query = sql.SQL(
        "SELECT DISTINCT ON (version) version, duration_ms, coalesce(lock_wait_ms, 0),"
        " observed_locks -> 'locks' FROM {}"
        " WHERE rollout_id = %s AND version = ANY(%s) AND direction = 'apply' AND success AND duration_ms IS NOT NULL"
        " ORDER BY version, id DESC"
    ).format(history)
    return tuple(
        AppliedVersion(
            version=version,
            duration=timedelta(milliseconds=duration_ms),
            lock_wait=timedelta(milliseconds=wait_ms),
            locks=None if locks is None else {one["relation"]: LockMode(one["mode"]) for one in locks},
        )
        for version, duration_ms, wait_ms, locks in connection.execute(query, (rollout_id, list(versions)))
    )


def _read_relations(connection: Connection, names: Collection[str]) -> dict[str, KnownRelation]:
    if not names:
        return {}
    rows = connection.execute(
        "SELECT n.nspname || '.' || c.relname, nullif(c.reltuples, -1), rn.nspname || '.' || r.relname"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " LEFT JOIN pg_class r ON c.relispartition AND r.oid = pg_partition_root(c.oid)"
        " LEFT JOIN pg_namespace rn ON rn.oid = r.relnamespace"
        # By the name alone first: that is what has an index.
        " WHERE c.relname = ANY(%s) AND n.nspname || '.' || c.relname = ANY(%s)",
        ([name.partition(".")[2] for name in names], list(names)),
    )
    return {name: KnownRelation(rows=tuples, root=root) for name, tuples, root in rows}


def compare_budget(
    applied: AppliedVersion, rehearsed: RehearsedVersion, known: Mapping[str, KnownRelation], *, schema: str
) -> Iterator[BudgetUse]:
    """What one version took beside its rehearsal. Pure.

    A statement that read or wrote rows may take as many times as long as its biggest table has more rows here than
    there; on a smaller one it may take as long as there.

    Args:
        applied: What it took.
        rehearsed: What it took in its rehearsal.
        known: The target's relations, by name with schema.
        schema: That the target works in.
    """
    ratios = {
        relation: max(1.0, here.rows / then)
        for relation, then in rehearsed.rows.items()
        if then > 0 and (here := known.get(_here(relation, rehearsed, schema), KnownRelation())).rows
    }
    trace = rehearsed.trace
    more = sum(((_growth(one, ratios) - 1) * one.duration for one in trace.statements), timedelta())
    allowed = trace.duration + more
    yield BudgetUse(
        what=f"the script of {applied.version}, without waiting for locks,",
        rehearsed=allowed,
        observed=max(timedelta(), applied.duration - applied.lock_wait),
        scaled=allowed / trace.duration if trace.duration else 1.0,
    )
    yield BudgetUse(
        what=f"waiting for locks in {applied.version}",
        rehearsed=timedelta(),
        observed=applied.lock_wait,
        is_wait=True,
    )
    for name, mode in (applied.locks or {}).items():
        strength = _rehearsed_strength(name, rehearsed, known, schema)
        if mode.strength > strength:
            yield BudgetUse(
                what=f"{mode.value} on {name}, held by {applied.version} for no longer than it",
                rehearsed=None,
                observed=applied.duration,
            )


def _growth(statement: TracedStatement, ratios: Mapping[RelationName, float]) -> float:
    if not (statement.rewrites or statement.rows_scanned or statement.rows_changed):
        return 1.0
    touched = (*statement.rewrites, *(lock.relation for lock in statement.locks))
    return max((ratios[one] for one in touched if one in ratios), default=1.0)


def _rehearsed_strength(name: str, rehearsed: RehearsedVersion, known: Mapping[str, KnownRelation], schema: str) -> int:
    """Of the strongest lock on that relation, or on the table that it is a partition of; 0 for none."""
    root = known.get(name, KnownRelation()).root
    modes = (
        lock.mode.strength for lock in rehearsed.trace.locks if _here(lock.relation, rehearsed, schema) in {name, root}
    )
    return max(modes, default=0)


def _here(relation: RelationName, rehearsed: RehearsedVersion, schema: str) -> str:
    """What a relation of the copy is called on the target."""
    place = schema if relation.schema in {"", rehearsed.schema} else relation.schema
    return f"{place}.{relation.name}"
