"""The map of locks, measured: every kind of statement is run on each server, and a second session looks what it locks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from psycopg import sql

from squizzle.analysis.locks.forecast import forecast_locks
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.statements import split_statements
from squizzle.migrations.watch import SessionWatch
from squizzle.postgres.access import Connection, ServerAccess, connect

SCHEMA = """
CREATE TABLE u (id int PRIMARY KEY, code text);
CREATE TABLE t (id int PRIMARY KEY, a int, b text, c varchar(50), n numeric(10,2), u_id int REFERENCES u);
INSERT INTO u SELECT g, g::text FROM generate_series(1, 50) g;
INSERT INTO t SELECT g, g, g::text, 'c', 1, g FROM generate_series(1, 50) g;
CREATE INDEX t_a ON t (a);
CREATE UNIQUE INDEX t_b ON t (b);
CREATE INDEX t_gin ON t USING gin (to_tsvector('simple', b));
ALTER TABLE t ADD CONSTRAINT a_positive CHECK (a > 0) NOT VALID;
ALTER TABLE t ADD CONSTRAINT u_again FOREIGN KEY (u_id) REFERENCES u NOT VALID;
CREATE VIEW v AS SELECT id, a FROM t;
CREATE MATERIALIZED VIEW m AS SELECT id FROM t;
CREATE UNIQUE INDEX m_id ON m (id);
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();
CREATE POLICY y ON t USING (true);
CREATE RULE r AS ON DELETE TO u DO ALSO NOTHING;
CREATE SEQUENCE s;
CREATE TABLE p (id int, k int) PARTITION BY LIST (k);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE TABLE p2 (id int, k int);
CREATE TABLE parent (id int);
CREATE TABLE child (id int);
CREATE TABLE alone (id int, k int);
CREATE TYPE mood AS ENUM ('good');
CREATE DOMAIN positive AS int;
"""

AX, X, SRX, S, SUX, RX = (
    LockMode.ACCESS_EXCLUSIVE,
    LockMode.EXCLUSIVE,
    LockMode.SHARE_ROW_EXCLUSIVE,
    LockMode.SHARE,
    LockMode.SHARE_UPDATE_EXCLUSIVE,
    LockMode.ROW_EXCLUSIVE,
)

# A statement, what its text says that it locks, and what it locks besides (which only the catalogue knows).
Case = tuple[str, dict[str, LockMode], dict[str, LockMode]]
CASES: list[Case] = [
    ("ALTER TABLE t ADD COLUMN x int", {"t": AX}, {}),
    ("ALTER TABLE t ADD COLUMN x int DEFAULT 1 NOT NULL", {"t": AX}, {}),
    ("ALTER TABLE t ADD COLUMN x uuid DEFAULT gen_random_uuid()", {"t": AX}, {}),
    ("ALTER TABLE t ADD COLUMN x int REFERENCES u", {"t": AX, "u": SRX}, {}),
    ("ALTER TABLE t ADD COLUMN x int UNIQUE", {"t": AX}, {}),
    ("ALTER TABLE t DROP COLUMN b", {"t": AX}, {}),
    ("ALTER TABLE t DROP COLUMN u_id", {"t": AX}, {"u": AX}),
    ("ALTER TABLE t DROP COLUMN a CASCADE", {"t": AX}, {"v": AX}),
    ("ALTER TABLE t ALTER b SET NOT NULL", {"t": AX}, {}),
    ("ALTER TABLE t ALTER a DROP NOT NULL", {"t": AX}, {}),
    ("ALTER TABLE t ALTER a SET DEFAULT 1", {"t": AX}, {}),
    ("ALTER TABLE t ALTER a SET STATISTICS 10", {"t": SUX}, {}),
    ("ALTER TABLE t ALTER a SET (n_distinct = 5)", {"t": SUX}, {}),
    ("ALTER TABLE t ALTER b SET STORAGE EXTERNAL", {"t": AX}, {}),
    ("ALTER TABLE t ALTER c TYPE varchar(100)", {"t": AX}, {}),
    ("ALTER TABLE t ALTER n TYPE numeric(12,4)", {"t": AX}, {}),
    ("ALTER TABLE t ADD CHECK (a > 0)", {"t": AX}, {}),
    ("ALTER TABLE t ADD CONSTRAINT x CHECK (a > 0) NOT VALID", {"t": AX}, {}),
    ("ALTER TABLE t VALIDATE CONSTRAINT a_positive", {"t": SUX}, {}),
    ("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u", {"t": SRX, "u": SRX}, {}),
    ("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u NOT VALID", {"t": SRX, "u": SRX}, {}),
    ("ALTER TABLE t VALIDATE CONSTRAINT u_again", {"t": SUX}, {}),
    ("ALTER TABLE t ADD UNIQUE (a)", {"t": AX}, {}),
    ("ALTER TABLE t ADD CONSTRAINT x UNIQUE USING INDEX t_b", {"t": AX}, {}),
    ("ALTER TABLE t DROP CONSTRAINT u_again", {"t": AX}, {"u": AX}),
    ("ALTER TABLE t ALTER CONSTRAINT u_again DEFERRABLE", {"t": AX}, {}),
    ("ALTER TABLE t RENAME a TO z", {"t": AX}, {}),
    ("ALTER TABLE t RENAME CONSTRAINT a_positive TO z", {"t": AX}, {}),
    ("ALTER TABLE t RENAME TO z", {"t": AX}, {}),
    ("ALTER TABLE t SET SCHEMA other", {"t": AX}, {}),
    ("ALTER TABLE t ENABLE ROW LEVEL SECURITY", {"t": AX}, {}),
    ("ALTER TABLE t REPLICA IDENTITY FULL", {"t": AX}, {}),
    ("ALTER TABLE t SET (fillfactor = 70, autovacuum_enabled = off)", {"t": SUX}, {}),
    ("ALTER TABLE t SET (user_catalog_table = true)", {"t": AX}, {}),
    ("ALTER TABLE t RESET (fillfactor)", {"t": SUX}, {}),
    ("ALTER TABLE t CLUSTER ON t_a", {"t": SUX}, {}),
    ("ALTER TABLE t SET WITHOUT CLUSTER", {"t": SUX}, {}),
    ("ALTER TABLE alone SET UNLOGGED", {"alone": AX}, {}),
    ("ALTER TABLE t DISABLE TRIGGER g", {"t": SRX}, {}),
    ("ALTER TABLE t DISABLE TRIGGER ALL", {"t": SRX}, {}),
    ("ALTER TABLE t ENABLE ALWAYS TRIGGER g", {"t": SRX}, {}),
    ("ALTER TABLE u DISABLE RULE r", {"u": AX}, {}),
    ("ALTER TABLE t OWNER TO CURRENT_USER", {"t": AX}, {}),
    ("ALTER TABLE child INHERIT parent", {"child": AX, "parent": SUX}, {}),
    ("ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (2)", {"p": SUX, "p2": AX}, {}),
    ("ALTER TABLE p DETACH PARTITION p1", {"p": AX, "p1": AX}, {}),
    ("ALTER TABLE p ADD COLUMN x int", {"p": AX}, {"p1": AX}),
    ("CREATE TABLE p3 PARTITION OF p FOR VALUES IN (3)", {"p": AX}, {}),
    ("DROP TABLE p1", {"p1": AX}, {"p": AX}),
    ("CREATE TABLE x (id int REFERENCES u)", {"u": SRX}, {}),
    ("CREATE TABLE x (id int, FOREIGN KEY (id) REFERENCES u)", {"u": SRX}, {}),
    ("CREATE TABLE x () INHERITS (parent)", {"parent": SUX}, {}),
    ("CREATE TABLE x (LIKE t)", {}, {}),
    ("CREATE TABLE x AS SELECT * FROM t", {}, {}),
    ("CREATE TABLE x (id int); CREATE INDEX ON x (id); ALTER TABLE x ADD COLUMN y int; DROP TABLE x", {}, {}),
    ("ALTER TABLE t RENAME TO z; ALTER TABLE z ADD COLUMN q int", {"t": AX}, {}),
    ("CREATE INDEX ON t (a)", {"t": S}, {}),
    ("CREATE INDEX ON p (id)", {"p": S}, {"p1": S}),
    ("REINDEX INDEX t_a", {"t_a": AX}, {"t": S}),
    ("REINDEX TABLE t", {"t": S}, {"t_a": AX, "t_b": AX, "t_gin": AX, "t_pkey": AX}),
    ("ALTER INDEX t_a RENAME TO z", {}, {}),
    ("ALTER INDEX t_a SET (fillfactor = 70)", {}, {}),
    ("ALTER INDEX t_gin SET (fastupdate = off)", {"t_gin": AX}, {}),
    ("TRUNCATE alone", {"alone": AX}, {}),
    ("TRUNCATE u CASCADE", {"u": AX}, {"t": AX}),
    ("DROP TABLE t CASCADE", {"t": AX}, {"u": AX, "v": AX, "m": AX}),
    ("DROP VIEW v", {"v": AX}, {}),
    ("CREATE OR REPLACE VIEW v AS SELECT id, a FROM t WHERE a > 0", {"v": AX}, {}),
    ("ALTER VIEW v SET (security_barrier = true)", {"v": AX}, {}),
    ("ALTER VIEW v RENAME TO z", {"v": AX}, {}),
    ("REFRESH MATERIALIZED VIEW m", {"m": AX}, {}),
    ("REFRESH MATERIALIZED VIEW CONCURRENTLY m", {"m": X}, {}),
    ("DROP MATERIALIZED VIEW m", {"m": AX}, {}),
    ("CREATE TRIGGER g2 BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()", {"t": SRX}, {}),
    ("DROP TRIGGER g ON t", {"t": AX}, {}),
    ("ALTER TRIGGER g ON t RENAME TO g3", {"t": AX}, {}),
    ("CREATE RULE r2 AS ON DELETE TO t DO ALSO NOTHING", {"t": AX}, {}),
    ("DROP RULE r ON u", {"u": AX}, {}),
    ("CREATE POLICY y2 ON t USING (true)", {"t": AX}, {}),
    ("ALTER POLICY y ON t USING (false)", {"t": AX}, {}),
    ("DROP POLICY y ON t", {"t": AX}, {}),
    ("LOCK TABLE t IN SHARE MODE", {"t": S}, {}),
    ("CREATE STATISTICS st ON a, b FROM t", {"t": SUX}, {}),
    ("COMMENT ON TABLE t IS 'x'", {"t": SUX}, {}),
    ("COMMENT ON COLUMN public.t.a IS 'x'", {"t": SUX}, {}),
    ("ANALYZE t", {"t": SUX}, {}),
    ("CLUSTER t USING t_a", {"t": AX}, {}),
    ("CREATE PUBLICATION pub FOR TABLE t", {"t": SUX}, {}),
    ("ALTER TYPE mood ADD VALUE 'bad'", {}, {}),
    ("ALTER TYPE mood RENAME VALUE 'good' TO 'fine'", {}, {}),
    ("CREATE OR REPLACE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'", {}, {}),
    ("ALTER DOMAIN positive ADD CHECK (VALUE > 0)", {}, {}),
    ("ALTER SEQUENCE s RESTART", {"s": SRX}, {}),
    ("ALTER SEQUENCE s RENAME TO z", {"s": AX}, {}),
    ("DROP SEQUENCE s", {"s": AX}, {}),
    ("GRANT SELECT ON t TO PUBLIC", {}, {}),
    ("INSERT INTO alone VALUES (1, 2)", {"alone": RX}, {}),
    ("INSERT INTO alone (id) SELECT id FROM t", {"alone": RX}, {}),
    ("WITH x AS (SELECT 1 AS id) UPDATE public.alone SET k = 1 FROM x WHERE alone.id = x.id", {"alone": RX}, {}),
    ("DELETE FROM alone", {"alone": RX}, {}),
    ("SELECT * FROM t FOR UPDATE", {}, {}),
    ("CREATE TYPE pair AS (a int)", {}, {}),
    ("CREATE SCHEMA third", {}, {}),
    ("SET LOCAL work_mem = '8MB'", {}, {}),
]


@pytest.fixture(scope="module")
def sessions(access: ServerAccess) -> Iterator[tuple[Connection, Connection]]:
    """One that runs the statements and one that looks, in a database of their own."""
    name = "lock_map"
    with connect(access, "postgres", purpose="test") as control:
        control.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        with connect(access, name, purpose="test") as worker, connect(access, name, purpose="test") as looker:
            worker.execute(SCHEMA)
            worker.execute("CREATE SCHEMA other")
            yield worker, looker
        control.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


@pytest.mark.parametrize(("script", "named", "besides"), CASES, ids=[case[0][:60] for case in CASES])
def test_the_locks_of_a_statement_are_those_that_its_text_tells(
    sessions: tuple[Connection, Connection], script: str, named: dict[str, LockMode], besides: dict[str, LockMode]
) -> None:
    worker, looker = sessions
    watch = SessionWatch(looker, worker.info.backend_pid, lambda _text: None)
    with worker.transaction(force_rollback=True):
        worker.execute(script.encode())
        watch.note_locks()
    observed = watch.take_locks()
    forecast = forecast_locks(split_statements(script, source="case"))

    predicted = {lock.relation.name: lock.mode for lock in forecast.locks}
    assert {relation: predicted.get(relation) for relation in named} == named
    assert {lock.relation.name: lock.mode for lock in observed} == named | besides
    assert {lock.relation.name: lock.mode for lock in forecast.unforeseen(observed)} == besides
    assert not besides or not forecast.complete or "p" in named


def test_a_lock_on_an_index_is_told_by_that_on_its_table_when_both_are_the_strongest(
    sessions: tuple[Connection, Connection],
) -> None:
    worker, looker = sessions
    watch = SessionWatch(looker, worker.info.backend_pid, lambda _text: None)
    with worker.transaction(force_rollback=True):
        worker.execute("DROP INDEX t_a")
        watch.note_locks()
    assert [(str(lock.relation), lock.mode) for lock in watch.take_locks()] == [("public.t", AX)]
    assert not forecast_locks(split_statements("DROP INDEX t_a", source="case")).complete
