"""Queries that became slower than they were when all was well, where somebody noted that."""

from __future__ import annotations

from squizzle.alerts.records import AlertResult, AlertRule
from squizzle.errors import CouldNotVerifyError, DatabaseError
from squizzle.health.queries import BASELINE_TABLES, Regression, find_regressions, read_baseline, read_query_stats
from squizzle.postgres.access import Connection
from squizzle.postgres.own_tables import find_tables
from squizzle.severity import Severity

SLOWER_RULE = AlertRule(name="queries became slower", condition="", severity=Severity.MEDIUM, place="squizzle")


def slower_queries(connection: Connection) -> tuple[AlertResult, ...]:
    """Whether queries cost more than the newest baseline says; nothing where none was ever noted. Nothing is changed.

    Raises:
        DatabaseError: The session was lost.
    """
    if find_tables(connection, BASELINE_TABLES) is None:
        return ()
    try:
        found = find_regressions(read_baseline(connection), read_query_stats(connection))
    except CouldNotVerifyError as exc:
        return (AlertResult(rule=SLOWER_RULE, is_true=None, why=exc.message),)
    except DatabaseError as exc:
        if connection.closed:
            raise
        return (AlertResult(rule=SLOWER_RULE, is_true=None, why=exc.message),)
    return (AlertResult(rule=SLOWER_RULE, is_true=bool(found), why=_words(found)),)


def _words(found: tuple[Regression, ...]) -> str:
    """No text of a query: what travels by mail and telephone names nothing of the application's."""
    if not found:
        return ""
    worst = found[0]
    before = "is new" if worst.before_ms is None else f"took {worst.before_ms:,.1f} ms"
    kinds = "one kind" if len(found) == 1 else f"{len(found)} kinds"
    return f"{kinds}; the worst {before} and takes {worst.now_ms:,.1f} ms: `squizzle queries` shows them"
