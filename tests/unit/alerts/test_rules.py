"""Alert rules as files have them: the guide's, and everything that may be wrong with others."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from squizzle.alerts.conditions import read_condition
from squizzle.alerts.records import AlertRule
from squizzle.alerts.rules import parse_alert_rules, read_alert_rules
from squizzle.errors import InvalidInputError
from squizzle.severity import Severity


def test_the_rules_of_the_guide_are_shipped_word_for_word() -> None:
    failed, running = read_alert_rules(["guide"])

    assert (failed.name, failed.severity, failed.notify) == (
        "migration_failed",
        Severity.CRITICAL,
        ("pagerduty", "slack"),
    )
    assert failed.condition.split() == [
        "SELECT",
        "COUNT(*)",
        ">",
        "0",
        "FROM",
        "squizzle_history",
        "WHERE",
        "success",
        "=",
        "false",
        "AND",
        "applied_at",
        ">",
        "NOW()",
        "-",
        "INTERVAL",
        "'5",
        "minutes'",
    ]
    # The guide says warning here, and medium elsewhere.
    assert (running.name, running.severity, running.notify) == ("long_running_migration", Severity.MEDIUM, ("slack",))
    assert running.condition.split() == [
        "SELECT",
        "COUNT(*)",
        ">",
        "0",
        "FROM",
        "pg_stat_activity",
        "WHERE",
        "query",
        "LIKE",
        "'%squizzle%'",
        "AND",
        "state",
        "=",
        "'active'",
        "AND",
        "query_start",
        "<",
        "NOW()",
        "-",
        "INTERVAL",
        "'30",
        "minutes'",
    ]
    assert [one.severity.is_harm for one in (failed, running)] == [True, False]


RULES = """
alerts:
  - {name: a, severity: high, condition: SELECT true, for: 5m}
  - name: a
    severity: dire
    condition: |
      SELECT true
      FROM orders
      FOR UPDATE
    notify: [slack, slack, "#ops"]
    runbook: x
  - condition: |

      SELECT 1;
      SELECT 2
    for: soon
  - name: ok
    severity: low
    severity: high
    condition: [SELECT true]
"""


def test_every_mistake_is_told_with_its_line() -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_alert_rules(RULES, file="alerts.yml")

    assert caught.value.message.splitlines() == [
        "alerts.yml:7: alert 'a' condition must only read: FOR UPDATE and its like lock rows",
        (
            "alerts.yml:5: alert 'a' severity must be one of low, medium, high, critical (or info for low, warning for"
            " medium, error for high)"
        ),
        "alerts.yml:10: alert 'a' notify says slack twice",
        (
            "alerts.yml:10: alert 'a' notify must be a channel's name in small letters, digits, - and _ (slack, email,"
            " pagerduty)"
        ),
        "alerts.yml:11: alert 'a' has an unknown setting: runbook",
        "alerts.yml:12: alert 3 has no name",
        "alerts.yml:12: alert 3 has no severity",
        "alerts.yml:15: alert 3 condition has a second statement; it must be one SELECT",
        "alerts.yml:16: alert 3 for must be a whole number and a unit (30s, 5m, 2h)",
        "alerts.yml:19: alert 4 says severity twice",
        "alerts.yml:20: alert 'ok' condition must be a text: one SELECT",
        "alerts.yml:4: alert 'a' has the name of the one at alerts.yml:3",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("SELECT now() > '2020-01-01'; -- nothing follows", ""),
        ("SELECT * FROM health", ""),
        ("VALUES (true)", ""),
        ("-- nothing", "is empty"),
        ("DELETE FROM orders", "must be a SELECT"),
        ("WITH gone AS (DELETE FROM orders RETURNING 1) SELECT count(*) > 0 FROM gone", "it has DELETE"),
        ("SELECT true INTO made", "SELECT INTO makes a table"),
        ("SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_stat_activity", "pg_terminate_backend does something"),
        ("SELECT true, false", "gives 2 columns"),
        ("SELECT 1 UNION SELECT 2", ""),
        ("SELECT id = $1 FROM orders", "has a parameter"),
        ("SELECT 'open", "cannot be read"),
        ("SELECT FROM WHERE", "cannot be parsed"),
    ],
)
def test_a_condition_is_one_select_that_only_reads(text: str, problem: str) -> None:
    problems = read_condition(text).problems

    assert len(problems) == bool(problem)
    assert all(problem in one for _, one in problems)


def test_rules_of_several_files_have_names_of_their_own(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("alerts: [{name: full, severity: info, condition: SELECT true, for: 90s}]", encoding="utf-8")
    wanted = AlertRule(
        name="full",
        condition="SELECT true",
        severity=Severity.LOW,
        hold=timedelta(seconds=90),
        place=f"{mine}:1",
    )
    assert read_alert_rules(["guide", mine, mine])[2:] == (wanted,)

    mine.write_text("alerts: [{name: migration failed, severity: info, condition: SELECT true}]", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="has the name of the one at guide:3"):
        read_alert_rules(["guide", mine])
    for text, said in (("", "is empty; it needs alerts"), ("alerts: []", "at least one alert"), ("a: {", "not YAML")):
        mine.write_text(text, encoding="utf-8")
        with pytest.raises(InvalidInputError, match=said):
            read_alert_rules([mine])
