"""What was saved is what is restored: a dump and a restore change nothing that the fingerprint calls a difference."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from squizzle.backups.folder_store import FolderStore
from squizzle.backups.records import Backup
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.proof.records import Comparison, SchemaMatch
from squizzle.recovery.restore import verify_copy
from tests.support.scratch import new_database, new_role
from tests.support.shop import load_shop

NASTY = Path(__file__).resolve().parents[2] / "support" / "nasty.sql"

RoundTrip = Callable[[str], Comparison]


@pytest.fixture
def round_trip(access: ServerAccess, take: Callable[[str], Backup], restore: Callable[..., None]) -> RoundTrip:
    """Back a database up, restore it beside, and compare the copy with the manifest."""

    def start(database: str) -> Comparison:
        backup = take(database)
        into = f"{database}__copy"
        restore(backup, into)
        with connect(access, into, purpose="test") as copy:
            return verify_copy(copy, backup)

    return start


@pytest.fixture
def roles(access: ServerAccess) -> Iterator[dict[str, str]]:
    nologin = sql.SQL("NOLOGIN")
    with (
        connect(access, "postgres", purpose="test") as control,
        new_role(control, nologin) as older,
        new_role(control, nologin) as newer,
    ):
        yield {"older": older, "newer": newer}


@pytest.fixture
def nasty(roles: dict[str, str], access: ServerAccess, control: Connection) -> Iterator[str]:
    """A database with everything whose text a dump and a restore may bring back otherwise."""
    with new_database(control, sql.SQL("TEMPLATE template0 ENCODING 'UTF8'"), prefix="nasty") as name:
        with connect(access, name, purpose="test") as session:
            session.execute(NASTY.read_text(encoding="utf-8").format(**roles).encode())
        yield name


def assert_same(comparison: Comparison) -> None:
    assert comparison.sentences() == ()
    assert comparison.is_equal


def test_example_shop_comes_back_as_it_was(access: ServerAccess, database: str, round_trip: RoundTrip) -> None:
    load_shop(access, database)
    comparison = round_trip(database)
    assert_same(comparison)
    rows = {table.table: table.found_rows or 0 for table in comparison.tables}
    assert rows["public.users"] > 300
    assert rows["public.squizzle_history"] == 12
    assert sum(count for name, count in rows.items() if name.startswith("public.orders_20")) > 500


def test_grown_schema_comes_back_with_the_same_meaning(nasty: str, round_trip: RoundTrip) -> None:
    comparison = round_trip(nasty)
    assert_same(comparison)
    # In other words, though: that is what the canonical spelling is for.
    assert comparison.schema is SchemaMatch.LOGICAL
    assert sum(table.found_rows or 0 for table in comparison.tables) > 300


def test_copy_of_the_copy_is_the_same_to_the_letter(
    connection: Connection, database: str, store: FolderStore, round_trip: RoundTrip
) -> None:
    connection.execute("CREATE TABLE t (v varchar CHECK (v IN ('a', 'b')), n int CHECK (n BETWEEN 1 AND 9 AND n <> 5))")
    assert round_trip(database).schema is SchemaMatch.LOGICAL
    shutil.rmtree(store.folder)
    assert round_trip(f"{database}__copy").schema is SchemaMatch.EXACT


def test_database_that_lost_what_every_database_has_comes_back_without_it(
    connection: Connection, database: str, round_trip: RoundTrip
) -> None:
    connection.execute("DROP SCHEMA public; DROP EXTENSION plpgsql; CREATE SCHEMA app; CREATE TABLE app.t (n int)")
    assert_same(round_trip(database))


def test_public_schema_that_was_made_again_comes_back_as_it_is(
    connection: Connection, database: str, round_trip: RoundTrip
) -> None:
    connection.execute("DROP SCHEMA public; CREATE SCHEMA public; GRANT ALL ON SCHEMA public TO PUBLIC")
    connection.execute("CREATE TABLE public.t (n int)")
    assert_same(round_trip(database))


def make_extensions(session: Connection) -> None:
    """Two, one of them with a table that a dump passes over; not on every server."""
    query = "SELECT FROM pg_available_extensions WHERE name IN ('hstore', 'citext')"
    if session.execute(query).rowcount == 2:
        session.execute("CREATE SCHEMA ext; CREATE EXTENSION hstore SCHEMA ext; CREATE EXTENSION citext SCHEMA ext")
        session.execute("COMMENT ON EXTENSION hstore IS 'pairs'")
        session.execute("CREATE TABLE e (h ext.hstore, c ext.citext DEFAULT 'A' CHECK (c IN ('A', 'b')))")
        session.execute("INSERT INTO e VALUES ('a=>1'), (NULL)")
        session.execute("CREATE TABLE by_extension (n int); ALTER EXTENSION citext ADD TABLE by_extension")
        session.execute("INSERT INTO by_extension VALUES (1)")


def make_invalid_index(session: Connection) -> None:
    """What a failed CREATE UNIQUE INDEX CONCURRENTLY leaves behind; pg_dump passes it over in silence."""
    session.execute("CREATE TABLE t AS SELECT 1 AS n FROM generate_series(1, 2)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        session.execute("CREATE UNIQUE INDEX CONCURRENTLY t_n_key ON t (n)")
    assert session.execute("SELECT indisvalid FROM pg_index WHERE indrelid = 't'::regclass").fetchone() == (False,)


def make_unfinished_index(session: Connection) -> None:
    """An index on a partitioned table whose partitions have none yet."""
    session.execute("CREATE TABLE p (n int) PARTITION BY LIST (n); CREATE TABLE p_1 PARTITION OF p FOR VALUES IN (1)")
    session.execute("CREATE INDEX p_n_idx ON ONLY p (n)")


def make_withdrawn_privileges(session: Connection, role: str) -> None:
    """Given and taken again: the catalogue then holds the defaults where it held nothing."""
    session.execute("CREATE SEQUENCE s; CREATE TYPE k AS ENUM ('a'); CREATE TABLE granted (n int)")
    session.execute("CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1")
    for what in ("TABLE granted", "SEQUENCE s", "FUNCTION f()", "SCHEMA public", "TYPE k", "LANGUAGE plpgsql"):
        session.execute(f"GRANT ALL ON {what} TO {role}; REVOKE ALL ON {what} FROM {role}".encode())


def test_leftovers_of_a_long_life_make_no_difference(
    connection: Connection, database: str, round_trip: RoundTrip, roles: dict[str, str]
) -> None:
    make_extensions(connection)
    make_invalid_index(connection)
    make_unfinished_index(connection)
    make_withdrawn_privileges(connection, roles["older"])
    assert_same(round_trip(database))


def test_foreign_keys_that_were_switched_off_come_back_switched_on_and_that_is_told(
    connection: Connection, database: str, round_trip: RoundTrip
) -> None:
    connection.execute("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (a int CONSTRAINT b_a REFERENCES a)")
    connection.execute("ALTER TABLE b DISABLE TRIGGER ALL")
    assert round_trip(database).sentences() == ("changed: constraint triggers public.b for public.b.b_a",)


def test_other_encoding_comes_back_byte_by_byte(
    access: ServerAccess, control: Connection, round_trip: RoundTrip
) -> None:
    with new_database(control, sql.SQL("TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")) as name:
        with connect(access, name, purpose="test") as session:
            session.execute(rb"CREATE TABLE t AS SELECT convert_from('\xe9', 'LATIN1') AS v")
        assert_same(round_trip(name))
        with connect(access, f"{name}__copy", purpose="test") as copy:
            query = "SELECT getdatabaseencoding(), v, octet_length(v) FROM t"
            assert copy.execute(query).fetchone() == ("LATIN1", "é", 1)


DIFFERENCES = {
    "DELETE FROM a WHERE n = 1": "public.a: 2 rows, expected 3 rows",
    "UPDATE b SET n = 9 WHERE n = 1": "public.b: 3 rows, but not the same ones",
    "DROP TABLE c": "public.c: not there, expected 3 rows",
    "DROP INDEX a_n_idx": "missing: index public.a_n_idx",
    "ALTER TABLE a ALTER n SET DEFAULT 2": "unexpected: default public.a.n",
    "CREATE VIEW v AS SELECT 1 AS one": "unexpected: view public.v",
    "SELECT setval('s', 1)": "sequence behind: public.s stands at 1, expected at least 5",
    "GRANT SELECT ON b TO PUBLIC": "changed: table public.b",
}


def test_every_difference_of_a_copy_is_told(
    connection: Connection, database: str, take: Callable[[str], Backup]
) -> None:
    for table in ("a", "b", "c"):
        connection.execute(sql.SQL("CREATE TABLE {} (n) AS VALUES (1), (2), (3)").format(sql.Identifier(table)))
    connection.execute("CREATE INDEX a_n_idx ON a (n); CREATE SEQUENCE s; SELECT setval('s', 5)")
    backup = take(database)
    assert_same(verify_copy(connection, backup))
    for change, sentence in DIFFERENCES.items():
        connection.execute(change.encode())
        assert sentence in verify_copy(connection, backup).sentences()
    assert not verify_copy(connection, backup).is_equal
    assert {"missing: table public.c", *DIFFERENCES.values()} == set(verify_copy(connection, backup).sentences())
