"""What is damaged is measured against the backup, and nothing that is well is called damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg import sql

from squizzle.backups.dump import take_dump
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.records import Backup
from squizzle.errors import MigrationFailedError
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.operations import apply_versions
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import ClientPrograms
from squizzle.recovery.assess import assess_damage
from tests.support.scratch import new_database


@pytest.fixture(scope="module")
def saved(
    access: ServerAccess, programs: ClientPrograms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Connection, Backup]]:
    """A session in a small database, and a backup of it."""
    store = FolderStore(tmp_path_factory.mktemp("store"))
    with (
        connect(access, "postgres", purpose="test") as control,
        new_database(control, sql.SQL("TEMPLATE template0")) as name,
        connect(access, name, purpose="test") as session,
    ):
        session.execute("CREATE TABLE users (id int PRIMARY KEY, name text CONSTRAINT named CHECK (name <> ''))")
        session.execute("INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, 1500) n")
        session.execute("CREATE INDEX users_name_idx ON users (name); CREATE VIEW names AS SELECT name FROM users")
        session.execute("CREATE TABLE others (id int)")
        yield session, take_dump(access, name, store, programs, backup_id="b1")


def test_nothing_wrong_is_no_damage(saved: tuple[Connection, Backup]) -> None:
    session, backup = saved
    assessment = assess_damage(session, backup)
    assert assessment.damage == ()
    assert assessment.comparison.is_equal
    assert (assessment.since, assessment.current, assessment.applied_since) == ("b1", None, ())


@pytest.mark.parametrize(
    ("harm", "repair", "damage"),
    [
        (
            "ALTER TABLE others RENAME TO gone",
            "ALTER TABLE gone RENAME TO others",
            ("missing: table public.others",),
        ),
        (
            "DELETE FROM users WHERE id > 1000",
            "INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1001, 1500) n",
            ("public.users: 500 rows fewer than the 1,500 of the backup",),
        ),
        (
            "TRUNCATE users",
            "INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, 1500) n",
            ("public.users: 1,500 rows fewer than the 1,500 of the backup",),
        ),
        (
            "DROP INDEX users_name_idx",
            "CREATE INDEX users_name_idx ON users (name)",
            ("missing: index public.users_name_idx",),
        ),
        (
            "ALTER TABLE users DROP CONSTRAINT named",
            "ALTER TABLE users ADD CONSTRAINT named CHECK (name <> '')",
            ("missing: constraint public.users.named",),
        ),
        (
            "DROP VIEW names",
            "CREATE VIEW names AS SELECT name FROM users",
            ("missing: view public.names",),
        ),
        (
            "CREATE OR REPLACE VIEW names AS SELECT name FROM users WHERE id > 1",
            "CREATE OR REPLACE VIEW names AS SELECT name FROM users",
            ("changed: view definition public.names",),
        ),
        (
            "ALTER TABLE users ALTER name SET NOT NULL",
            "ALTER TABLE users ALTER name DROP NOT NULL",
            ("changed: column public.users.name",),
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_damage_is_named_and_goes_away_with_its_repair(
    saved: tuple[Connection, Backup], harm: str, repair: str, damage: tuple[str, ...]
) -> None:
    session, backup = saved
    session.execute(harm.encode())
    try:
        assert assess_damage(session, backup).damage == damage
    finally:
        session.execute(repair.encode())
    assert assess_damage(session, backup).damage == ()


def test_new_rows_and_new_objects_are_no_damage(saved: tuple[Connection, Backup]) -> None:
    session, backup = saved
    session.execute("INSERT INTO users VALUES (9999, 'new'); CREATE TABLE extra (id int)")
    try:
        assessment = assess_damage(session, backup)
        assert assessment.damage == ()
        assert not assessment.comparison.is_equal
    finally:
        session.execute("DELETE FROM users WHERE id = 9999; DROP TABLE extra")


Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write one migration into the folder."""

    def start(version: str, up: str) -> None:
        folder = tmp_path / "migrations" / version
        folder.mkdir(parents=True)
        (folder / "up.sql").write_text(up, encoding="utf-8")

    return start


def test_what_was_applied_and_what_failed_since_the_backup_is_named(
    access: ServerAccess,
    connection: Connection,
    database: str,
    programs: ClientPrograms,
    tmp_path: Path,
    write: Write,
) -> None:
    target = Target(database=database)
    write("0001_a", "CREATE TABLE a (n int); CREATE TABLE b AS SELECT 1 AS n;")
    apply_versions(connection, target, read_migrations(tmp_path / "migrations"))
    store = FolderStore(tmp_path / "store")
    backup = take_dump(access, database, store, programs, backup_id="b1")
    write("0002_b", "DROP TABLE b;")
    write("0003_c", "CREATE TABLE c (n int);")
    write("0004_d", "SELECT 1 / 0;")
    with pytest.raises(MigrationFailedError):
        apply_versions(connection, target, read_migrations(tmp_path / "migrations"))
    assessment = assess_damage(connection, backup)
    assert (assessment.since_version, assessment.current) == ("0001", "0003")
    assert assessment.applied_since == ("0002", "0003")
    assert [row.version for row in assessment.failed] == ["0004"]
    assert assessment.damage == ("public.b: 1 rows fewer than the 1 of the backup", "missing: table public.b")
