"""What single rules pass over, and what they see across statements and scripts."""

from __future__ import annotations

import pytest

from squizzle.analysis.findings import Severity
from squizzle.analysis.lint import Script, lint_scripts
from squizzle.analysis.rules.registry import built_in_rules
from squizzle.analysis.rules.rule import Way
from tests.support.rules import TODAY, findings_of


def told(text: str, *, way: Way = Way.UP, severities: tuple[Severity, ...] = tuple(Severity)) -> list[str]:
    """The codes of what is said about a script, in order."""
    return [one.rule for one in findings_of(text, way=way) if one.severity in severities]


LOUD = (Severity.ERROR, Severity.WARNING)


@pytest.mark.parametrize(
    "text",
    [
        "ALTER TABLE users ALTER nickname TYPE varchar(80)",
        "ALTER TABLE users ALTER nickname TYPE text",
        "ALTER TABLE users ALTER last_login TYPE timestamptz",
        "ALTER TABLE orders ALTER total TYPE numeric(12, 2)",
        "ALTER TABLE orders ALTER total TYPE numeric",
        "ALTER TABLE users ADD COLUMN seen timestamptz DEFAULT now()",
        "ALTER TABLE users ADD COLUMN seen timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP",
        "ALTER TABLE users ADD COLUMN who text DEFAULT current_user",
        "ALTER TABLE users ADD COLUMN n int NOT NULL DEFAULT 0",
        "CREATE TABLE n (id bigint PRIMARY KEY); CREATE INDEX ON n (id); ALTER TABLE n ADD CHECK (id > 0)",
        "CREATE TABLE n (id bigint PRIMARY KEY); TRUNCATE n; ALTER TABLE n ALTER id TYPE text; DELETE FROM n; DROP TABLE n",
        "CREATE TABLE n (id bigint PRIMARY KEY); ALTER TABLE n ADD COLUMN x bigserial",
        "UPDATE orders SET note = 'x' WHERE note IS NULL",
        "INSERT INTO orders (user_id, total, quantity) VALUES (1, 1, 1) ON CONFLICT DO NOTHING",
        "CREATE INDEX ON ONLY events (kind)",
        "ALTER INDEX orders_status_idx RENAME TO x",
        "ALTER TABLE orders RENAME CONSTRAINT orders_total_positive TO x",
        "ALTER TABLE orders VALIDATE CONSTRAINT orders_quantity_positive",
        "ALTER TABLE payments ADD UNIQUE USING INDEX payments_number_key",
        "SELECT setval_of_our_own()",
        "REVOKE ALL ON orders FROM PUBLIC",
        "ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM somebody",
        "EXPLAIN DELETE FROM orders",
        "EXPLAIN (ANALYZE off) DELETE FROM orders",
        "MERGE INTO orders USING users ON true WHEN MATCHED AND orders.note IS NULL THEN DELETE",
        "MERGE INTO orders USING users ON true WHEN NOT MATCHED THEN DO NOTHING",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1",
        "CREATE SCHEMA s CREATE TABLE n (id bigint PRIMARY KEY, a int) CREATE INDEX ON n (a)",
        "ALTER FUNCTION user_count() SECURITY DEFINER SET search_path = pg_catalog",
        "SET LOCAL statement_timeout = '2h'",
        "ALTER TYPE order_status ADD VALUE 'x' AFTER 'paid'; UPDATE orders SET status = 'x' WHERE id = 1",
        "BEGIN; CREATE TYPE mood AS ENUM ('a'); COMMIT",
        "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN UPDATE orders SET note = 'x' WHERE id = 1; COMMIT; END $$",
        "",
        "-- nothing",
    ],
)
def test_what_is_known_to_be_harmless_is_passed_over(text: str) -> None:
    assert told(text, severities=LOUD) == []


BATCH = "-- squizzle: batch key=id\n"


@pytest.mark.parametrize(
    ("text", "codes", "in_batches"),
    [
        ("UPDATE orders SET note = 'x'", ["D101"], []),
        ("DELETE FROM orders", ["D101"], ["D101"]),  # batches bring no row back
        ("INSERT INTO payments (order_id, amount) SELECT id, total FROM orders", ["L128"], []),
        ("UPDATE orders SET note = 'x' WHERE note IS NULL", [], []),
    ],
)
def test_batches_answer_what_one_large_transaction_does(text: str, codes: list[str], in_batches: list[str]) -> None:
    assert told(text) == codes
    assert told(BATCH + text) == in_batches


def test_a_statement_in_batches_shares_no_lock_with_those_before_and_behind_it() -> None:
    before, change, behind = (
        "ALTER TABLE users ADD COLUMN city text;\n",
        "UPDATE users SET city = 'x';\n",
        "LOCK TABLE orders;",
    )

    assert set(told(before + change + behind)) == {"L129", "D101", "L123", "L131"}
    assert told(before + BATCH + change + behind) == ["X105", "L123"]


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("WITH gone AS (DELETE FROM orders RETURNING *) SELECT count(*) FROM gone", ["D101"]),
        ("DELETE FROM orders USING users", ["D101"]),
        ("EXPLAIN ANALYZE DELETE FROM orders", ["D101"]),
        ("PREPARE p AS DELETE FROM orders", ["D101"]),
        ("CREATE TABLE n AS WITH gone AS (DELETE FROM orders RETURNING id) SELECT id FROM gone", ["D101"]),
        ("COPY (DELETE FROM orders RETURNING id) TO '/tmp/x'", ["D101", "S102"]),
        ("CREATE RULE r AS ON INSERT TO users DO ALSO DELETE FROM orders", ["D101"]),
        ("MERGE INTO orders USING users ON true WHEN MATCHED THEN DELETE", ["D101"]),
        ("DO $$ BEGIN <<here>> DELETE FROM orders; END $$", ["D101"]),
        ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC", ["S101"]),
        ("ALTER FUNCTION user_count() SECURITY DEFINER", ["S107"]),
        ("UPDATE orders SET note = 'x' WHERE 1 = 1", ["D101"]),
        ("CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN TRUNCATE orders; END $$", ["D102"]),
        ("CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'DELETE FROM orders'", ["D101"]),
        ("DO $$ BEGIN DROP TABLE payments; END $$", ["D103"]),
        ("DROP DATABASE shop", ["D105"]),
        ("DROP OWNED BY shop", ["D105"]),
        ("DROP EXTENSION pgcrypto CASCADE", ["C107", "D106"]),
        ("ALTER TABLE orders DROP COLUMN user_id CASCADE", ["D104", "D106"]),
        ("SET session_replication_role = replica", ["D110"]),
        ("ALTER TABLE orders DISABLE TRIGGER ALL", ["D110"]),
        ("SELECT setval('invoice_numbers', 1)", ["D107"]),
        ("DO $$ BEGIN PERFORM setval('invoice_numbers', 1); END $$", ["D107"]),
        ("ALTER TABLE users ADD COLUMN n bigserial", ["L115"]),
        ("ALTER TABLE users ADD COLUMN n int UNIQUE", ["L117"]),
        ("ALTER TABLE payments ADD PRIMARY KEY (number)", ["L110"]),
        ("ALTER TABLE users ADD COLUMN at timestamptz DEFAULT clock_timestamp()", ["L114"]),
        ("ALTER TABLE users ALTER last_login TYPE timestamptz(0)", ["D108", "L118"]),
        ("ALTER TABLE users ALTER age TYPE bigint USING age::bigint", ["L118"]),
        ("REINDEX DATABASE shop", ["L103"]),
        ("VACUUM FULL", ["L121"]),
        ("VACUUM (FULL, ANALYZE) orders", ["L121"]),
        ("LOCK TABLE orders IN SHARE MODE", ["L123"]),
        ("CREATE INDEX CONCURRENTLY ON events (kind)", ["L127"]),
        ("SET lock_timeout = '1min'", ["L133"]),
        ("SET statement_timeout TO 0", ["L133"]),
        ("GRANT SELECT ON orders TO PUBLIC", ["S101"]),
        ("COPY orders TO '/tmp/x'", ["S102"]),
        ("ALTER SYSTEM SET work_mem = '1GB'", ["S103"]),
        ("ALTER DATABASE shop SET work_mem = '1GB'", ["S103"]),
        ("ALTER DATABASE shop ALLOW_CONNECTIONS false", ["S112"]),
        ("ALTER SYSTEM SET fsync = off", ["S103", "S104"]),
        ("SELECT pg_sleep(10)", ["S106"]),
        ("ALTER TABLE orders DISABLE ROW LEVEL SECURITY", ["S108"]),
        ("ALTER ROLE app SUPERUSER PASSWORD 'x'", ["S109", "S110"]),
        ("DROP SUBSCRIPTION s", ["S111"]),
        ("SHOW TABLES LIKE 'x'", ["U101"]),
        ("CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE x; END $$", ["U102"]),
        ("DO LANGUAGE plperlu 'unlink'", ["U103"]),
        ("BEGIN; COMMIT; COMMIT", ["X102"]),
        ("BEGIN; SELECT 1; ROLLBACK", ["X103"]),
        ("BEGIN; SELECT 1; COMMIT AND CHAIN", ["X103"]),
        ("ALTER TYPE point_3d ADD ATTRIBUTE w integer", ["C113"]),
        ("ALTER TABLE orders DROP CONSTRAINT orders_pkey", ["C108"]),
        ("ALTER VIEW open_orders RENAME TO x", ["C102"]),
        ("ALTER SCHEMA archive RENAME TO x", ["C103"]),
    ],
)
def test_each_of_these_is_found_by_just_these_rules(text: str, codes: list[str]) -> None:
    assert sorted(told(text, severities=LOUD)) == codes


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        # The lock of the first statement is held while the second works.
        ("ALTER TABLE users ADD COLUMN x int; UPDATE users SET x = 1 WHERE id > 5", ["L129"]),
        ("ALTER TABLE users ADD COLUMN x int; ALTER TABLE orders VALIDATE CONSTRAINT orders_quantity_positive", ["L129"]),
        ("UPDATE users SET age = 1 WHERE id > 5; ALTER TABLE users ADD COLUMN x int", []),
        ("ALTER TABLE users ADD COLUMN x int; UPDATE users SET x = 1 WHERE id > 5; UPDATE users SET x = 2 WHERE id < 5", ["L129", "L129"]),
        # A COMMIT lets it go.
        ("BEGIN; ALTER TABLE users ADD COLUMN x int; COMMIT; BEGIN; UPDATE users SET x = 1 WHERE id > 5; COMMIT", []),
        # So does a statement outside a transaction.
        ("ALTER TABLE users ADD COLUMN x int; VACUUM users; UPDATE users SET x = 1 WHERE id > 5", []),
        # Outside BEGIN and COMMIT each statement is by itself.
        ("BEGIN; COMMIT; ALTER TABLE users ADD COLUMN x int; UPDATE users SET x = 1 WHERE id > 5", ["X106", "X106"]),
        ("ALTER TABLE users ADD COLUMN x int; ALTER TABLE orders ADD COLUMN x int; ALTER TABLE payments ADD COLUMN x int", ["L131"]),
        ("DROP INDEX orders_status_idx; ALTER TABLE orders ADD COLUMN x int", ["L102"]),
        # The proof of NOT NULL may come from this script, or from one that nobody has seen.
        ("ALTER TABLE orders VALIDATE CONSTRAINT unseen; ALTER TABLE orders ALTER external_id SET NOT NULL", []),
        ("ALTER TABLE orders VALIDATE CONSTRAINT orders_quantity_positive; ALTER TABLE orders ALTER external_id SET NOT NULL", ["L113"]),
    ],
)  # fmt: skip
def test_what_a_transaction_holds_is_carried_along(text: str, codes: list[str]) -> None:
    assert sorted(told(text, severities=LOUD)) == codes


def test_down_scripts_may_drop_and_nothing_is_said_about_clients() -> None:
    text = "DROP TABLE payments; ALTER TABLE orders DROP COLUMN note, DROP CONSTRAINT orders_total_positive; DROP VIEW open_orders;"
    assert sorted(set(told(text, way=Way.UP, severities=LOUD))) == ["C107", "C108", "D103", "D104", "L131"]
    assert told(text, way=Way.DOWN, severities=LOUD) == []
    assert told("DELETE FROM orders", way=Way.DOWN) == ["D101"]
    assert told("DROP INDEX orders_status_idx", way=Way.DOWN) == ["L102"]


def test_a_down_script_teaches_nothing_to_the_scripts_behind_it() -> None:
    scripts = [
        Script(text="CREATE TABLE t (a varchar(5) PRIMARY KEY)", source="up"),
        Script(text="DROP TABLE t", source="down", way=Way.DOWN),
        Script(text="ALTER TABLE t ALTER a TYPE varchar(9)", source="next"),
    ]
    assert [one.rule for one in lint_scripts(scripts, today=TODAY).findings if one.file == "next"] == []


def test_a_type_that_no_script_tells_is_said_to_be_unknown() -> None:
    (unsure,) = findings_of("ALTER TABLE elsewhere ALTER a TYPE varchar(9)")
    assert (unsure.rule, unsure.severity) == ("L118", Severity.INFO)
    assert "no script tells" in unsure.message
    (sure,) = findings_of("ALTER TABLE elsewhere ALTER a TYPE bigint")
    assert sure.severity is Severity.WARNING


def test_names_are_quoted_in_the_safe_way_where_they_have_to_be() -> None:
    (found,) = findings_of('ALTER TABLE "My Shop"."Orders" ADD CONSTRAINT "a b" CHECK ("X" > 0)')
    table = '"My Shop"."Orders"'
    assert found.hint.splitlines() == [
        f'ALTER TABLE {table} ADD CONSTRAINT "a b" CHECK ("X" > 0) NOT VALID;',
        "-- in the next migration:",
        f'ALTER TABLE {table} VALIDATE CONSTRAINT "a b";',
    ]


def test_every_rule_that_looks_into_routines_says_so_in_its_places() -> None:
    everywhere = {rule.code for rule in built_in_rules() if len(rule.places) == 3}
    assert everywhere >= {"D101", "D102", "D103", "S102", "U102"}
