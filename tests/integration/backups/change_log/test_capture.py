"""What the change log keeps: everything that happens to a row, whoever does it and however."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from psycopg import sql

from squizzle.backups.change_log.reading import coverage
from squizzle.backups.change_log.switching import disable, enable
from squizzle.errors import InvalidInputError, LockTimeoutError, RefusedError
from squizzle.migrations.records import Timeouts
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target
from tests.support.scratch import new_database

TABLES = """
    CREATE TABLE goods (id int PRIMARY KEY, name text);
    CREATE TABLE events (day int, id int, note text, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
    CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (1) TO (10);
    CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (10) TO (20);
    CREATE TYPE pair AS (a int, b json);
    CREATE TABLE odd (
        id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, f float8, r real, n numeric, b bytea, a int[], j json, k jsonb,
        p pair, c char(5), i interval, t timestamptz, m money, x regclass, twice int GENERATED ALWAYS AS (2 * 3) STORED
    );
    CREATE TABLE keyless (n int);
    CREATE UNLOGGED TABLE forgetful (id int PRIMARY KEY);
    CREATE VIEW seen AS SELECT * FROM goods;
    CREATE TABLE parent (id int PRIMARY KEY);
    CREATE TABLE child () INHERITS (parent)
"""


@pytest.fixture(scope="module")
def place(access: ServerAccess) -> Iterator[str]:
    with (
        connect(access, "postgres", purpose="test") as control,
        new_database(control, sql.SQL("TEMPLATE template0 ENCODING 'UTF8'"), prefix="logged") as name,
    ):
        with connect(access, name, purpose="test") as session:
            session.execute(TABLES.encode())
        yield name


@pytest.fixture
def db(access: ServerAccess, place: str) -> Iterator[Connection]:
    """A session in the shared database; every test logs a table of its own."""
    with connect(access, place, purpose="test") as session:
        yield session


def log(db: Connection, place: str, *names: str, timeouts: Timeouts | None = None) -> list[str]:
    said: list[str] = []
    enable(db, Target(database=place), tuple(("public", one) for one in names), on_wait=said.append, timeouts=timeouts)
    return said


def kept(db: Connection, table: str) -> list[tuple[object, ...]]:
    """Operation, place, OLD and NEW of what was logged of a table; emptied."""
    return db.execute(
        "WITH gone AS (DELETE FROM squizzle_log.change WHERE logged IN"
        " (SELECT id FROM squizzle_log.logged_table WHERE table_name = %s) RETURNING *)"
        " SELECT operation, on_table, old, new FROM gone ORDER BY id",
        (table,),
    ).fetchall()


def test_every_way_to_change_a_row_keeps_both_images_once(db: Connection, place: str) -> None:
    log(db, place, "goods")
    log(db, place, "goods")  # again: not double
    db.execute("INSERT INTO goods VALUES (1, 'a'), (2, 'b')")
    db.execute("UPDATE goods SET name = 'c' WHERE id = 1")
    db.execute("DELETE FROM goods WHERE id = 2")
    assert db.execute("SELECT * FROM goods").fetchall() == [(1, "c")]
    with db.transaction():
        db.execute("SET LOCAL session_replication_role = replica")
        db.execute("UPDATE goods SET name = 'd'")
    db.execute("TRUNCATE goods")
    one, two = {"id": 1, "name": "a"}, {"id": 2, "name": "b"}
    assert kept(db, "goods") == [
        ("INSERT", "goods", None, one),
        ("INSERT", "goods", None, two),
        ("UPDATE", "goods", one, {"id": 1, "name": "c"}),
        ("DELETE", "goods", two, None),
        ("UPDATE", "goods", {"id": 1, "name": "c"}, {"id": 1, "name": "d"}),
        ("TRUNCATE", "goods", {"id": 1, "name": "d"}, None),
    ]
    # What a guide's DISABLE TRIGGER ALL hides cannot be seen, but that it happened can, during and after.
    for command, words in (("DISABLE", "disabled"), ("ENABLE", "changes in between are missing")):
        db.execute(f"ALTER TABLE goods {command} TRIGGER ALL".encode())
        assert all(words in gap for gap in coverage(db)[0].gaps)
        assert len(coverage(db)[0].gaps) == 2
    log(db, place, "goods")
    assert coverage(db)[0].gaps == ()
    disable(db, Target(database=place), (("public", "goods"),), on_wait=print)
    db.execute("INSERT INTO goods VALUES (3, 'x')")
    assert kept(db, "goods") == []
    with pytest.raises(InvalidInputError, match="not logged"):
        disable(db, Target(database=place), (("public", "goods"),), on_wait=print)


def test_partitions_old_and_new_are_logged_by_their_own_names(db: Connection, place: str) -> None:
    log(db, place, "events")
    db.execute("CREATE TABLE events_3 PARTITION OF events FOR VALUES FROM (20) TO (30)")
    with db.transaction():
        db.execute("SET LOCAL session_replication_role = replica")
        db.execute("INSERT INTO events VALUES (1, 1, 'x'), (21, 2, 'y')")
    db.execute("UPDATE events SET day = 11 WHERE day = 1")
    moved = [(operation, at) for operation, at, _, _ in kept(db, "events")]
    assert moved == [("INSERT", "events_1"), ("INSERT", "events_3"), ("DELETE", "events_1"), ("INSERT", "events_2")]
    db.execute("TRUNCATE events")
    assert sorted((what, at) for what, at, _, _ in kept(db, "events")) == [
        ("TRUNCATE", "events_2"),
        ("TRUNCATE", "events_3"),
    ]
    (logged,) = [one for one in coverage(db) if one.table == "events"]
    assert "1 partitions were added later" in logged.gaps[0]
    log(db, place, "events")
    (logged,) = [one for one in coverage(db) if one.table == "events"]
    assert logged.gaps == ()
    db.execute("INSERT INTO events VALUES (22, 3, 'z')")
    db.execute("TRUNCATE events_3")
    assert [(what, at) for what, at, _, _ in kept(db, "events")] == [("INSERT", "events_3"), ("TRUNCATE", "events_3")]
    with pytest.raises(RefusedError, match=r"is a partition of events, which is logged"):
        log(db, place, "events_1")
    disable(db, Target(database=place), (("public", "events"),), on_wait=print)
    assert db.execute("SELECT count(*) FROM pg_trigger WHERE starts_with(tgname, 'squizzle')").fetchone() == (0,)


def test_values_come_back_exactly_whatever_the_session_prints(db: Connection, place: str) -> None:
    log(db, place, "odd")
    db.execute(
        "INSERT INTO odd (f, r, n, b, a, j, k, p, c, i, t, m, x) VALUES"
        " ('NaN', 1.1, 123456789012345678901234567890123456789.10, '\\x00ff5c', '{1,NULL}',"
        " '{\"a\": 1,  \"a\": \"\\u0000\"}', 'null', '(1,\"[ 1]\")', 'ab', '-1 day +2:03', '2024-05-06 07:08+00',"
        " '12.50', 'public.goods'),"
        " (0.1 + 0.2::float8, 'Infinity', 'NaN', '', '[0:1]={7,8}', NULL, NULL, NULL, NULL, '1 year', 'infinity',"
        " NULL, NULL)"
    )
    db.execute("CREATE TEMP TABLE before AS SELECT md5(odd::text) FROM odd ORDER BY id")
    with db.transaction():
        for setting in (
            "extra_float_digits = -15", "intervalstyle = 'sql_standard'", "datestyle = 'SQL, DMY'",
            "bytea_output = 'escape'", "timezone = 'Asia/Kolkata'", "search_path = public",
        ):  # fmt: skip
            db.execute(f"SET LOCAL {setting}".encode())
        db.execute("DELETE FROM odd")
    rows = db.execute(
        "SELECT md5((old_exact::odd)::text) FROM squizzle_log.change WHERE operation = 'DELETE' ORDER BY id"
    )
    assert rows.fetchall() == db.execute("SELECT * FROM before").fetchall()
    assert len(kept(db, "odd")) == 4


def test_a_role_without_rights_is_logged_and_cannot_touch_the_log(
    access: ServerAccess, db: Connection, place: str
) -> None:
    name = f"app_{secrets.token_hex(3)}"
    db.execute("CREATE TABLE tills (id int PRIMARY KEY)")
    log(db, place, "tills")
    db.execute(sql.SQL("CREATE ROLE {0} LOGIN; GRANT ALL ON tills TO {0}").format(sql.Identifier(name)))
    try:
        with connect(
            ServerAccess(host=access.host, port=access.port, user=name), place, purpose="application"
        ) as application:
            # Neither a table nor an operator of their own may take the place of what the triggers call.
            application.execute("CREATE TEMP TABLE change (n int)")
            application.execute("INSERT INTO tills VALUES (1); TRUNCATE tills")
            for attempt in ("SELECT FROM squizzle_log.change", "SELECT squizzle_log.log_row()"):
                with pytest.raises(Exception, match="permission denied for schema squizzle_log"):
                    application.execute(attempt.encode())
        who = db.execute(
            "SELECT DISTINCT session_user_name, role_name, application FROM squizzle_log.change"
            " WHERE on_table = 'tills'"
        ).fetchall()
        assert who == [(name, name, "squizzle application")]
    finally:
        db.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(name)))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("keyless", "no primary key"),
        ("forgetful", "UNLOGGED"),
        ("seen", "is a view"),
        ("parent", "inherit"),
    ],
)
def test_what_cannot_be_logged_is_refused_with_the_reason(db: Connection, place: str, table: str, words: str) -> None:
    before = db.execute("SELECT count(*) FROM pg_trigger").fetchone()
    with pytest.raises(RefusedError, match=words) as caught:
        log(db, place, "odd", table)
    assert caught.value.hint
    assert db.execute("SELECT count(*) FROM pg_trigger").fetchone() == before


def test_a_long_reader_hinders_no_enabling_and_is_named_where_it_hinders_disabling(
    access: ServerAccess, db: Connection, place: str
) -> None:
    db.execute("CREATE TABLE busy (id int PRIMARY KEY)")
    with connect(access, place, purpose="reader") as reader, reader.transaction():
        reader.execute("SELECT FROM busy")
        log(db, place, "busy")  # a reader is no hindrance
        with pytest.raises(LockTimeoutError, match=r"try 2 of 2.*Blocked by session"):
            # Taking the triggers away is: it takes the strongest lock.
            disable(
                db, Target(database=place), (("public", "busy"),), on_wait=print,
                timeouts=Timeouts(attempts=2, budget=Timeouts().lock * 6),
            )  # fmt: skip
    db.execute("INSERT INTO busy VALUES (1)")
    assert len(kept(db, "busy")) == 1


def test_a_table_that_changes_its_shape_goes_on_and_says_so(db: Connection, place: str) -> None:
    db.execute("CREATE TABLE shape (id int PRIMARY KEY, a int, b text)")
    log(db, place, "shape")
    db.execute("INSERT INTO shape VALUES (1, 2, 'x')")
    db.execute("ALTER TABLE shape DROP a; ALTER TABLE shape ADD c jsonb; UPDATE shape SET c = '{}'")
    assert [new for *_, new in kept(db, "shape")] == [{"id": 1, "a": 2, "b": "x"}, {"id": 1, "b": "x", "c": {}}]
    (logged,) = [one for one in coverage(db) if one.table == "shape"]
    assert "then also a integer; now also c jsonb" in logged.gaps[0]
    assert "enable again" in logged.gaps[1]
    db.execute("ALTER TABLE shape RENAME TO form")
    (logged,) = [one for one in coverage(db) if one.table == "shape"]
    assert "public.form is still logged under the old name" in logged.gaps[0]
