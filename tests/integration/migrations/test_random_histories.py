"""Histories put together by chance: up, down and up again end with the very same schema, in the strict sense."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.operations import apply_versions, roll_back_versions
from squizzle.migrations.records import Migration
from squizzle.postgres.access import Connection, connect
from squizzle.postgres.embedded import ServerAddress
from squizzle.postgres.identity import Target
from squizzle.proof.digests import digest_schema
from tests.integration.conftest import access_to
from tests.support.scratch import new_database

# A change and its way back; # is a number of its own.
CHANGES = [
    ("CREATE TABLE t# (a int PRIMARY KEY, b text DEFAULT 'x;y')", "DROP TABLE t#"),
    ("ALTER TABLE base ADD c# int NOT NULL DEFAULT 7", "ALTER TABLE base DROP c#"),
    ("ALTER TABLE base ADD CONSTRAINT k# CHECK (a <> #) NOT VALID", "ALTER TABLE base DROP CONSTRAINT k#"),
    ("CREATE INDEX CONCURRENTLY i# ON base (b, a)", "DROP INDEX CONCURRENTLY i#"),
    ("CREATE UNIQUE INDEX i# ON base (lower(b)) WHERE a > #", "DROP INDEX i#"),
    ("CREATE VIEW v# AS SELECT a, b FROM base WHERE a > #", "DROP VIEW v#"),
    ("CREATE TYPE e# AS ENUM ('a', 'b'); ALTER TYPE e# ADD VALUE 'c'", "DROP TYPE e#"),
    (
        "CREATE TYPE e# AS ENUM ('a'); COMMIT; ALTER TYPE e# ADD VALUE 'it''s'; CREATE TABLE u# (e e# DEFAULT 'it''s')",
        "DROP TABLE u#; DROP TYPE e#",
    ),
    ("CREATE FUNCTION f#() RETURNS text LANGUAGE sql AS $b$ SELECT ';' -- $b$", "DROP FUNCTION f#()"),
    (
        "CREATE FUNCTION g#(x int) RETURNS int BEGIN ATOMIC SELECT CASE x WHEN # THEN 1 END; END",
        "DROP FUNCTION g#(int)",
    ),
    ("BEGIN; CREATE SEQUENCE s# START #; COMMENT ON SEQUENCE s# IS 'a;b'; COMMIT", "BEGIN; DROP SEQUENCE s#; COMMIT"),
    ("DO $$ BEGIN INSERT INTO base VALUES (#); COMMIT; END $$", "DELETE FROM base WHERE a = #"),
    ("ALTER TABLE base ENABLE ROW LEVEL SECURITY; CREATE POLICY p# ON base USING (a = #)", "DROP POLICY p# ON base"),
    ("VACUUM base", "ANALYZE base"),
    ("GRANT UPDATE (b) ON base TO pg_monitor", "SELECT 'grants stay;'"),
]
# Applied first and rolled back last, so that what the others leave is gone with it.
BASE = ("CREATE TABLE base (a int, b text)", "DROP TABLE base")


@pytest.fixture(scope="module")
def empty(servers: Callable[[str], ServerAddress]) -> Iterator[Connection]:
    """A session in a database that is empty again after each history."""
    access = access_to(servers("embedded"))
    with connect(access, "postgres", purpose="control") as control:
        options = sql.SQL("TEMPLATE template0")
        with new_database(control, options) as database, connect(access, database, purpose="test") as connection:
            yield connection


def write(folder: Path, versions: list[list[tuple[str, str]]]) -> tuple[Migration, ...]:
    shutil.rmtree(folder, ignore_errors=True)
    for version, changes in enumerate([[BASE], *versions], 1):
        place = folder / f"{version}_change"
        place.mkdir(parents=True)
        for name, way in (("up", 0), ("down", 1)):
            scripts = [change[way].replace("#", str(100 * version + number)) for number, change in enumerate(changes)]
            (place / f"{name}.sql").write_text(";\n".join(scripts[::-1] if way else scripts))
    return read_migrations(folder)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(versions=st.lists(st.lists(st.sampled_from(CHANGES), min_size=1, max_size=4), min_size=2, max_size=6))
def test_up_down_and_up_again_is_the_same_schema(
    empty: Connection, tmp_path: Path, versions: list[list[tuple[str, str]]]
) -> None:
    migrations = write(tmp_path / "migrations", versions)
    target = Target(database=empty.info.dbname)
    strict = [digest_schema(empty, schema="public").strict]
    for way in (up, down, up, down):
        way(empty, target, migrations)
        strict.append(digest_schema(empty, schema="public").strict)

    assert strict[0::2] == [strict[0]] * 3
    assert strict[1::2] == [strict[1]] * 2


def up(connection: Connection, target: Target, migrations: tuple[Migration, ...]) -> None:
    apply_versions(connection, target, migrations)


def down(connection: Connection, target: Target, migrations: tuple[Migration, ...]) -> None:
    roll_back_versions(connection, target, migrations, to="1")
    roll_back_versions(connection, target, migrations, only="1")
