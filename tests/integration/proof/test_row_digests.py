"""The fingerprint of rows: it depends on every value, and on nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace

import pytest
from psycopg import sql

from squizzle.errors import DatabaseError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.proof.comparison import compare_digests
from squizzle.proof.digests import digest_database
from squizzle.proof.records import DatabaseDigest, TableDigest
from tests.support.scratch import new_database, new_role


@pytest.fixture(scope="module")
def shared(access: ServerAccess) -> Iterator[Connection]:
    """A session in a database for all tests of this module; each makes schemas of its own."""
    with (
        connect(access, "postgres", purpose="test") as control,
        new_database(control, sql.SQL("TEMPLATE template0 ENCODING 'UTF8'")) as name,
        connect(access, name, purpose="test") as session,
    ):
        yield session


@pytest.fixture
def session(shared: Connection) -> Iterator[Connection]:
    """The same session with an empty schema as its own."""
    schema = sql.Identifier(f"s_{secrets.token_hex(3)}")
    shared.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
    shared.execute(sql.SQL("SET search_path = {}, public").format(schema))
    yield shared
    shared.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(schema))


def digest(session: Connection) -> DatabaseDigest:
    [(schema,)] = session.execute("SELECT current_schema()")
    return digest_database(session, schema=schema)


def rows_of(session: Connection, table: str) -> TableDigest:
    """The fingerprint of a table, without the name."""
    [found] = [one for one in digest(session).tables if one.table.endswith(f".{table}")]
    return replace(found, table="")


def run(session: Connection, *statements: str) -> None:
    for statement in statements:
        session.execute(statement.encode())


def test_order_of_rows_does_not_matter(session: Connection) -> None:
    run(
        session,
        "CREATE TABLE a (n int, t text)",
        "CREATE TABLE b (n int, t text)",
        "INSERT INTO a SELECT n, 'x' || n FROM generate_series(1, 500) n",
        "INSERT INTO b SELECT n, 'x' || n FROM generate_series(500, 1, -1) n",
        "UPDATE b SET t = t WHERE n % 3 = 0",
    )
    assert rows_of(session, "a") == rows_of(session, "b")


def test_physical_order_of_columns_and_dropped_ones_do_not_matter(session: Connection) -> None:
    run(
        session,
        "CREATE TABLE a (n int, t text, d date)",
        "CREATE TABLE b (gone int, d date, t text, n int)",
        "ALTER TABLE b DROP COLUMN gone",
        "INSERT INTO a VALUES (1, 'x', '2025-01-02'), (2, NULL, NULL)",
        "INSERT INTO b (n, t, d) SELECT n, t, d FROM a",
    )
    assert rows_of(session, "a") == rows_of(session, "b")


CHANGES = {
    "one character": ("text", "'abc'", "'abd'"),
    "case": ("text", "'abc'", "'Abc'"),
    "trailing blank": ("text", "'abc'", "'abc '"),
    "NULL and empty": ("text", "NULL", "''"),
    "NULL and its name": ("text", "NULL", "'NULL'"),
    "quotes": ("text", "'a\"b'", "'a\"\"b'"),
    "comma": ("text", "'a,b'", "'a;b'"),
    "normal forms of Unicode": ("text", r"U&'\00e9'", r"U&'e\0301'"),
    "long value": ("text", "repeat('x', 100000)", "repeat('x', 99999) || 'y'"),
    "scale of a numeric": ("numeric", "1.0", "1.00"),
    "digit far behind": ("numeric", "0.1234567890123456789012345678901", "0.1234567890123456789012345678902"),
    "last bit of a float": ("float8", "0.1", "0.10000000000000002"),
    "last bit of a real": ("real", "0.1", "0.10000001"),
    "NaN": ("float8", "'NaN'", "NULL"),
    "NaN and infinity": ("float8", "'NaN'", "'Infinity'"),
    "signed zero": ("float8", "'-0'", "0"),
    "infinite numeric": ("numeric", "'Infinity'", "'-Infinity'"),
    "white space of json": ("json", """'{"a":1}'""", """'{"a": 1}'"""),
    "key order of json": ("json", """'{"a":1,"b":2}'""", """'{"b":2,"a":1}'"""),
    "duplicate key of json": ("json", """'{"a":1,"a":1}'""", """'{"a":1}'"""),
    "jsonb null and NULL": ("jsonb", "'null'", "NULL"),
    "jsonb number and string": ("jsonb", "'1'", "'\"1\"'"),
    "scale in jsonb": ("jsonb", "'1.0'", "'1.00'"),
    "byte": ("bytea", r"'\x00ff'", r"'\x00fe'"),
    "zero byte at the end": ("bytea", r"'\x01'", r"'\x0100'"),
    "array and its nesting": ("int[]", "'{1,2}'", "'{{1,2}}'"),
    "array bounds": ("int[]", "'{1,2}'", "'[0:1]={1,2}'"),
    "NULL in an array": ("text[]", "ARRAY['a', NULL]", "ARRAY['a', 'NULL']"),
    "empty array": ("int[]", "'{}'", "NULL"),
    "time zone": ("timestamptz", "'2025-01-01 00:00+00'", "'2025-01-01 00:00+01'"),
    "microsecond": ("timestamp", "'2025-01-01 00:00:00.000001'", "'2025-01-01 00:00:00.000002'"),
    "infinite time": ("timestamptz", "'infinity'", "'-infinity'"),
    "years before": ("date", "'0044-03-15 BC'", "'0044-03-15'"),
    "days and months": ("interval", "'1 month'", "'30 days'"),
    "days and hours": ("interval", "'1 day'", "'24 hours'"),
    "time with zone": ("timetz", "'12:00+00'", "'13:00+01'"),
    "money": ("money", "1.25", "1.26"),
    "bounds of a range": ("numrange", "'[1,2]'", "'[1,2)'"),
    "empty range": ("int4range", "'empty'", "NULL"),
    "multirange": ("int4multirange", "'{[1,3),[5,7)}'", "'{[1,7)}'"),
    "address": ("inet", "'10.0.0.1/8'", "'10.0.0.1/16'"),
    "bits": ("bit varying", "B'01'", "B'010'"),
    "uuid": ("uuid", "'6b9f6a9e-0000-0000-0000-000000000000'", "'6b9f6a9e-0000-0000-0000-000000000001'"),
    "search vector": ("tsvector", "'a:1'", "'a:1A'"),
    "boolean": ("boolean", "true", "NULL"),
    "point": ("point", "'(1,2)'", "'(2,1)'"),
    "internal char": ('"char"', "'a'", "'b'"),
    "enum": ("kind", "'low'", "'high'"),
    "composite": ("pair", "ROW(1, NULL)", "ROW(1, '')"),
    "NULL and composite of NULLs": ("pair", "NULL", "ROW(NULL, NULL)"),
    "array of composites": ("pair[]", "ARRAY[ROW(1, 'a')::pair]", "ARRAY[ROW(1, 'b')::pair]"),
    "domain": ("short", "'a'", "'b'"),
    "object names": ("regclass", "'pg_class'", "'pg_type'"),
}


@pytest.fixture(scope="module")
def fingerprints(shared: Connection) -> dict[str, TableDigest]:
    """Of one table for each value; all in one go."""
    run(
        shared,
        "CREATE SCHEMA v",
        "SET search_path = v",
        "CREATE TYPE kind AS ENUM ('low', 'high')",
        "CREATE TYPE pair AS (n int, t text)",
        "CREATE DOMAIN short AS text",
    )
    for number, (kind, one, other) in enumerate(CHANGES.values()):
        for name, value in (("one", one), ("other", other), ("again", one)):
            run(shared, f"CREATE TABLE {name}_{number} AS SELECT 1 AS id, ({value})::{kind} AS v")
    return {one.table: replace(one, table="") for one in digest_database(shared, schema="v").tables}


@pytest.mark.parametrize("number", range(len(CHANGES)), ids=list(CHANGES))
def test_every_value_counts(fingerprints: dict[str, TableDigest], number: int) -> None:
    assert fingerprints[f"v.one_{number}"] == fingerprints[f"v.again_{number}"]
    assert fingerprints[f"v.one_{number}"] != fingerprints[f"v.other_{number}"]


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO b VALUES (1, 2), (1, 2)",
        "INSERT INTO b VALUES (8, 9), (8, 9)",
        "UPDATE b SET n = m, m = n WHERE n = 3",
        "UPDATE b SET n = 3 - n WHERE n < 3",
        "DELETE FROM b WHERE n = 1",
        "DELETE FROM b",
        "UPDATE b SET n = 2, m = 2 WHERE n = 1; INSERT INTO b VALUES (1, 1); DELETE FROM b WHERE n = 3",
    ],
    ids=["known pair", "new pair", "columns swapped", "values moved between rows", "one row", "all rows", "mixed"],
)
def test_every_row_counts_as_often_as_it_is_there(session: Connection, change: str) -> None:
    rows = "SELECT * FROM (VALUES (1, 2), (2, 1), (3, 4), (3, 4)) AS v (n, m)"
    run(session, f"CREATE TABLE a AS {rows}", f"CREATE TABLE b AS {rows}")
    assert rows_of(session, "a") == rows_of(session, "b")
    run(session, change)
    assert rows_of(session, "a") != rows_of(session, "b")


SETTINGS = {
    "DateStyle": "German, DMY",
    "TimeZone": "Asia/Kathmandu",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "xmloption": "document",
    "quote_all_identifiers": "on",
    "search_path": "public",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
}


def test_settings_of_database_and_role_do_not_matter(
    access: ServerAccess, control: Connection, session: Connection
) -> None:
    run(
        session,
        "CREATE TABLE a AS SELECT n, now() AS at, now()::timestamp AS local, n * interval '1 day 1 hour' AS i,"
        " n / 3.0::float8 AS f, sha256(n::text::bytea) AS b, 'pg_class'::regclass AS r, n::text::money AS m,"
        " tstzrange(now(), now() + n * interval '1 h') AS t, ARRAY[now()] AS x, ROW(now(), n / 3.0::real)::text AS y"
        " FROM generate_series(1, 50) n",
        "ALTER TABLE a ADD CONSTRAINT c CHECK (at > '2020-01-01 00:00+00' AND i > '1 minute' AND f > 0.1)",
        "CREATE TABLE links AS SELECT 'a'::regclass AS r",
    )
    expected = digest(session)
    [(schema,)] = session.execute("SELECT current_schema()")
    with new_role(control, sql.SQL("LOGIN SUPERUSER")) as role:
        for name, value in SETTINGS.items():
            for whose in (
                sql.SQL("ROLE {}").format(sql.Identifier(role)),
                sql.SQL("DATABASE {}").format(sql.Identifier(session.info.dbname)),
            ):
                control.execute(sql.SQL("ALTER {} SET {} TO {}").format(whose, sql.Identifier(name), value))
        try:
            with connect(replace(access, user=role), session.info.dbname, purpose="test") as other:
                assert other.execute("SELECT current_setting('TimeZone')").fetchone() == ("Asia/Kathmandu",)
                assert digest_database(other, schema=schema) == expected
        finally:
            control.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(sql.Identifier(session.info.dbname)))


def test_settings_of_the_session_come_back_afterwards(session: Connection) -> None:
    session.execute("SET TimeZone = 'Asia/Kathmandu'")
    [before] = session.execute("SELECT current_setting('TimeZone'), current_setting('search_path')")
    digest(session)
    assert list(session.execute("SELECT current_setting('TimeZone'), current_setting('search_path')")) == [before]


def test_same_rows_have_the_same_fingerprint_on_every_server(session: Connection) -> None:
    # A literal: a manifest written on one version is read on another.
    run(
        session,
        "CREATE TABLE a (id int, t text, n numeric, f float8, at timestamptz, b bytea, j jsonb)",
        r"""INSERT INTO a VALUES (1, 'ünï', 1.50, 0.1, '2025-01-01 12:00+02', '\x00ff', '{"k": [1, null]}')""",
        "INSERT INTO a VALUES (2, NULL, 'NaN', '-Infinity', 'infinity', '', NULL)",
    )
    assert rows_of(session, "a") == TableDigest(table="", rows=2, digest="12294842227579698567")


def test_table_without_columns_counts_its_rows(session: Connection) -> None:
    run(session, "CREATE TABLE a ()", "CREATE TABLE b ()", "INSERT INTO a DEFAULT VALUES")
    assert rows_of(session, "a").rows == 1
    assert rows_of(session, "b").rows == 0
    assert rows_of(session, "a") != rows_of(session, "b")


@pytest.mark.parametrize("name", ['Mixed "Case"', "täble ☃", "a.b", "100%s", "'; --", "select", " "])
def test_odd_names_are_only_names(session: Connection, name: str) -> None:
    table, column = sql.Identifier(name), sql.Identifier(f"c {name}")
    session.execute(sql.SQL("CREATE TABLE {} ({} int, id serial)").format(table, column))
    before = digest(session)
    session.execute(sql.SQL("INSERT INTO {} ({}) VALUES (1)").format(table, column))
    after = digest(session)
    [(quoted,)] = session.execute("SELECT format('%%I.%%I', current_schema(), %s::text)", (name,))
    assert [one.table for one in after.tables] == [quoted]
    assert compare_digests(before, after).different_tables[0].found_rows == 1


def test_rows_of_partitions_are_counted_where_they_lie(session: Connection) -> None:
    run(
        session,
        "CREATE TABLE a (n int) PARTITION BY RANGE (n)",
        "CREATE TABLE a_1 PARTITION OF a FOR VALUES FROM (0) TO (10) PARTITION BY LIST (n)",
        "CREATE TABLE a_1_5 PARTITION OF a_1 FOR VALUES IN (5)",
        "CREATE TABLE a_rest PARTITION OF a DEFAULT",
        "INSERT INTO a VALUES (5), (50), (51)",
    )
    rows = {one.table.rpartition(".")[2]: one.rows for one in digest(session).tables}
    assert rows == {"a_1_5": 1, "a_rest": 2}


def test_rows_of_children_do_not_count_for_the_parent(session: Connection) -> None:
    run(session, "CREATE TABLE a (n int)", "CREATE TABLE b () INHERITS (a)", "INSERT INTO b VALUES (1), (2)")
    assert rows_of(session, "a").rows == 0
    assert rows_of(session, "b").rows == 2


def test_unlogged_tables_and_generated_columns_count(session: Connection) -> None:
    run(
        session,
        "CREATE UNLOGGED TABLE a (n int, twice int GENERATED ALWAYS AS (n * 2) STORED)",
        "CREATE UNLOGGED TABLE b (n int, twice int)",
        "INSERT INTO a VALUES (1), (2)",
        "INSERT INTO b VALUES (1, 2), (2, 4)",
    )
    assert rows_of(session, "a") == rows_of(session, "b")


def test_rows_of_views_and_foreign_tables_are_not_rows(session: Connection) -> None:
    run(session, "CREATE VIEW v AS SELECT 1 AS one", "CREATE MATERIALIZED VIEW m AS SELECT 1 AS one")
    assert digest(session).tables == ()


def test_rows_that_an_extension_keeps_for_itself_are_left_out(session: Connection) -> None:
    # A dump saves none of them, and CREATE EXTENSION brings its own.
    run(session, "CREATE TABLE kept (n int)", "ALTER EXTENSION plpgsql ADD TABLE kept")
    try:
        assert digest(session).tables == ()
    finally:
        run(session, "ALTER EXTENSION plpgsql DROP TABLE kept")


def test_own_history_counts_only_when_asked(session: Connection) -> None:
    run(session, "CREATE TABLE squizzle_history (n int)", "CREATE TABLE a (n int)")
    [(schema,)] = session.execute("SELECT current_schema()")
    without = digest_database(session, schema=schema)
    whole = digest_database(session, schema=schema, bookkeeping=True)
    assert [one.table for one in without.tables] == [f"{schema}.a"]
    assert [one.table for one in whole.tables] == [f"{schema}.a", f"{schema}.squizzle_history"]


def test_fingerprint_is_an_error_where_a_policy_would_hide_rows(
    access: ServerAccess, control: Connection, session: Connection
) -> None:
    with new_role(control, sql.SQL("LOGIN")) as role:
        [(schema,)] = session.execute("SELECT current_schema()")
        run(
            session,
            f"GRANT USAGE ON SCHEMA {schema} TO {role}",
            "CREATE TABLE a AS SELECT n FROM generate_series(1, 5) n",
            f"GRANT SELECT ON a TO {role}",
            "ALTER TABLE a ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY p ON a USING (n < 3)",
        )
        with connect(replace(access, user=role), session.info.dbname, purpose="test") as other:
            other.execute(f"SET search_path = {schema}".encode())
            assert other.execute("SELECT count(*) FROM a").fetchone() == (2,)
            with pytest.raises(DatabaseError, match="row-level security"):
                digest_database(other, schema=schema)
        run(session, "DROP TABLE a", f"REVOKE ALL ON SCHEMA {schema} FROM {role}")


def test_table_that_may_not_be_read_is_named_with_a_hint(
    access: ServerAccess, control: Connection, session: Connection
) -> None:
    with new_role(control, sql.SQL("LOGIN")) as role:
        [(schema,)] = session.execute("SELECT current_schema()")
        run(session, f"GRANT USAGE ON SCHEMA {schema} TO {role}", "CREATE TABLE secret_one ()")
        with (
            connect(replace(access, user=role), session.info.dbname, purpose="test") as other,
            pytest.raises(DatabaseError, match="permission denied for table secret_one") as caught,
        ):
            digest_database(other, schema=schema)
        assert caught.value.sqlstate == "42501"
        assert "owner" in caught.value.hint
        run(session, f"REVOKE ALL ON SCHEMA {schema} FROM {role}")


def test_sequence_may_stand_higher_but_never_lower(session: Connection) -> None:
    run(session, "CREATE SEQUENCE up", "CREATE SEQUENCE down INCREMENT -1", "CREATE SEQUENCE unused")
    run(session, "SELECT setval('up', 10)", "SELECT setval('down', -10)")
    start = digest(session)
    run(session, "SELECT nextval('up'), nextval('down'), nextval('unused')")
    later = digest(session)
    assert compare_digests(start, later).is_equal
    assert len(compare_digests(later, start).sequences) == 3


def test_missing_sequence_is_told(session: Connection) -> None:
    run(session, "CREATE SEQUENCE gone")
    start = digest(session)
    run(session, "DROP SEQUENCE gone")
    [told] = compare_digests(start, digest(session)).sequences
    assert told.endswith("gone is not there")


def test_sequence_at_the_end_of_its_range_is_read(session: Connection) -> None:
    run(session, "CREATE SEQUENCE down INCREMENT -1 MINVALUE -9223372036854775808")
    run(session, "SELECT setval('down', -9223372036854775808)")
    [position] = digest(session).sequences.values()
    assert position is not None
    assert position > 0


def test_database_without_an_encoding_is_fingerprinted(access: ServerAccess, control: Connection) -> None:
    options = sql.SQL("TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
    with (
        new_database(control, options) as name,
        connect(access, name, purpose="test") as session,
    ):
        session.execute("CREATE TABLE a (t text)")
        session.execute(r"INSERT INTO a VALUES (E'\xe9')")
        assert [(one.table, one.rows) for one in digest_database(session).tables] == [("public.a", 1)]


def test_fingerprint_changes_nothing(session: Connection) -> None:
    run(session, "CREATE TABLE a (n int)")
    first = digest(session)
    assert digest(session) == first
    assert session.info.transaction_status.name == "IDLE"
