"""A fingerprint that reads only what changed is the one that reads everything, whoever changed it and however."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
from psycopg import sql

from squizzle.postgres.access import Connection, connect
from squizzle.postgres.embedded import ServerAddress
from squizzle.proof.digests import digest_database
from squizzle.proof.records import DatabaseDigest
from squizzle.proof.unchanged_rows import RowMemory
from tests.integration.conftest import access_to
from tests.support.scratch import new_database

BEFORE = """
CREATE TABLE quiet (id int PRIMARY KEY, name text);
INSERT INTO quiet SELECT n, 'name ' || n FROM generate_series(1, 100) n;
CREATE TABLE audit (LIKE quiet);
CREATE TABLE watched (LIKE quiet);
INSERT INTO watched TABLE quiet;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO audit VALUES (NEW.id, TG_OP); RETURN NEW; END';
CREATE TRIGGER watch AFTER UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION note();
CREATE FUNCTION sneak() RETURNS int LANGUAGE sql AS 'UPDATE quiet SET name = ''sneaked'' WHERE id = 5; SELECT 1';
CREATE TABLE parts (id int PRIMARY KEY, quiet_id int REFERENCES quiet ON DELETE CASCADE) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (200);
INSERT INTO parts SELECT n, n % 100 + 1 FROM generate_series(0, 199) n;
CREATE TABLE child (more text) INHERITS (quiet);
INSERT INTO child VALUES (1000, 'child', 'more');
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE DOMAIN moods AS mood[];
CREATE TYPE pair AS (a int);
CREATE TABLE enums (id int, mood mood);
CREATE TABLE enum_arrays (id int, moods moods);
CREATE TABLE pairs (id int, pair pair);
CREATE TABLE names (id int, relation regclass);
INSERT INTO enums VALUES (1, 'sad');
INSERT INTO enum_arrays VALUES (1, '{sad,glad}');
INSERT INTO pairs VALUES (1, ROW(1));
INSERT INTO names VALUES (1, 'audit');
CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 2 * $1';
CREATE UNLOGGED TABLE loose (id int);
INSERT INTO loose VALUES (1);
CREATE TABLE day_1 AS SELECT 1 AS id;
CREATE TABLE day_2 AS SELECT 2 AS id;
"""

CHANGES = (
    "UPDATE watched SET name = upper(name) WHERE id = 3",
    "DELETE FROM quiet WHERE id = 7",
    "SELECT sneak()",
    "INSERT INTO parts VALUES (50, 1) ON CONFLICT (id) DO UPDATE SET quiet_id = 2",
    "DELETE FROM parts WHERE id = 149; UPDATE parts SET id = id + 100 WHERE id = 49",
    "UPDATE quiet SET name = 'all of them'",
    "BEGIN; SAVEPOINT a; UPDATE audit SET name = 'kept'; RELEASE a; SAVEPOINT b; DELETE FROM enums; ROLLBACK TO b; COMMIT",
    "BEGIN; DELETE FROM quiet WHERE id = 9; INSERT INTO quiet VALUES (9, 'another'); COMMIT",
    "UPDATE loose SET id = 2",
    "ALTER TABLE watched ADD COLUMN note text DEFAULT 'none'",
    "ALTER TABLE watched DROP COLUMN note; ALTER TABLE watched ADD COLUMN note text",
    "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'",
    "ALTER TYPE pair ADD ATTRIBUTE b int",
    "ALTER TABLE audit RENAME TO audited",
    "ALTER TABLE audited ALTER id TYPE bigint",
    "CREATE TABLE anew AS TABLE enums; DROP TABLE enums; ALTER TABLE anew RENAME TO enums",
    "ALTER TABLE day_1 RENAME TO day_3; ALTER TABLE day_2 RENAME TO day_1; ALTER TABLE day_3 RENAME TO day_2",
    "BEGIN; TRUNCATE loose; INSERT INTO loose VALUES (3); COMMIT",
    "DO $$ BEGIN FOR i IN 1..3 LOOP UPDATE quiet SET name = i || name WHERE id = i; COMMIT; END LOOP; END $$",
    "VACUUM (FREEZE) quiet",
    "VACUUM FULL quiet",
)
VIRTUAL = (
    "CREATE TABLE computed (id int, twice int GENERATED ALWAYS AS (id * 2) VIRTUAL); INSERT INTO computed VALUES (1)",
    "ALTER TABLE computed ALTER twice SET EXPRESSION AS (id * 3)",
)


@pytest.fixture(scope="module")
def sessions(servers: Callable[[str], ServerAddress]) -> Iterator[tuple[Connection, Connection]]:
    """Two sessions in a database of one's own."""
    access = access_to(servers("embedded"))
    with ExitStack() as stack:
        control = stack.enter_context(connect(access, "postgres", purpose="test"))
        name = stack.enter_context(new_database(control, sql.SQL("TEMPLATE template0")))
        session = stack.enter_context(connect(access, name, purpose="test"))
        session.execute(BEFORE)
        yield session, stack.enter_context(connect(access, name, purpose="test"))


def rows_of(digest: DatabaseDigest) -> dict[str, tuple[int, str]]:
    return {one.table: (one.rows, one.digest) for one in digest.tables}


def test_whatever_changes_rows_or_their_text_is_seen(sessions: tuple[Connection, Connection]) -> None:
    session, other = sessions
    memory = RowMemory()
    assert memory.digest(session) == digest_database(session)
    for change in (*CHANGES, *VIRTUAL):
        for statement in change.split("; ") if "VACUUM" not in change and "DO" not in change else (change,):
            session.execute(statement.encode())
        assert rows_of(memory.digest(session)) == rows_of(digest_database(session)), change
    # Somebody else, whose transaction was open, or prepared, when we looked.
    with other.transaction():
        other.execute("UPDATE quiet SET name = 'of another' WHERE id = 11")
        session.execute("INSERT INTO loose VALUES (4)")
        memory.digest(session)
    assert rows_of(memory.digest(session)) == rows_of(digest_database(session))
    other.execute("BEGIN")
    other.execute("UPDATE quiet SET name = 'prepared' WHERE id = 12")
    other.execute("PREPARE TRANSACTION 'unchanged rows'")
    memory.digest(session)
    other.execute("COMMIT PREPARED 'unchanged rows'")
    assert memory.digest(session) == digest_database(session)


def test_what_did_not_change_is_not_read_again(sessions: tuple[Connection, Connection]) -> None:
    session, _ = sessions
    true = digest_database(session)
    # Fingerprints that nobody can find by reading.
    known = replace(true, tables=tuple(replace(one, digest=f"known {one.table}") for one in true.tables))
    memory = RowMemory()
    memory.start(session, known)
    session.execute("UPDATE parts SET quiet_id = 3 WHERE id = 120")
    session.execute("VACUUM (FREEZE) parts_1")

    found = rows_of(memory.digest(session))

    carried = {name for name, (_, digest) in found.items() if digest == f"known {name}"}
    assert {"public.quiet", "public.child", "public.parts_1", "public.enums", "public.enum_arrays"} <= carried
    assert not carried & {"public.parts_2", "public.pairs", "public.names", "public.computed"}
    assert found["public.parts_2"] == rows_of(digest_database(session))["public.parts_2"]
