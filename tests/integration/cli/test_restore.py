"""`squizzle restore --into`: a database beside the others or in the place of one, proven first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg import sql

from squizzle.backups.files import MANIFEST_NAME
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.manifest import to_json
from squizzle.errors import LockTimeoutError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.database_properties import read_properties
from squizzle.recovery.fence import is_fenced
from squizzle.recovery.single_flight import lock_recovery
from tests.integration.cli.conftest import Squizzle, url_of
from tests.support.names import databases
from tests.support.scratch import new_database

pytestmark = pytest.mark.one_server

PROMISED = ["database", "verified", "duration_ms", "differences", "switched_over", "kept_as"]
# Rows that refer to each other both ways, something that watches over rows, and what is filled from them.
FILL = """
    CREATE TABLE people (id int PRIMARY KEY, boss int REFERENCES people, name text NOT NULL CHECK (name <> ''));
    INSERT INTO people SELECT n, 301 - n, 'person ' || n FROM generate_series(1, 300) n;
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not now'; END$$;
    CREATE TRIGGER closed BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION refuse();
    CREATE MATERIALIZED VIEW bosses AS SELECT boss, count(*) FROM people GROUP BY boss;
    CREATE SEQUENCE numbers; SELECT setval('numbers', 42);
    SELECT lo_from_bytea(0, 'a large object')
"""


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


Take = Callable[..., str]


@pytest.fixture
def take(squizzle: Squizzle, store: FolderStore) -> Take:
    """Take a backup; its id."""

    def run(kind: str, *more: str, **environment: str) -> str:
        done = squizzle("backup", kind, "--store", store.address, "--json", *more, **environment)
        assert done.code == 0, done.err
        return str(done.document["id"])

    return run


def rows_of(access: ServerAccess, database: str) -> object:
    with connect(access, database, purpose="look") as session:
        return session.execute("SELECT count(*), max(name) FROM people").fetchone()


def test_a_backup_comes_back_beside_and_then_in_the_place_of_the_damaged_one(
    squizzle: Squizzle,
    take: Take,
    store: FolderStore,
    connection: Connection,
    access: ServerAccess,
    control: Connection,
) -> None:
    database = connection.info.dbname
    connection.execute(FILL.encode())
    control.execute(
        f"COMMENT ON DATABASE {database} IS 'our shop'; ALTER DATABASE {database} SET work_mem = '7MB'".encode()
    )
    backup = take("full")
    properties = read_properties(control, database)
    connection.execute("DROP TABLE people CASCADE")
    options = ("--store", store.address, "--json")

    beside = squizzle("restore", backup, "--into", f"{database}_beside", *options)

    assert beside.code == 0, beside.err
    assert list(beside.document) == PROMISED
    assert beside.document["database"] == f"{database}_beside"
    assert (beside.document["verified"], beside.document["differences"]) == (True, [])
    assert (beside.document["switched_over"], beside.document["kept_as"]) == (False, None)
    assert rows_of(access, f"{database}_beside") == (300, "person 99")
    assert read_properties(control, f"{database}_beside") == properties
    # It is somebody's now.
    again = squizzle("restore", backup, "--into", f"{database}_beside", *options)
    assert again.code == 7
    assert "exists already and was not made by a restore" in again.error["message"]

    swapped = squizzle("restore", backup, "--into", f"{database}_new", "--switch-over", *options)

    assert swapped.code == 0, swapped.err
    kept = swapped.document["kept_as"]
    assert (swapped.document["database"], swapped.document["switched_over"]) == (database, True)
    assert databases(control, database) == {database, f"{database}_beside", kept}
    assert rows_of(access, database) == (300, "person 99")
    assert read_properties(control, database) == properties
    assert is_fenced(control, kept)


def test_what_is_not_what_was_saved_is_told_kept_closed_and_never_swapped_in(
    squizzle: Squizzle, take: Take, store: FolderStore, connection: Connection, control: Connection
) -> None:
    connection.execute(FILL.encode())
    database, backup_id = connection.info.dbname, take("full")
    backup = store.read(backup_id)
    people = next(one for one in backup.fingerprint.tables if one.table == "public.people")
    lying = replace(backup, digest=replace(backup.fingerprint, tables=(replace(people, rows=301),)))
    manifest = store.path_of(backup) / MANIFEST_NAME
    true = manifest.read_text()
    manifest.write_text(to_json(lying))
    command = ("restore", backup_id, "--into", f"{database}_r", "--store", store.address)

    done = squizzle(*command, "--switch-over", "--json")

    assert done.code == 7
    assert done.document["verified"] is False
    assert "public.people: 300 rows, expected 301 rows" in done.document["differences"]
    assert done.document["switched_over"] is False
    assert databases(control, database) == {database, f"{database}_r"}
    assert is_fenced(control, f"{database}_r")
    assert not is_fenced(control, database)
    manifest.write_text(true)
    better = squizzle(*command)
    assert better.code == 0, better.err
    assert f"{database}_r is what backup {backup_id} was, 300 rows compared" in better.out


def test_rows_alone_are_put_into_the_definitions_that_they_had(
    squizzle: Squizzle,
    take: Take,
    store: FolderStore,
    connection: Connection,
    access: ServerAccess,
    control: Connection,
) -> None:
    connection.execute(FILL.encode())
    into = f"{connection.info.dbname}_r"
    schema, data = take("schema"), take("data")
    connection.execute("ALTER TABLE people ADD age int")
    later = take("schema")
    options = ("--into", into, "--store", store.address, "--json")

    alone = squizzle("restore", data, *options)
    unlike = squizzle("restore", data, "--definitions", later, *options)
    swapped = squizzle("restore", schema, "--definitions", data, *options)
    assert databases(control, into) == set()
    together = squizzle("restore", data, "--definitions", schema, *options)

    assert alone.code == 2
    assert f"squizzle restore {data} --definitions SCHEMA_ID" in alone.error["hint"]
    assert f"had other definitions than backup {later} holds" in unlike.error["message"]
    assert "cannot be put together" in swapped.error["message"]
    assert together.code == 0, together.err
    assert together.document["verified"] is True
    assert rows_of(access, into) == (300, "person 99")
    with connect(access, into, purpose="look") as session:
        assert session.execute("SELECT count(*) FROM bosses").fetchone() == (300,)
        assert session.execute("SELECT lo_get(oid) FROM pg_largeobject_metadata").fetchone() == (b"a large object",)
        assert session.execute("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal").fetchone() == ("closed",)


def test_the_backup_of_another_database_is_not_put_in_the_place_of_this_one(
    squizzle: Squizzle, take: Take, store: FolderStore, access: ServerAccess, control: Connection, database: str
) -> None:
    with new_database(control, sql.SQL("TEMPLATE template0"), prefix="stranger") as other:
        backup = take("schema", DATABASE_URL=url_of(access, other))

        done = squizzle(
            "restore", backup, "--into", f"{database}_r", "--switch-over", "--store", store.address, "--json"
        )

    assert done.code == 9
    assert f"is one of {other} (id none), not of {database}" in done.error["message"]
    assert databases(control, database) == {database}


def test_two_restores_under_one_name_exclude_each_other(
    squizzle: Squizzle, take: Take, store: FolderStore, control: Connection, database: str
) -> None:
    backup = take("schema")
    lock_recovery(control, f"{database}_r")
    done = squizzle("restore", backup, "--into", f"{database}_r", "--store", store.address, "--json")
    assert done.code == LockTimeoutError.code
    assert f"{database}_r is being recovered or restored already" in done.error["message"]
    assert databases(control, database) == {database}


def test_options_that_do_not_go_together_are_named(squizzle: Squizzle, take: Take, store: FolderStore) -> None:
    backup = take("schema")
    command = ("restore", backup, "--store", store.address, "--json")
    for options, said in [
        ((), "say what to restore"),
        (("--into", "x", "--into-folder", "y"), "say what to restore"),
        (("--into", "x", "--to-name", "y"), "is no copy of a cluster, so no log can be replayed on it"),
        (("--into", "x", "--table", "t"), "--table is only for a point"),
        (("--into-folder", "y", "--switch-over"), "--switch-over is only for --into NAME"),
        (("--into-folder", "y", "--timeline", "latest"), "--timeline is only for a point"),
        (("--into-folder", "y", "--to-lsn", "0/1", "--to-name", "z"), "name more than one point"),
        (("--into-folder", "y", "--to-time", "2027-01-31 02:00"), "does not say in which time zone"),
        (("--into-folder", "y", "--to-lsn", "z"), "is no position in a log"),
        (("--into-folder", "y"), "is no copy of a cluster"),
    ]:
        done = squizzle(*command, *options)
        assert done.code == 2, options
        assert said in done.error["message"]
    nothing = squizzle("restore", "--into-folder", "y", "--to-name", "x", "--store", store.address, "--json")
    assert "no backup named" in nothing.error["message"]
