"""How much a lock matters depends on the table."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from squizzle.analysis.findings import Finding, Severity
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import RelationName
from squizzle.analysis.locks.side import SideLock
from squizzle.analysis.weight import TableFacts, weigh

FINDING = Finding(
    file="x.sql",
    line=1,
    column=1,
    rule="L101",
    name="index-not-concurrent",
    severity=Severity.WARNING,
    message="builds an index on t",
    lock="SHARE",
    relation="t",
)
MEDIUM = TableFacts(size_bytes=50 * 1024**2, rows=1000, writes_per_s=1.0)


def weighed(finding: Finding, facts: TableFacts, name: str = "t") -> Finding:
    return weigh(finding, {RelationName(schema="public", name=name): facts})


@pytest.mark.parametrize(
    ("facts", "severity"),
    [
        (MEDIUM, Severity.WARNING),
        (replace(MEDIUM, size_bytes=8192), Severity.INFO),
        (replace(MEDIUM, size_bytes=41 * 1024**3), Severity.ERROR),
        (replace(MEDIUM, writes_per_s=200.0), Severity.ERROR),
        (replace(MEDIUM, size_bytes=8192, longest_transaction=timedelta(minutes=5)), Severity.ERROR),
        (replace(MEDIUM, longest_transaction=timedelta(seconds=5)), Severity.WARNING),
    ],
)
def test_the_severity_follows_size_traffic_and_holders(facts: TableFacts, severity: Severity) -> None:
    assert weighed(FINDING, facts).severity is severity


def test_a_busy_table_that_is_locked_besides_makes_an_error_of_what_is_harmless_to_the_named_one() -> None:
    other = RelationName(schema="public", name="orders")
    strong = SideLock(relation=other, mode=LockMode.ACCESS_EXCLUSIVE, because="foreign key f")
    small = replace(MEDIUM, size_bytes=8192)
    facts = {RelationName(schema="public", name="t"): small, other: replace(MEDIUM, writes_per_s=200.0)}

    found = weigh(replace(FINDING, also_locks=(strong,)), facts)
    assert found.severity is Severity.ERROR
    assert "; also holds up public.orders (50 MB" in found.message

    quiet = weigh(replace(FINDING, also_locks=(replace(strong, mode=LockMode.SHARE_UPDATE_EXCLUSIVE),)), facts)
    assert quiet.severity is Severity.INFO


def test_the_message_says_how_big_and_busy_the_table_is() -> None:
    facts = TableFacts(
        size_bytes=41 * 1024**3, rows=1234567, writes_per_s=12.34, longest_transaction=timedelta(minutes=5)
    )
    assert weighed(FINDING, facts).message == (
        "builds an index on t (41 GB, 1,234,567 rows, 12.3 rows written a second, a transaction holds it for 300 s now)"
    )


def test_an_error_stays_one_on_a_small_table_and_nothing_is_said_of_tables_that_are_not_there() -> None:
    small = replace(MEDIUM, size_bytes=1)
    assert weighed(replace(FINDING, severity=Severity.ERROR), small).severity is Severity.ERROR
    assert weighed(FINDING, small, name="other") == FINDING
    assert weighed(replace(FINDING, relation="other.t"), small) == replace(FINDING, relation="other.t")


def test_what_holds_nobody_up_is_not_weighed() -> None:
    weak = replace(FINDING, lock="SHARE UPDATE EXCLUSIVE")
    assert weighed(weak, replace(MEDIUM, size_bytes=41 * 1024**3)) == weak
    assert weighed(replace(FINDING, lock=""), MEDIUM) == replace(FINDING, lock="")
