"""Tables that earlier versions of Squizzle made are read as they are, brought up to date, and never harmed.

`tests/data/tables` has every script that ever made one, oldest first. Who changes a script of today adds to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from psycopg import sql

import squizzle
from squizzle.backups.change_log.changes import changes_since
from squizzle.backups.change_log.pruning import prune
from squizzle.backups.change_log.reading import LOG_TABLES
from squizzle.backups.change_log.switching import enable
from squizzle.errors import DatabaseError, LockTimeoutError, RefusedError
from squizzle.incidents.ledger import make_tables, note_told, read_open
from squizzle.migrations.history import ensure_history, history_tables, read_history
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target
from squizzle.postgres.own_scripts import OwnTables
from squizzle.postgres.own_tables import ensure_tables, find_tables
from squizzle.rollout.ledger import find_rollout, note_taking_back
from tests.support.scratch import new_database, new_role

# What Squizzle does with its tables is its own; both servers would say the same.
pytestmark = pytest.mark.one_server

SHAPES = Path(__file__).resolve().parents[2] / "data" / "tables"
ROOT = Path(squizzle.__file__).parent
SCHEMAS = ("squizzle", "squizzle_log", "squizzle_salvage", "here")
ROLLOUT = OwnTables(package="squizzle.rollout", script="rollout_table")

_SHAPE = """
    SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity::text,
           pg_get_expr(d.adbin, d.adrelid), obj_description(c.oid, 'pg_class')
    FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND c.relkind = 'r'
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY(%s)) AND c.relkind IN ('r', 'i')
    ORDER BY 1, 2
"""


def _all() -> Iterator[OwnTables]:
    """Every script of ours that makes a table for good."""
    for path in sorted(ROOT.rglob("*.sql")):
        if "CREATE TABLE IF NOT EXISTS" in path.read_text():
            package = ".".join(path.parent.relative_to(ROOT.parent).parts)
            names = history_tables("here").names if path.stem == "history_table" else ()
            yield OwnTables(package=package, script=path.stem, names=names)


def _shapes(own: OwnTables) -> list[Path]:
    return sorted(SHAPES.glob(f"{own.script}.*.sql"), key=lambda path: int(path.suffixes[0][1:]))


def _make(connection: Connection, path: Path, history: str = "here.squizzle_history") -> None:
    text = path.read_text()
    connection.execute((text.replace("{history}", history) if "{history}" in text else text).encode())


@pytest.fixture(scope="module")
def kept(access: ServerAccess) -> Iterator[Connection]:
    """A session in a database whose schemas of ours are cleared by `clear`."""
    with (
        connect(access, "postgres", purpose="test") as control,
        new_database(control, sql.SQL("")) as name,
        connect(access, name, purpose="test") as connection,
    ):
        yield connection


@pytest.fixture
def clear(kept: Connection) -> Connection:
    """The same, with nothing of ours in it."""
    kept.execute("RESET ALL")
    for schema in SCHEMAS:
        kept.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
    kept.execute("CREATE SCHEMA here")
    return kept


@pytest.mark.parametrize("own", [*_all()], ids=lambda own: own.script)
def test_tables_of_every_earlier_version_become_what_is_made_today(clear: Connection, own: OwnTables) -> None:
    ensure_tables(clear, own)
    today = clear.execute(_SHAPE, (list(SCHEMAS),)).fetchall()
    assert set(own.versions) == set(own.tables), "each table says in its comment which version it is"
    shapes = _shapes(own)
    assert len(shapes) >= max(one.version for one in own.versions.values()), "a version without its shape in SHAPES"
    for path in shapes:
        for schema in SCHEMAS:
            clear.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
        clear.execute("CREATE SCHEMA here")
        _make(clear, path)
        found = find_tables(clear, own)
        assert found, path
        for table in found.columns:  # reading needs no change, whichever version it is
            columns = sql.SQL(", ").join(sql.Identifier(one.name) for one in own.later_columns(table))
            clear.execute(sql.SQL("SELECT {} FROM {}").format(columns, found.source(table, "t")))
        ensure_tables(clear, own)
        is_current = path == shapes[-1]
        got = clear.execute(_SHAPE, (list(SCHEMAS),)).fetchall()
        # The newest shape of before there were versions lacks nothing but its comment, which is not worth a lock.
        assert [row[:6] for row in got] == [row[:6] for row in today], path
        assert is_current or got == today, path
        clear.execute("SET default_transaction_read_only = on")
        ensure_tables(clear, own)
        clear.execute("RESET ALL")


def test_a_rollout_and_an_incident_of_the_first_version_are_gone_on_with(clear: Connection) -> None:
    _make(clear, SHAPES / "rollout_table.1.sql")
    _make(clear, SHAPES / "incident_table.1.sql")
    clear.execute(
        "INSERT INTO squizzle.rollout (id, fleet, versions, stage_of, started_by)"
        """ VALUES ('r1', 'shops', '[{"version": "1", "checksum": "c", "batched": false}]', '{"a": "canary"}', 'ann');"""
        "INSERT INTO squizzle.incident (id, fleet, target, cause) VALUES ('i1', 'shops', 'a', 'x')"
    )
    clear.execute("SET default_transaction_read_only = on")
    begun, (incident,) = find_rollout(clear, "shops"), read_open(clear, "shops")
    assert begun
    assert (begun.id, begun.failed_stage, begun.takes_all, begun.only) == ("r1", "", False, ())
    assert not incident.is_told
    clear.execute("RESET ALL")
    note_taking_back(clear, "r1", stage="canary", why="it failed", takes_all=True)
    make_tables(clear)
    note_told(clear, incident, {"slack": "1"})
    begun, (incident,) = find_rollout(clear, "shops"), read_open(clear, "shops")
    assert begun
    assert (begun.failed_stage, begun.takes_all) == ("canary", True)
    assert incident.is_told


def test_a_history_and_a_change_log_of_the_first_version_are_read_and_written(clear: Connection) -> None:
    _make(clear, SHAPES / "history_table.1.sql")
    clear.execute(
        "INSERT INTO here.squizzle_history (version, name, direction, success) VALUES ('1', 'n', 'apply', true)"
    )
    (row,) = read_history(clear, "here").rows
    assert (row.version, row.batch_progress, row.saved_rows) == ("1", None, None)
    clear.execute("CREATE TABLE here.goods (id int PRIMARY KEY)")
    _make(clear, SHAPES / "log_tables.1.sql")
    begun = datetime.now(UTC)
    assert not (find_tables(clear, LOG_TABLES) or pytest.fail("no log")).has("squizzle_log.pruned")
    enable(clear, Target(database=clear.info.dbname), (("here", "goods"),), on_wait=print)
    clear.execute("DROP TABLE squizzle_log.pruned")  # enabling made it; a log that nobody enabled since has none
    begun = datetime.now(UTC)
    clear.execute("INSERT INTO here.goods VALUES (1)")
    assert len(list(changes_since(clear, ("here", "goods"), begun))) == 1
    assert prune(clear, datetime.now(UTC) + timedelta(hours=1)) == 1


def test_tables_of_a_newer_version_are_worked_on_where_they_say_so_and_refused_where_not(clear: Connection) -> None:
    ensure_history(clear, "here")
    clear.execute("ALTER TABLE here.squizzle_history ADD COLUMN later text NOT NULL DEFAULT 'x'")
    newer = "COMMENT ON TABLE here.squizzle_history IS 'x (table version 9, usable from version {})'"
    clear.execute(newer.format(4).encode())
    ensure_history(clear, "here")
    clear.execute("ALTER TABLE here.squizzle_history DROP COLUMN saved_rows")
    ensure_history(clear, "here")
    (comment,) = clear.execute("SELECT obj_description('here.squizzle_history'::regclass)").fetchone() or ("",)
    assert "version 9" in comment, "what the newer one says of its table stays"
    clear.execute(newer.format(5).encode())
    for work in (ensure_history, read_history):
        with pytest.raises(
            RefusedError, match=r"version 9 of that table, usable from version 5 on, .*knows version 4"
        ) as told:
            work(clear, "here")
        assert "upgrade this Squizzle" in told.value.hint


def test_an_old_table_in_use_is_waited_for_in_short_tries(clear: Connection, access: ServerAccess) -> None:
    _make(clear, SHAPES / "rollout_table.1.sql")
    short = timedelta(milliseconds=20)
    with connect(access, clear.info.dbname, purpose="test reader") as reader:
        with reader.transaction():
            reader.execute("SELECT FROM squizzle.rollout")
            with pytest.raises(LockTimeoutError, match=r"squizzle\.rollout"):
                ensure_tables(clear, ROLLOUT, lock_timeout=short, patience=short)
            assert find_rollout(clear, "shops") is None
        with clear.transaction():  # of the caller, whose settings stay its own
            clear.execute("SET LOCAL lock_timeout = '7s'")
            ensure_tables(clear, ROLLOUT, lock_timeout=short, patience=short)
            assert clear.execute("SHOW lock_timeout").fetchone() == ("7s",)


def test_two_make_the_same_tables_at_once(clear: Connection, access: ServerAccess) -> None:
    sessions = [connect(access, clear.info.dbname, purpose="test") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda one: ensure_tables(one, ROLLOUT), sessions)) == [None] * 4
    for one in sessions:
        one.close()


def test_no_right_is_needed_that_the_work_does_not_take(clear: Connection, access: ServerAccess) -> None:
    with new_role(clear, sql.SQL("LOGIN")) as owner, new_role(clear, sql.SQL("LOGIN")) as reader:
        _make(clear, SHAPES / "rollout_table.1.sql")
        clear.execute(
            sql.SQL("GRANT USAGE ON SCHEMA squizzle TO {0}, {1}; ALTER TABLE squizzle.rollout OWNER TO {0}").format(
                sql.Identifier(owner), sql.Identifier(reader)
            )
        )
        with (
            connect(replace(access, user=owner), clear.info.dbname, purpose="test") as as_owner,
            connect(replace(access, user=reader), clear.info.dbname, purpose="test") as as_reader,
        ):
            with pytest.raises(DatabaseError, match="must be owner") as told:
                ensure_tables(as_reader, ROLLOUT)
            assert "ownership of squizzle.rollout" in told.value.hint
            ensure_tables(as_owner, ROLLOUT)  # who may not create anything, neither schemas nor tables
            ensure_tables(as_reader, ROLLOUT)
        clear.execute("DROP SCHEMA squizzle CASCADE")
