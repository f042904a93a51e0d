"""A function that acts on the server, outside the transaction."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import CallFunction
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule

_FUNCTIONS = {
    "pg_terminate_backend": "ends sessions of others",
    "pg_cancel_backend": "cancels queries of others",
    "pg_sleep": "does nothing while it holds the transaction's locks",
    "pg_sleep_for": "does nothing while it holds the transaction's locks",
    "pg_sleep_until": "does nothing while it holds the transaction's locks",
    "pg_reload_conf": "reads the server's configuration anew",
    "pg_promote": "makes a replica a primary",
    "pg_switch_wal": "ends the current WAL file",
    "pg_stat_reset": "throws the statistics away that autovacuum works with",
    "pg_create_physical_replication_slot": "keeps WAL until the disk is full, unless somebody reads it",
    "pg_create_logical_replication_slot": "keeps WAL until the disk is full, unless somebody reads it",
    "pg_drop_replication_slot": "makes a replica start anew",
    "pg_read_file": "reads a file of the server",
    "pg_read_binary_file": "reads a file of the server",
    "lo_import": "reads a file of the server",
    "lo_export": "writes a file on the server",
    "dblink_exec": "works in another session, whose changes no rollback undoes",
    "pg_advisory_lock": "holds a lock of the session's, which the commit does not release",
}
_ENDS_OTHERS = frozenset({"pg_terminate_backend", "pg_promote", "pg_drop_replication_slot"})


def _check(action: CallFunction, _context: Context) -> Iterator[Hit]:
    if action.name in _FUNCTIONS:
        severity = Severity.ERROR if action.name in _ENDS_OTHERS else None
        yield Hit(message=f"{action.name}() {_FUNCTIONS[action.name]}", severity=severity)


RULE = Rule(
    code="S106",
    name="function-of-the-server",
    severity=Severity.WARNING,
    condition="A call of a function that acts on sessions, files, slots, WAL or other databases, or that sleeps.",
    effect="It is not undone by a rollback, not even that of a rehearsal, and it does the same in every database of"
    " a fleet.",
    safe_way="Leave it to operations. Squizzle says who blocks a migration and waits without a queue behind it.",
    bad="SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'no such application';",
    good="SELECT count(*) FROM pg_stat_activity;",
    source="PostgreSQL manual, System Administration Functions",
    on=(CallFunction,),
    check=_check,
)
