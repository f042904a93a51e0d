"""The query over the catalogue may leave out what would find nothing, and nothing else."""

from __future__ import annotations

from psycopg import sql

from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.proof.digests import digest_schema
from squizzle.proof.schema_query import QUESTIONS, objects_query, query_parts, sources

# One thing alone for each question.
ALONE = {
    "functions": "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "pg_attrdef": "CREATE TABLE t (a int DEFAULT 1)",
    "pg_collation": 'CREATE COLLATION c FROM "C"',
    "pg_conversion": "CREATE CONVERSION v FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8",
    "pg_default_acl": "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO public",
    "pg_enum": "CREATE TYPE e AS ENUM ('a', 'b')",
    "pg_opclass": "CREATE OPERATOR CLASS oc FOR TYPE int USING btree AS OPERATOR 1 <, FUNCTION 1 btint4cmp(int, int)",
    "pg_operator": "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)",
    "pg_opfamily": "CREATE OPERATOR FAMILY of USING btree",
    "pg_policy": "CREATE TABLE t (a int); CREATE POLICY p ON t USING (a > 0)",
    "pg_rewrite": "CREATE TABLE t (a int); CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING",
    "pg_sequence": "CREATE SEQUENCE s",
    "pg_statistic_ext": "CREATE TABLE t (a int, b int); CREATE STATISTICS st ON a, b FROM t",
    "pg_trigger": "CREATE TABLE p (a int PRIMARY KEY); CREATE TABLE t (a int REFERENCES p)",
    "pg_ts_config": "CREATE TEXT SEARCH CONFIGURATION tc (COPY = pg_catalog.simple)",
    "pg_ts_dict": "CREATE TEXT SEARCH DICTIONARY td (TEMPLATE = pg_catalog.simple)",
    "types": "CREATE TYPE c AS (a int); CREATE DOMAIN d AS int CHECK (VALUE > 0)",
}


def test_what_is_left_out_of_the_query_would_have_found_nothing(connection: Connection) -> None:
    assert ALONE.keys() == QUESTIONS.keys()
    whole = load_sql("squizzle.proof", "schema_objects")
    for statement in ["SELECT 1", *ALONE.values()]:
        connection.execute(statement.encode())
        for schema in ("public", None):
            some = objects_query(connection, schema=schema)
            assert len(some) < len(whole)
            wanted = connection.execute(whole, {"schema": schema}).fetchall()
            assert sorted(connection.execute(some, {"schema": schema}).fetchall()) == sorted(wanted), statement
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


def test_each_question_is_about_something_that_a_part_takes_rows_from() -> None:
    subqueries, parts = query_parts()
    assert f"{subqueries}\n".count(" AS (\n") == 5
    assert sql.SQL("\nUNION ALL\n").join(map(sql.SQL, parts)).as_string() in load_sql(
        "squizzle.proof", "schema_objects"
    )
    for name in QUESTIONS:
        assert any(name in sources(part) for part in parts), name


def test_what_a_server_counts_in_its_columns_is_no_difference_and_what_somebody_set_is(connection: Connection) -> None:
    connection.execute("CREATE TABLE t (a int)")
    before = digest_schema(connection)
    connection.execute("UPDATE pg_attribute SET attoptions = '{pg_attver=24460624}' WHERE attrelid = 't'::regclass")
    counted = digest_schema(connection)
    connection.execute("UPDATE pg_attribute SET attoptions = '{n_distinct=4}' WHERE attrelid = 't'::regclass")

    assert counted == before
    assert digest_schema(connection) != before
