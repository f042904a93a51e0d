"""Taking over from another tool: its bookkeeping becomes our history, and nothing is run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from squizzle.errors import InvalidInputError, LockTimeoutError, VersionConflictError
from squizzle.migrations.adoption import adopt_history, preview_adoption
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.operations import apply_versions, verify_versions
from squizzle.migrations.session import exclusive
from squizzle.migrations.status import read_status
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target

UP = "CREATE TABLE t{n} (a int);\n"


def golang_migrate(folder: Path, connection: Connection) -> None:
    for number in (1, 2, 3):
        (folder / f"{number:06}_t{number}.up.sql").write_text(UP.format(n=number))
        (folder / f"{number:06}_t{number}.down.sql").write_text(f"DROP TABLE t{number};")
    connection.execute("CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL)")
    connection.execute("INSERT INTO schema_migrations VALUES (2, false)")


def diesel(folder: Path, connection: Connection) -> None:
    for number in (1, 2, 3):
        version = folder / f"2024-01-0{number}-120000_t{number}"
        version.mkdir()
        (version / "up.sql").write_text(UP.format(n=number))
        (version / "down.sql").write_text(f"DROP TABLE t{number};")
    connection.execute(
        "CREATE TABLE __diesel_schema_migrations (version varchar(50) PRIMARY KEY, run_on timestamp DEFAULT now())"
    )
    connection.execute("INSERT INTO __diesel_schema_migrations VALUES ('20240101120000'), ('20240102120000')")


def dbmate(folder: Path, connection: Connection) -> None:
    for number in (1, 2, 3):
        text = f"-- migrate:up\n{UP.format(n=number)}\n-- migrate:down\nDROP TABLE t{number};\n"
        (folder / f"2024010{number}120000_t{number}.sql").write_text(text)
    connection.execute("CREATE TABLE schema_migrations (version varchar(128) PRIMARY KEY)")
    connection.execute("INSERT INTO schema_migrations VALUES ('20240101120000'), ('20240102120000')")


def goose(folder: Path, connection: Connection) -> None:
    for number in (1, 2, 3):
        text = f"-- +goose Up\n{UP.format(n=number)}\n-- +goose Down\nDROP TABLE t{number};\n"
        (folder / f"0000{number}_t{number}.sql").write_text(text)
    connection.execute(
        "CREATE TABLE goose_db_version (id serial, version_id bigint, is_applied boolean, tstamp timestamp DEFAULT now())"
    )
    # Version 3 was applied and taken back.
    connection.execute(
        "INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, true), (1, true), (2, true), (3, true), (3, false)"
    )


def sql_migrate(folder: Path, connection: Connection) -> None:
    for number in (1, 2, 3):
        text = f"-- +migrate Up\n{UP.format(n=number)}\n-- +migrate Down\nDROP TABLE t{number};\n"
        (folder / f"2024010{number}120000-t{number}.sql").write_text(text)
    connection.execute("CREATE TABLE gorp_migrations (id text PRIMARY KEY, applied_at timestamptz)")
    connection.execute(
        "INSERT INTO gorp_migrations VALUES ('20240101120000-t1.sql', now()), ('20240102120000-t2.sql', now())"
    )


def flyway(folder: Path, connection: Connection) -> None:
    for number in (1, 2, 3):
        (folder / f"V{number}__t{number}.sql").write_text(UP.format(n=number))
    connection.execute(
        "CREATE TABLE flyway_schema_history (installed_rank int PRIMARY KEY, version varchar(50), description varchar(200),"
        " type varchar(20), script varchar(1000), checksum int, installed_by varchar(100),"
        " installed_on timestamp DEFAULT now(), execution_time int, success boolean)"
    )
    connection.execute(
        "INSERT INTO flyway_schema_history VALUES"
        " (1, '1', 't1', 'SQL', 'V1__t1.sql', 1, 'x', now(), 1, true),"
        " (2, '2', 't2', 'SQL', 'V2__t2.sql', 1, 'x', now(), 1, true),"
        " (3, '3', 't3', 'SQL', 'V3__t3.sql', 1, 'x', now(), 1, false)"
    )


def sqitch(folder: Path, connection: Connection) -> None:
    plan = "%syntax-version=1.0.0\n%project=shop\n\n"
    for number in (1, 2, 3):
        for kind in ("deploy", "revert", "verify"):
            (folder / kind).mkdir(exist_ok=True)
        (folder / "deploy" / f"t{number}.sql").write_text(UP.format(n=number))
        (folder / "revert" / f"t{number}.sql").write_text(f"DROP TABLE t{number};")
        plan += f"t{number} 2024-01-0{number}T12:00:00Z A Person <a@example.org> # table\n"
    (folder / "sqitch.plan").write_text(plan)
    connection.execute("CREATE SCHEMA sqitch")
    connection.execute(
        "CREATE TABLE sqitch.changes (change_id text, change text, project text, committed_at timestamptz)"
    )
    connection.execute("INSERT INTO sqitch.changes VALUES ('a', 't1', 'shop', now()), ('b', 't2', 'shop', now())")


TOOLS = {
    "golang-migrate": golang_migrate,
    "diesel": diesel,
    "dbmate": dbmate,
    "goose": goose,
    "sql-migrate": sql_migrate,
    "flyway": flyway,
    "sqitch": sqitch,
}


@pytest.mark.parametrize("layout", TOOLS)
def test_what_another_tool_applied_is_adopted_and_the_rest_is_pending(
    connection: Connection, database: str, tmp_path: Path, layout: str
) -> None:
    TOOLS[layout](tmp_path, connection)
    connection.execute("CREATE TABLE t1 (a int); CREATE TABLE t2 (a int)")
    target = Target(database=database)
    migrations = read_migrations(tmp_path, layout)
    assert len(preview_adoption(connection, target, migrations, layout)) == 2
    assert read_status(connection, target, migrations).current is None  # a preview writes nothing

    adopted = adopt_history(connection, target, migrations, layout)

    assert [one.migration for one in adopted] == list(migrations[:2])
    status = read_status(connection, target, migrations)
    assert [(row.version, same) for row, same in status.applied] == [(one.version, True) for one in migrations[:2]]
    assert status.pending == migrations[2:]
    assert connection.execute("SELECT to_regclass('t3')").fetchone() == (None,)  # nothing was run

    apply_versions(connection, target, migrations)  # and from here on we go on
    assert connection.execute("SELECT to_regclass('t3') IS NOT NULL").fetchone() == (True,)
    assert all(check.ok for check in verify_versions(connection, target, migrations))


@pytest.fixture
def adopt_golang(connection: Connection, database: str, tmp_path: Path) -> Callable[[], object]:
    golang_migrate(tmp_path, connection)
    migrations = read_migrations(tmp_path, "golang-migrate")
    return lambda: adopt_history(connection, Target(database=database), migrations, "golang-migrate")


def history_is_missing(connection: Connection) -> bool:
    return connection.execute("SELECT to_regclass('squizzle_history') IS NULL").fetchone() == (True,)


def test_a_run_that_failed_half_way_is_not_adopted(connection: Connection, adopt_golang: Callable[[], object]) -> None:
    connection.execute("UPDATE schema_migrations SET dirty = true")

    with pytest.raises(VersionConflictError, match="version 2 is dirty"):
        adopt_golang()
    assert history_is_missing(connection)


def test_a_version_that_is_not_on_disk_is_not_adopted(
    connection: Connection, adopt_golang: Callable[[], object]
) -> None:
    connection.execute("UPDATE schema_migrations SET version = 7")

    with pytest.raises(VersionConflictError, match="not in the migrations folder: 7"):
        adopt_golang()
    assert history_is_missing(connection)


def test_a_database_that_has_a_history_is_not_adopted_again(adopt_golang: Callable[[], object]) -> None:
    adopt_golang()

    with pytest.raises(VersionConflictError, match="has a history"):
        adopt_golang()


def test_a_tool_that_was_never_here_is_not_adopted(connection: Connection, database: str, tmp_path: Path) -> None:
    dbmate(tmp_path, connection)
    connection.execute("DROP TABLE schema_migrations")

    with pytest.raises(InvalidInputError, match=r"public\.schema_migrations, which is not there"):
        adopt_history(connection, Target(database=database), read_migrations(tmp_path, "dbmate"), "dbmate")
    assert history_is_missing(connection)


def test_adoption_does_not_wait_for_who_migrates(
    access: ServerAccess, connection: Connection, database: str, adopt_golang: Callable[[], object]
) -> None:
    with (
        connect(access, database, purpose="other") as other,
        exclusive(other, Target(database=database)),
        pytest.raises(LockTimeoutError),
    ):
        adopt_golang()
    assert history_is_missing(connection)
