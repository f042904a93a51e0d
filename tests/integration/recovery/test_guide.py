"""What usual runbooks do beside what we do; `docs/guide-compared.md` has every line of the comparison."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from squizzle.backups.change_log.switching import enable
from squizzle.backups.dump import take_dump
from squizzle.backups.folder_store import FolderStore
from squizzle.errors import SquizzleError
from squizzle.postgres.access import Connection, ServerAccess, client_environment, connect
from squizzle.postgres.database_properties import read_properties
from squizzle.postgres.embedded import ServerAddress
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import ClientPrograms, find_programs
from squizzle.recovery.switch_over import switch_over
from squizzle.recovery.undo.records import UndoRequest
from squizzle.recovery.undo.undo import undo_changes
from tests.integration.conftest import access_to
from tests.support.names import databases


@pytest.fixture(scope="module")
def access(servers: Callable[[str], ServerAddress]) -> ServerAccess:
    """The embedded server alone."""
    return access_to(servers("embedded"))


@pytest.fixture(scope="module")
def programs(access: ServerAccess) -> ClientPrograms:
    with connect(access, "postgres", purpose="test") as session:
        return find_programs(explicit=None, server_major=session.info.server_version // 10000)


def rename(control: Connection, old: str, new: str) -> None:
    control.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new)))


def test_one_session_in_the_copy_leaves_a_runbook_without_any_database_of_the_name(
    access: ServerAccess, control: Connection, database: str
) -> None:
    copy = sql.SQL("CREATE DATABASE {} TEMPLATE template0 STRATEGY file_copy").format(sql.Identifier(f"{database}_r"))
    control.execute(copy)
    stray = connect(access, f"{database}_r", purpose="stray")

    # Two statements, the second of which has to wait for somebody: five seconds, and then it fails.
    rename(control, database, f"{database}_corrupted")
    control.execute("SET statement_timeout = '100ms'")
    with pytest.raises(psycopg.Error):
        rename(control, f"{database}_r", database)
    control.execute("RESET statement_timeout")
    assert databases(control, database) == {f"{database}_r", f"{database}_corrupted"}

    rename(control, f"{database}_corrupted", database)
    properties = read_properties(control, database)
    kept = f"{database}_old"
    switch_over(control, database=database, restored=f"{database}_r", keep_as=kept, properties=properties)
    assert databases(control, database) == {database, kept}
    stray.close()


def test_a_dump_that_fails_looks_like_a_backup_behind_a_pipe(
    access: ServerAccess, programs: ClientPrograms, database: str, tmp_path: Path
) -> None:
    missing, file = f"{database}_missing", tmp_path / "backup.sql.gz"
    with client_environment(access, missing) as environment:
        command = ["/bin/sh", "-c", '"$1" | gzip > "$2"', "sh", str(programs.path("pg_dump")), str(file)]
        done = subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=False)
    assert (done.returncode, file.stat().st_size) == (0, 20)

    store = FolderStore(tmp_path / "store")
    good = take_dump(access, database, store, programs, backup_id="b1")
    with pytest.raises(SquizzleError, match=missing):
        take_dump(access, missing, store, programs, backup_id="b2")
    assert store.list_ids() == (good.id,)


GUIDES_TRIGGER = """
    CREATE TABLE log (operation text, row_data jsonb);
    CREATE FUNCTION log_changes() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO log VALUES (TG_OP, row_to_json(NEW)); RETURN NEW; END $$;
    CREATE TRIGGER changes AFTER INSERT OR UPDATE OR DELETE ON account FOR EACH ROW EXECUTE FUNCTION log_changes()
"""
DISASTERS = ("DELETE FROM account WHERE id < 5", "UPDATE account SET owner = 'nobody'", "TRUNCATE account")


def test_a_log_of_new_rows_cannot_bring_an_old_one_back_and_ours_brings_back_each(
    connection: Connection, database: str
) -> None:
    rows = "SELECT id, owner FROM account ORDER BY id"
    connection.execute("CREATE TABLE account (id int PRIMARY KEY, owner text)")
    connection.execute("INSERT INTO account SELECT n, 'o' || n FROM generate_series(1, 10) n")
    before = connection.execute(rows).fetchall()
    connection.execute(GUIDES_TRIGGER.encode())
    target = Target(database=database)
    enable(connection, target, (("public", "account"),), on_wait=lambda _text: None)
    [(since,)] = connection.execute("SELECT clock_timestamp()").fetchall()

    for disaster in DISASTERS:
        connection.execute(disaster.encode())

    logged = connection.execute("SELECT operation, row_data IS NULL, row_data ->> 'owner' FROM log").fetchall()
    assert set(logged) == {("DELETE", True, None), ("UPDATE", False, "nobody")}
    assert connection.execute(rows).fetchall() == []
    request = UndoRequest(tables=(("public", "account"),), since=since)
    undo_changes(connection, target, request, on_wait=lambda _text: None)
    assert connection.execute(rows).fetchall() == before
