"""What a run does when it is over: statistics for the planner, and a word about what is half-made."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from psycopg import sql

from squizzle.migrations.listener import Listener
from squizzle.migrations.operations import apply_versions, roll_back_versions, verify_versions
from squizzle.migrations.records import Policy, Timeouts
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target
from tests.integration.migrations.conftest import Folder

START = """
CREATE TABLE quiet (a int); INSERT INTO quiet SELECT generate_series(1, 1000);
CREATE TABLE busy (id int PRIMARY KEY, a int, b varchar(20));
INSERT INTO busy SELECT g, g, g::text FROM generate_series(1, 1000) g;
CREATE TABLE p (k int, a int) PARTITION BY LIST (k);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
INSERT INTO p SELECT 1, generate_series(1, 100);
"""


@pytest.fixture
def prepared(connection: Connection, target: Target, folder: Folder) -> Folder:
    folder.write("1", START, down="DROP TABLE quiet, busy, p")
    report = apply_versions(connection, target, folder.read())
    assert set(report.aftercare.analyzed) == {"public.busy", "public.p", "public.p1", "public.quiet"}
    return folder


@pytest.mark.parametrize(
    ("change", "analyzed"),
    [
        ("CREATE TABLE empty (a int)", []),
        ("ALTER TABLE busy ADD COLUMN c int", ["public.busy"]),
        ("ALTER TABLE busy ALTER b TYPE text", ["public.busy"]),
        ("CREATE INDEX ON busy (lower(b))", ["public.busy"]),
        ("CREATE INDEX CONCURRENTLY ON busy (lower(b))", ["public.busy"]),
        ("CREATE INDEX ON busy (b)", []),
        ("CREATE STATISTICS s ON a, b FROM busy", ["public.busy"]),
        ("UPDATE busy SET a = a + 1", ["public.busy"]),
        ("UPDATE busy SET a = a + 1 WHERE id = 7", []),
        ("CREATE TABLE made AS SELECT * FROM busy", ["public.made"]),
        ("CREATE MATERIALIZED VIEW made AS SELECT * FROM busy", ["public.made"]),
        ("ALTER TABLE p ADD COLUMN c int", ["public.p", "public.p1"]),
        ("ALTER TABLE busy RENAME TO other", []),
        ("CREATE SCHEMA s; CREATE TABLE s.made AS SELECT * FROM busy", ["s.made"]),
        ("CREATE TEMPORARY TABLE made AS SELECT * FROM busy", []),
    ],
)
def test_tables_whose_statistics_a_run_invalidated_are_analyzed_and_no_others(
    connection: Connection, target: Target, prepared: Folder, change: str, analyzed: list[str]
) -> None:
    prepared.write("2", change)
    assert list(apply_versions(connection, target, prepared.read()).aftercare.analyzed) == analyzed


def test_the_planner_knows_a_new_column_after_the_run(connection: Connection, target: Target, prepared: Folder) -> None:
    prepared.write("2", "ALTER TABLE busy ADD COLUMN c int; UPDATE busy SET c = 5")
    said: list[str] = []
    apply_versions(connection, target, prepared.read(), listener=Listener(on_progress=said.append))

    query = "SELECT most_common_vals::text FROM pg_stats WHERE tablename = 'busy' AND attname = 'c'"
    assert connection.execute(query).fetchone() == ("{5}",)
    assert said == ["analyzing public.busy, whose statistics the run invalidated"]


def test_nothing_is_analyzed_where_the_policy_says_so(connection: Connection, target: Target, prepared: Folder) -> None:
    prepared.write("2", "ALTER TABLE busy ADD COLUMN c int")
    report = apply_versions(connection, target, prepared.read(), policy=Policy(analyze=False))
    assert report.aftercare.analyzed == ()
    query = "SELECT count(*) FROM pg_stats WHERE tablename = 'busy' AND attname = 'c'"
    assert connection.execute(query).fetchone() == (0,)


def test_a_rollback_is_looked_after_too(connection: Connection, target: Target, prepared: Folder) -> None:
    prepared.write("2", "ALTER TABLE busy DROP COLUMN b", down="ALTER TABLE busy ADD COLUMN b text DEFAULT 'x'")
    apply_versions(connection, target, prepared.read())
    assert roll_back_versions(connection, target, prepared.read(), only="2").aftercare.analyzed == ("public.busy",)


def test_a_table_that_somebody_else_locks_is_named_and_the_run_succeeds(
    connection: Connection, other: Connection, target: Target, prepared: Folder
) -> None:
    prepared.write("2", "UPDATE busy SET a = a + 1")
    policy = Policy(timeouts=Timeouts(rows=timedelta(milliseconds=100)))
    with other.transaction():
        other.execute("LOCK TABLE busy IN SHARE UPDATE EXCLUSIVE MODE")  # lets writers pass, and no ANALYZE
        report = apply_versions(connection, target, prepared.read(), policy=policy)

    assert report.aftercare.analyzed == ()
    (problem,) = report.aftercare.problems
    assert problem.startswith("public.busy could not be analyzed: canceling statement due to lock timeout")
    assert problem.endswith("run ANALYZE public.busy later")


@pytest.mark.one_server
def test_a_table_that_somebody_rebuilds_for_hours_does_not_hold_up_a_run_about_others(
    connection: Connection, other: Connection, target: Target, prepared: Folder
) -> None:
    prepared.write("2", "UPDATE busy SET a = a + 1")
    with other.transaction():
        other.execute("LOCK TABLE quiet IN ACCESS EXCLUSIVE MODE")
        report = apply_versions(connection, target, prepared.read())

    assert (report.aftercare.analyzed, report.aftercare.problems) == (("public.busy",), ())


def test_a_table_of_somebody_else_is_named_when_analyze_passes_it_over(
    access: ServerAccess, connection: Connection, target: Target, prepared: Folder, role: str
) -> None:
    name = sql.Identifier(role)
    # Not ALL: since 17 that includes MAINTAIN, which is the right to analyse.
    connection.execute(sql.SQL("GRANT SELECT, INSERT, UPDATE ON busy, squizzle_history TO {}").format(name))
    connection.execute(sql.SQL("GRANT ALL ON SCHEMA squizzle TO {}").format(name))
    connection.execute(sql.SQL("GRANT ALL ON ALL TABLES IN SCHEMA squizzle TO {}").format(name))
    prepared.write("2", "UPDATE busy SET a = a + 1")

    with connect(replace(access, user=role), target.database, purpose="test") as weak:
        report = apply_versions(weak, target, prepared.read())

    (problem,) = report.aftercare.problems
    assert problem == f"public.busy was passed over by ANALYZE: {role} may not analyze it; let its owner do so"
    assert report.aftercare.analyzed == ()


def test_what_is_half_made_is_reported_with_the_statement_that_ends_it(
    connection: Connection, target: Target, prepared: Folder
) -> None:
    connection.execute("INSERT INTO quiet VALUES (7), (7)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("CREATE UNIQUE INDEX CONCURRENTLY broken ON quiet (a)")
    prepared.write("2", "ALTER TABLE busy ADD CONSTRAINT positive CHECK (a > 0) NOT VALID")

    report = apply_versions(connection, target, prepared.read())

    assert [defect.sentence() for defect in report.aftercare.defects] == [
        "index broken on public.quiet is invalid: every write keeps it up and no query uses it; DROP INDEX CONCURRENTLY public.broken, and make it anew",
        "constraint positive on public.busy is not validated: rows from before may break it; ALTER TABLE public.busy VALIDATE CONSTRAINT positive",
    ]
    checks = {check.name: (check.ok, check.detail) for check in verify_versions(connection, target, prepared.read())}
    assert checks["invalid indexes"] == (False, report.aftercare.defects[0].sentence())
    assert checks["constraints not validated"] == (True, report.aftercare.defects[1].sentence())
    for defect in report.aftercare.defects:
        connection.execute(defect.mend.encode())
    prepared.write("3", "SELECT 1")
    assert apply_versions(connection, target, prepared.read()).aftercare.defects == ()
