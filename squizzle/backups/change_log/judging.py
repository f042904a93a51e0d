"""Which tables can be logged, and what is missing of one that is. Pure: it asks nobody."""

from __future__ import annotations

from collections.abc import Sequence

from squizzle.backups.change_log.records import LoggedTable, TableState, Trigger

_KINDS = {
    "v": ("is a view", "log the tables below it"),
    "m": ("is a materialised view", "log the tables below it; REFRESH brings the view back"),
    "f": ("is a foreign table, whose rows are changed elsewhere", "log it on the server that holds it"),
}
_PERSISTENCE = {
    "u": ("is UNLOGGED: a crash empties it, and the log would say otherwise", "ALTER TABLE … SET LOGGED first"),
    "t": ("is temporary: it ends with its session", "log a permanent table"),
}
OUR_SCHEMAS = frozenset({"squizzle", "squizzle_log", "squizzle_salvage", "squizzle_undo"})


def why_not(table: TableState) -> tuple[str, str] | None:
    """Why a table cannot be logged, and what to do about it; None when it can."""
    if table.kind in _KINDS:
        return _KINDS[table.kind]
    if table.persistence in _PERSISTENCE:
        return _PERSISTENCE[table.persistence]
    return _why_not_owner(table) or _why_not_key(table) or _why_not_family(table)


def _why_not_owner(table: TableState) -> tuple[str, str] | None:
    if table.schema in OUR_SCHEMAS or table.name.startswith("squizzle_history"):
        return "is Squizzle's own", "log a table of the application's"
    if table.schema.startswith("pg_") or table.schema == "information_schema":
        return "is PostgreSQL's own", "log a table of the application's"
    if not table.is_ours:
        return f"belongs to {table.owner}, and only its owner may put triggers on it", f"connect as {table.owner}"
    return None


def _why_not_key(table: TableState) -> tuple[str, str] | None:
    if table.key_columns:
        return None
    return (
        "has no primary key, so a logged row cannot be found again among its like",
        "ALTER TABLE … ADD PRIMARY KEY first",
    )


def _why_not_family(table: TableState) -> tuple[str, str] | None:
    if table.logged_parent:
        return f"is a partition of {table.logged_parent}, which is logged", "nothing is to be done"
    if table.has_children:
        return (
            "has tables that inherit from it, whose rows its triggers do not see",
            "log the inheriting tables, and keep the rows of this one in one of them",
        )
    if table.unfit_partitions:
        partitions = ", ".join(table.unfit_partitions)
        return (
            f"has partitions that are foreign, unlogged or temporary: {partitions}",
            "detach them or make them LOGGED",
        )
    if table.forces_row_security:
        return (
            "has FORCE ROW LEVEL SECURITY: TRUNCATE's rows could not be read in full",
            "ALTER TABLE … NO FORCE ROW LEVEL SECURITY first",
        )
    if not table.log_may_read:
        return "cannot be read by the owner of squizzle_log, so TRUNCATE's rows would be lost", "GRANT SELECT to them"
    return None


def gaps_of(logged: LoggedTable, table: TableState | None, triggers: Sequence[Trigger]) -> tuple[str, ...]:
    """What is not logged, or no longer the same, of a table that should be.

    Args:
        logged: What was switched on.
        table: The table now, by the name it had; None when nothing has that name.
        triggers: Those that write for it.
    """
    if logged.until is not None:
        return ()
    rows = [one for one in triggers if one.of_rows]
    if table is None or not any(one.table_id == table.id for one in rows):
        return (_lost(logged, rows),)
    return (
        *(f"{one.schema}.{one.table}: {_STATES[one.enabled]}" for one in triggers if one.enabled != "A"),
        *_uncovered(table, triggers),
        *_reshaped(logged, table),
    )


_STATES = {
    "D": "its trigger is disabled: changes are not logged now; enable again",
    "O": "its trigger was disabled and enabled by somebody (ENABLE TRIGGER ALL): changes in between are missing, and"
    " session_replication_role = replica is not logged now; enable again",
    "R": "its trigger fires only for replication: changes of applications are not logged now; enable again",
}


def _lost(logged: LoggedTable, rows: Sequence[Trigger]) -> str:
    elsewhere = sorted(
        {f"{one.schema}.{one.table}" for one in rows if one.kind != "r"}
        or {f"{one.schema}.{one.table}" for one in rows}
    )
    if elsewhere:
        return f"{logged.name} was renamed: {elsewhere[0]} is still logged under the old name; disable and enable again"
    return f"{logged.name} has no trigger any more: it was dropped, or the table was; changes are not logged now"


def _uncovered(table: TableState, triggers: Sequence[Trigger]) -> tuple[str, ...]:
    truncating = {one.table_id for one in triggers if not one.of_rows}
    missing = [] if table.id in truncating else ["TRUNCATE is not logged now; enable again"]
    late = set(table.partitions) - truncating
    if late:
        missing.append(
            f"{len(late)} partitions were added later: their rows are logged, but TRUNCATE of such a partition by its"
            " own name is not; enable again"
        )
    return tuple(missing)


def _reshaped(logged: LoggedTable, table: TableState) -> tuple[str, ...]:
    then, now = set(logged.columns), set(table.columns)
    parts = [
        *(f"then also {one}" for one in logged.columns if one not in now),
        *(f"now also {one}" for one in table.columns if one not in then),
    ]
    found = [f"its columns differ from when logging began: {'; '.join(parts)}"] if parts else []
    if table.needs_exact and not logged.exact:
        found.append("a column of a type that JSON does not keep in full was added; enable again")
    if table.key_columns != logged.key_columns:
        found.append(f"its primary key was ({', '.join(logged.key_columns)}) when logging began")
    return tuple(found)
