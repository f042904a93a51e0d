"""Alert rules in a real database: what is true, what is not, and what could not be found out."""

from __future__ import annotations

from datetime import timedelta

import pytest

from squizzle.alerts.evaluation import evaluate_rules
from squizzle.alerts.records import AlertResult, AlertRule
from squizzle.alerts.rules import read_alert_rules
from squizzle.migrations.history import ensure_history
from squizzle.postgres.access import Connection
from squizzle.severity import Severity

pytestmark = pytest.mark.one_server


def look(connection: Connection, *conditions: str, schema: str = "public") -> tuple[AlertResult, ...]:
    rules = [
        AlertRule(name=f"r{number}", condition=one, severity=Severity.HIGH) for number, one in enumerate(conditions)
    ]
    return evaluate_rules(connection, rules, schema=schema, timeout=timedelta(milliseconds=300))


def test_what_cannot_be_found_out_is_never_as_good_as_false(connection: Connection) -> None:
    connection.execute("CREATE TABLE t (i serial)")
    counts = "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    results = look(
        connection,
        "SELECT count(*) > 0 FROM t",
        "SELECT count(*) = 0 FROM t",
        "SELECT NULL::boolean",
        "SELECT count(*) FROM t",
        "SELECT * FROM (SELECT true, false) s",
        "SELECT true WHERE false",
        "SELECT true FROM pg_class a, pg_class b, pg_class c",
        "SELECT true FROM gone",
        "SELECT pg_sleep(60) IS NULL",
        "SELECT nextval('t_i_seq') > 0",
        "SELECT count(*) = 0 FROM t",
    )

    assert [one.is_true for one in results] == [False, True, *[None] * 8, True]
    assert [one.why for one in results[2:10]] == [
        "the condition is NULL, neither true nor false",
        "the condition gives int8, not a boolean",
        "the condition gives 2 columns, not one boolean",
        "the condition gives no row",
        "the condition gives more than one row",
        'relation "gone" does not exist',
        "canceling statement due to statement timeout",
        "cannot execute nextval() in a read-only transaction",
    ]
    # Looking is no error of an application's.
    connection.execute("SELECT pg_stat_force_next_flush()")
    assert connection.execute(counts).fetchone() == (0,)


@pytest.mark.parametrize("schema", ["public", "tenant"])
def test_the_rules_of_the_guide_fire_when_they_should(connection: Connection, schema: str) -> None:
    rules = read_alert_rules(["guide"])

    def fires() -> list[bool | None]:
        return [one.is_true for one in evaluate_rules(connection, rules, schema=schema)]

    # Nothing was ever applied here, so there is no history: that is no "fine".
    assert fires() == [None, False]
    if schema != "public":
        connection.execute(f"CREATE SCHEMA {schema}".encode())
    ensure_history(connection, schema)
    assert fires() == [False, False]
    insert = (
        "INSERT INTO {}.squizzle_history (version, name, direction, success, applied_at) VALUES ('1', 'a', 'apply',"
    )
    connection.execute(f"{insert.format(schema)} false, now() - interval '6 minutes')".encode())
    assert fires() == [False, False]
    connection.execute(f"{insert.format(schema)} false, now() - interval '4 minutes')".encode())
    assert fires() == [True, False]
