"""Looking whether alert rules hold in one database now. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import psycopg

from squizzle.alerts.records import AlertResult, AlertRule
from squizzle.migrations.session import work_in_schema
from squizzle.postgres.access import Connection
from squizzle.postgres.translation import is_connection_loss, server_words

# A condition is asked every few seconds or minutes; one that takes longer would be a load by itself.
CONDITION_TIMEOUT = timedelta(seconds=5)
_CURSOR = "squizzle_alert"


def evaluate_rules(
    connection: Connection, rules: Sequence[AlertRule], *, schema: str, timeout: timedelta = CONDITION_TIMEOUT
) -> tuple[AlertResult, ...]:
    """Whether the condition of each rule is true. One that cannot be found out keeps no other one from it.

    Args:
        connection: A session in the database, in autocommit.
        rules: Which.
        schema: Where unqualified names are looked for first: where the history is.
        timeout: How long one condition may take.

    Returns:
        In the order of `rules`.

    Raises:
        psycopg.OperationalError: The session was lost.
    """
    return tuple(_evaluate(connection, rule, schema, timeout) for rule in rules)


def _evaluate(connection: Connection, rule: AlertRule, schema: str, timeout: timedelta) -> AlertResult:
    try:
        with looking_only(connection, schema=schema, timeout=timeout):
            is_true, why = _ask(connection, rule.condition)
    except psycopg.Error as exc:
        if is_connection_loss(exc):
            raise
        is_true, why = None, server_words(exc)
    return AlertResult(rule=rule, is_true=is_true, why=why)


def _ask(connection: Connection, condition: str) -> tuple[bool | None, str]:
    """By a cursor, so that one that gives a million rows fills no memory."""
    with connection.cursor(name=_CURSOR) as cursor:
        cursor.execute(condition.encode())
        columns = cursor.description or []
        if len(columns) != 1:
            return None, f"the condition gives {len(columns)} columns, not one boolean"
        if columns[0].type_display != "bool":
            return None, f"the condition gives {columns[0].type_display}, not a boolean"
        rows = cursor.fetchmany(2)
    if len(rows) != 1:
        return None, f"the condition gives {'no row' if not rows else 'more than one row'}"
    value = rows[0][0]
    return (None, "the condition is NULL, neither true nor false") if value is None else (bool(value), "")


@contextmanager
def looking_only(connection: Connection, *, schema: str, timeout: timedelta) -> Iterator[None]:
    """Whatever is run inside changes nothing: it is read-only, and taken back besides; and it ends.

    The transaction commits what is left, which is nothing: a rollback would count among those of the database
    (`pg_stat_database.xact_rollback`), where errors of applications are looked for.

    Args:
        connection: A session in autocommit.
        schema: Where unqualified names are looked for first.
        timeout: After that a statement is cancelled.
    """
    failed: psycopg.Error | None = None
    with connection.transaction():
        connection.execute("SET TRANSACTION READ ONLY")
        try:
            with connection.transaction(force_rollback=True):
                limit = f"{round(timeout.total_seconds() * 1000)}ms"
                connection.execute("SELECT set_config('statement_timeout', %s, true)", (limit,))
                work_in_schema(connection, schema)
                yield
        except psycopg.Error as exc:
            if is_connection_loss(exc):
                raise
            failed = exc
    if failed is not None:
        raise failed
