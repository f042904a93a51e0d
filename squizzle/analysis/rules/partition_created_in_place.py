"""A new partition stops every query of its parent."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import CreateTable
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import alter, qualified


def _check(action: CreateTable, context: Context) -> Iterator[Hit]:
    if not action.is_partition or not action.parents or context.is_new(action.parents[0]):
        return
    parent = action.parents[0]
    yield Hit(
        message=f"creates a partition of {parent} under a lock that stops every query of {parent}",
        hint=f"CREATE TABLE {qualified(action.table)} (LIKE {qualified(parent)} INCLUDING ALL);\n"
        f"{alter(parent)} ATTACH PARTITION {qualified(action.table)} FOR VALUES …;",
        relation=parent,
        location=action.location,
    )


RULE = Rule(
    code="L106",
    name="partition-created-in-place",
    severity=Severity.INFO,
    condition="CREATE TABLE … PARTITION OF a table that was there before.",
    effect="ACCESS EXCLUSIVE on the partitioned table until the transaction ends; short, but everybody queues behind"
    " it.",
    safe_way="Create the table by itself and ATTACH it, which takes only SHARE UPDATE EXCLUSIVE on the parent.",
    bad="CREATE TABLE events_2027 PARTITION OF events FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');",
    good="""\
CREATE TABLE events_2027 (LIKE events INCLUDING ALL);
ALTER TABLE events ATTACH PARTITION events_2027 FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');""",
    source="PostgreSQL manual, CREATE TABLE, PARTITION OF; measured on 15 and 18",
    on=(CreateTable,),
    check=_check,
)
