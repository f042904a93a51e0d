"""`apply --save-rows` and the way back that uses what was saved, as a user runs them."""

from __future__ import annotations

import time

import pytest
from psycopg import sql

from squizzle.postgres.access import Connection, ServerAccess
from squizzle.proof.comparison import compare_digests
from squizzle.proof.digests import digest_database
from squizzle.proof.records import DatabaseDigest, SchemaMatch
from tests.integration.cli.conftest import Squizzle, url_of
from tests.integration.migrations.conftest import Folder

COMPANY = """
CREATE TYPE mood AS ENUM ('low', 'high');
CREATE TABLE parts (id int, day date, note text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "First Name" text, score numeric, tags json, m mood,
    twice numeric GENERATED ALWAYS AS (score * 2) STORED);
CREATE TABLE orders (id int PRIMARY KEY, owner bigint REFERENCES users ON DELETE CASCADE, price int);
CREATE TABLE lines (id int PRIMARY KEY, of int REFERENCES orders ON DELETE SET NULL);
CREATE TABLE extra (id serial PRIMARY KEY, a text);
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.a := 'stamped'; RETURN NEW; END$$;
CREATE TABLE log (id int PRIMARY KEY, m mood);
INSERT INTO parts SELECT n, '2026-01-15'::date + n, 'p' || n FROM generate_series(1, 30) n;
INSERT INTO users ("First Name", score, tags, m) SELECT 'u' || n, n, '{"a": 1}', 'high' FROM generate_series(1, 9) n;
INSERT INTO orders SELECT n, n % 9 + 1, n FROM generate_series(1, 27) n;
INSERT INTO lines SELECT n, n FROM generate_series(1, 27) n;
INSERT INTO extra (a) SELECT 'e' || n FROM generate_series(1, 5) n;
INSERT INTO log SELECT n, 'low' FROM generate_series(1, 4) n;
CREATE TABLE marked (id int PRIMARY KEY, a text, b int);
INSERT INTO marked SELECT n, 'm', n FROM generate_series(1, 4) n;
CREATE TRIGGER on_insert BEFORE INSERT ON extra FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE TRIGGER on_update BEFORE UPDATE ON marked FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE TRIGGER of_b BEFORE UPDATE OF b ON marked FOR EACH ROW EXECUTE FUNCTION stamp();
"""
CHANGE = """
UPDATE users AS u SET "First Name" = o.name, score = u.score + 1, tags = '{"b": 2}'
    FROM (SELECT owner, 'x' || min(price) AS name FROM orders GROUP BY owner) o WHERE o.owner = u.id AND u.id > 2;
UPDATE users SET score = score * 10 WHERE id IN (3, 4);
DELETE FROM users USING orders o WHERE users.id = o.owner AND o.price = 5;
WITH third AS (SELECT id FROM parts WHERE id % 3 = 0) UPDATE parts SET note = NULL WHERE id IN (SELECT id FROM third);
DELETE FROM parts WHERE day < '2026-01-20';
TRUNCATE extra RESTART IDENTITY;
ALTER TABLE users DROP COLUMN m;
DROP TABLE log;
DROP TYPE mood;
ALTER TABLE marked DROP COLUMN b CASCADE;
"""


@pytest.fixture
def scratch(access: ServerAccess) -> tuple[str, ...]:
    """The tests' own server for scratch databases, too."""
    return ("--scratch", url_of(access, "postgres"), "--json")


def rows_of(connection: Connection) -> DatabaseDigest:
    return digest_database(connection)


def undo_tables(connection: Connection) -> list[str]:
    query = "SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace('squizzle_undo') ORDER BY 1"
    return [name for (name,) in connection.execute(query)]


def test_rows_that_a_version_touches_come_back_all_of_them(
    squizzle: Squizzle, folder: Folder, scratch: tuple[str, ...], connection: Connection
) -> None:
    folder.write("0001", COMPANY)
    folder.write("0002", CHANGE)
    assert squizzle("apply", "0001").code == 0
    connection.execute("ANALYZE")
    before = rows_of(connection)

    planned = squizzle("plan", "--save-rows", "--json").document["statements"]
    assert [(one["saves"]["tables"], one["saves"]["problem"]) for one in planned[2:3]] == [
        (["users", "public.orders", "public.lines"], None)
    ]
    assert planned[5]["saves"]["rows"] == 5
    assert planned[5]["saves"]["size_bytes"] > 0
    done = squizzle("apply", "0002", "--save-rows", "--json")

    assert done.code == 0, done.err
    saved = {(one["line"], one["table"]): one["rows"] for one in done.document["applied"][0]["saved_rows"]}
    assert saved[5, "users"] == 1
    assert saved[5, "public.orders"] == saved[5, "public.lines"] == 3
    assert saved[7, "parts"] == 4
    (_, applied) = squizzle("status", "--json").document["applied"]
    assert len(applied["saved_rows"]) == len(saved)
    back = squizzle("rollback", "0002", "--generated", *scratch)
    # The enumerated type's column comes back as the last one but for a generated one's place: only order differs.
    assert back.code == 9
    assert "other order" in back.error["message"]
    back = squizzle("rollback", "0002", "--generated", "--accept-loss", *scratch)
    assert back.code == 0, back.err
    found = compare_digests(before, rows_of(connection))
    assert found.schema is SchemaMatch.LOGICAL
    assert all(one.equal for one in found.tables)
    assert (found.missing, found.changed, found.unexpected, found.sequences) == ((), (), (), ())
    assert undo_tables(connection) == []
    assert connection.execute("SELECT nextval('extra_id_seq')").fetchone() == (6,)


def test_rows_that_were_changed_since_stop_the_way_back_and_are_never_overwritten(
    squizzle: Squizzle, folder: Folder, scratch: tuple[str, ...], connection: Connection
) -> None:
    folder.write("0001", "CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t VALUES (1), (2), (3), (4)")
    folder.write(
        "0002",
        "-- squizzle: save_rows\nUPDATE t SET a = 7 WHERE id > 1;\n-- squizzle: save_rows\nDELETE FROM t WHERE id = 1",
    )
    assert squizzle("apply", "--all").code == 0
    connection.execute("UPDATE t SET a = 8 WHERE id = 2; UPDATE t SET b = 9 WHERE id = 3; INSERT INTO t VALUES (1, 5)")
    theirs = connection.execute("SELECT * FROM t ORDER BY id").fetchall()
    document = squizzle("generate-rollback", "0002", *scratch).document
    assert document["reversibility"] == "exact"

    refused = squizzle("rollback", "0002", "--generated", *scratch)

    assert refused.code == 7
    assert "1 rows of t were written again since the script" in refused.error["message"]
    assert "(1)" in refused.error["message"]
    connection.execute("DELETE FROM t WHERE id = 1")
    refused = squizzle("rollback", "0002", "--generated", *scratch)
    assert "1 rows of t were changed or deleted" in refused.error["message"]
    assert "(2)" in refused.error["message"]
    connection.execute("INSERT INTO t VALUES (1, 5)")
    assert connection.execute("SELECT * FROM t ORDER BY id").fetchall() == theirs
    accepted = squizzle("rollback", "0002", "--generated", "--keep-newer", *scratch)
    assert accepted.code == 0, accepted.err
    assert connection.execute("SELECT * FROM t ORDER BY id").fetchall() == [
        (1, 5, None),
        (2, 8, None),
        (3, None, 9),
        (4, None, None),
    ]


def test_a_killed_run_leaves_neither_the_change_nor_saved_rows(
    squizzle: Squizzle, folder: Folder, scratch: tuple[str, ...], connection: Connection
) -> None:
    folder.write(
        "0001", "CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t SELECT n FROM generate_series(1, 90) n"
    )
    assert squizzle("apply", "0001").code == 0
    folder.write(
        "0002",
        "UPDATE t SET a = 1 WHERE id <= 5; SELECT pg_sleep(0);\n"
        "-- squizzle: batch key=id size=20 pause=200ms\nUPDATE t SET a = 2 WHERE id > 5",
    )
    with squizzle.started("apply", "0002", "--save-rows") as process:
        for _ in range(300):
            done = connection.execute("SELECT count(*) FROM t WHERE a = 2").fetchone()
            if done and done[0] > 0:
                break
            time.sleep(0.02)
        process.kill()
    # Batches that were committed are saved; the one that was on its way is neither.
    assert kept_and_changed(connection, "0002") is True

    assert squizzle("apply", "0002", "--save-rows").code == 0
    assert connection.execute("SELECT count(*) FROM t WHERE a IS NULL").fetchone() == (0,)
    assert kept_and_changed(connection, "0002") is True
    back = squizzle("rollback", "0002", "--generated", *scratch)

    assert back.code == 0, back.err
    assert connection.execute("SELECT count(*) FROM t WHERE a IS NULL").fetchone() == (90,)
    folder.write("0002", "UPDATE t SET a = 3; SELECT 1 / 0")
    assert squizzle("apply", "0002", "--save-rows").code == 1
    assert undo_tables(connection) == []
    assert connection.execute("SELECT count(*) FROM t WHERE a IS NULL").fetchone() == (90,)


def kept_and_changed(connection: Connection, version: str) -> bool:
    """Whether as many rows are saved as are changed."""
    kept = 0
    for name in undo_tables(connection):
        count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("squizzle_undo", name))
        row = connection.execute(count).fetchone()
        kept += row[0] if row else 0
    changed = connection.execute("SELECT count(*) FROM t WHERE a IS NOT NULL").fetchone()
    return changed == (kept,) and kept > 0 and version in undo_tables(connection)[0]


def test_what_cannot_be_saved_is_refused_and_what_is_saved_can_be_forgotten(
    squizzle: Squizzle, folder: Folder, connection: Connection
) -> None:
    folder.write(
        "0001", "CREATE TABLE t (id int PRIMARY KEY, a int); CREATE TABLE keyless (a int); INSERT INTO t VALUES (1)"
    )
    assert squizzle("apply", "0001").code == 0
    squizzle.configure("[project]\nsave_rows = true\n")
    folder.write("0002", "UPDATE t SET a = 2;\nDELETE FROM keyless")

    refused = squizzle("apply", "0002", "--json")

    assert refused.code == 9
    assert "keyless has no primary key" in refused.error["message"]
    assert refused.error["database_state"] == "untouched"
    assert undo_tables(connection) == []
    folder.write(
        "0002", "INSERT INTO t SELECT n FROM generate_series(2, 200) n;\nUPDATE t SET a = 2 WHERE random() < 0.5"
    )
    refused = squizzle("apply", "0002", "--json")
    assert refused.code == 1
    assert "had been put aside right before" in refused.error["message"]
    assert connection.execute("SELECT count(*) FROM t WHERE a = 2").fetchone() == (0,)
    folder.write("0002", "UPDATE t SET a = 2;\n-- squizzle: save_rows no\nDELETE FROM keyless")
    assert squizzle("apply", "0002").code == 0
    assert len(undo_tables(connection)) == 1
    forgotten = squizzle("rollback", "0002", "--forget-saved-rows", "--json").document
    assert len(forgotten["forgotten"]) == 1
    assert undo_tables(connection) == []
    assert squizzle("rollback", "0002", "--forget-saved-rows", "--json").error["code"] == 5
