"""What each kind of dump holds, what it says that it does not, and what is asked before it is restored."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg import sql

from squizzle.backups.dump import DumpOptions, take_dump
from squizzle.backups.files import check_files
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.store import safe_name
from squizzle.backups.surroundings import (
    GLOBALS_FILE,
    SURROUNDINGS_FILE,
    WITHOUT_PASSWORDS,
    commands_for,
    saved_surroundings,
)
from squizzle.errors import BackupDamagedError, InvalidInputError, RecoveryError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.database_properties import read_properties
from squizzle.postgres.programs import ClientPrograms
from squizzle.recovery.restore import restore_beside, verify_copy
from tests.support.scratch import new_database, new_role

INTO = "restored_by_kinds"
Restore = Callable[[FolderStore, Backup], None]


@pytest.fixture(scope="module")
def owned(access: ServerAccess) -> Iterator[tuple[str, str, str]]:
    """A database whose owner and reader are roles of its own: (database, owner, reader)."""
    with (
        connect(access, "postgres", purpose="test") as control,
        new_role(control, sql.SQL("")) as owner,
        new_role(control, sql.SQL("")) as reader,
    ):
        options = sql.SQL("OWNER {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(owner))
        with new_database(control, options, prefix="owned") as name:
            control.execute(
                sql.SQL("ALTER ROLE {} IN DATABASE {} SET work_mem = '7MB'").format(
                    sql.Identifier(reader), sql.Identifier(name)
                )
            )
            with connect(access, name, purpose="test") as session:
                session.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(owner)))
                session.execute("CREATE TABLE notes (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text)")
                session.execute("INSERT INTO notes (text) SELECT 'note ' || n FROM generate_series(1, 500) n")
                session.execute(sql.SQL("GRANT SELECT ON notes TO {}").format(sql.Identifier(reader)))
            yield name, owner, reader


@pytest.fixture(scope="module")
def kinds(
    access: ServerAccess,
    programs: ClientPrograms,
    owned: tuple[str, str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[FolderStore, dict[BackupKind, Backup]]:
    store = FolderStore(tmp_path_factory.mktemp("store"))
    made = {
        kind: take_dump(
            access, owned[0], store, programs, backup_id=f"b{number}-{safe_name(owned[0])}-{kind}", kind=kind
        )
        for number, kind in enumerate((BackupKind.FULL, BackupKind.SCHEMA, BackupKind.DATA))
    }
    return store, made


@pytest.fixture
def restore(
    access: ServerAccess, control: Connection, programs: ClientPrograms, owned: tuple[str, str, str]
) -> Iterator[Restore]:
    like = read_properties(control, owned[0])

    def start(store: FolderStore, backup: Backup) -> None:
        restore_beside(access, control, backup, store.path_of(backup), programs=programs, into=INTO, like=like)

    yield start
    control.execute(f"DROP DATABASE IF EXISTS {INTO}")


def test_a_full_backup_holds_what_a_dump_does_not(
    kinds: tuple[FolderStore, dict[BackupKind, Backup]], owned: tuple[str, str, str], control: Connection
) -> None:
    store, made = kinds
    full = made[BackupKind.FULL]
    folder = store.path_of(full)
    database, owner, reader = owned

    found = saved_surroundings(folder)

    assert found is not None
    assert found.properties == read_properties(control, database)
    assert set(found.roles) >= {owner, reader}
    written = (folder / GLOBALS_FILE).read_text()
    assert set(commands_for((owner, reader), written)) == {f"CREATE ROLE {owner};", f"CREATE ROLE {reader};"}
    assert stat.S_IMODE((folder / GLOBALS_FILE).stat().st_mode) == 0o600
    assert {GLOBALS_FILE, SURROUNDINGS_FILE} < {file.path for file in full.files}
    assert not any("password" in one for one in full.not_covered)


def test_a_schema_backup_has_no_rows_and_is_restored_and_compared_as_one(
    kinds: tuple[FolderStore, dict[BackupKind, Backup]],
    restore: Restore,
    access: ServerAccess,
) -> None:
    store, made = kinds
    schema = made[BackupKind.SCHEMA]
    assert schema.rows == 0
    assert schema.not_covered[0] == "rows and positions of sequences"

    restore(store, schema)

    with connect(access, INTO, purpose="test") as session:
        assert session.execute("SELECT count(*) FROM notes").fetchone() == (0,)
        assert verify_copy(session, schema).is_equal
        session.execute("ALTER TABLE notes ADD extra int")
        assert verify_copy(session, schema).unexpected == ("column public.notes.extra",)


def test_a_data_backup_proves_its_rows_and_is_no_whole_database(
    kinds: tuple[FolderStore, dict[BackupKind, Backup]], restore: Restore, control: Connection
) -> None:
    store, made = kinds
    data = made[BackupKind.DATA]
    assert data.fingerprint.tables == made[BackupKind.FULL].fingerprint.tables
    assert data.rows == 500
    with pytest.raises(InvalidInputError, match=r"\(data\) holds no whole database"):
        restore(store, data)
    assert control.execute("SELECT 1 FROM pg_database WHERE datname = %s", (INTO,)).fetchone() is None


def test_the_backups_of_one_database_name_each_other(kinds: tuple[FolderStore, dict[BackupKind, Backup]]) -> None:
    made = list(kinds[1].values())

    assert [one.previous and one.previous.id for one in made] == [None, made[0].id, made[1].id]


def test_roles_that_are_missing_are_named_before_anything_is_restored(
    kinds: tuple[FolderStore, dict[BackupKind, Backup]],
    restore: Restore,
    control: Connection,
    owned: tuple[str, str, str],
    tmp_path: Path,
) -> None:
    store, made = kinds
    full = made[BackupKind.FULL]
    other = FolderStore(tmp_path)
    with other.receive("elsewhere") as incoming:
        for file in full.files:
            target = incoming.folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            text = (store.path_of(full) / file.path).read_bytes()
            if file.path in {SURROUNDINGS_FILE, GLOBALS_FILE}:
                text = text.replace(owned[2].encode(), b'we""ird' if file.path == GLOBALS_FILE else b'we\\"ird')
            target.write_bytes(text.replace(b'ROLE we""ird', b'ROLE "we""ird"'))
        copy = replace(full, id="elsewhere", files=incoming.describe())
        incoming.publish(copy)

    with pytest.raises(RecoveryError, match='roles that this server does not have: we"ird; nothing was') as caught:
        restore(other, copy)

    assert 'CREATE ROLE "we""ird";' in caught.value.hint
    assert control.execute("SELECT 1 FROM pg_database WHERE datname = %s", (INTO,)).fetchone() is None


def test_an_owner_who_may_not_read_passwords_saves_the_roles_without_them(
    access: ServerAccess,
    programs: ClientPrograms,
    owned: tuple[str, str, str],
    control: Connection,
    tmp_path: Path,
) -> None:
    database, owner, _reader = owned
    control.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD 'x9-hidden'").format(sql.Identifier(owner)))
    store = FolderStore(tmp_path)
    backup = take_dump(replace(access, user=owner), database, store, programs, backup_id="by-owner")
    on_request = take_dump(access, database, store, programs, backup_id="c", options=DumpOptions(role_passwords=False))

    assert WITHOUT_PASSWORDS in backup.not_covered
    assert "passwords of roles: left out on request" in on_request.not_covered
    for one in (backup, on_request):
        text = (store.path_of(one) / GLOBALS_FILE).read_text()
        assert f"CREATE ROLE {owner};" in text
        assert "SCRAM-SHA-256$" not in text
        assert "PASSWORD" not in text


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"properties": {}, "roles": []}', '{"properties": 7, "roles": 7}'])
def test_surroundings_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / SURROUNDINGS_FILE).write_text(text)

    with pytest.raises(BackupDamagedError, match="does not say what the database needs"):
        saved_surroundings(tmp_path)


def test_an_old_backup_without_surroundings_is_still_restored(tmp_path: Path) -> None:
    assert saved_surroundings(tmp_path) is None


def test_what_is_no_dump_is_refused(
    access: ServerAccess, programs: ClientPrograms, owned: tuple[str, str, str], tmp_path: Path
) -> None:
    store = FolderStore(tmp_path / "none")
    with pytest.raises(InvalidInputError, match="a dump is full, schema or data, not physical"):
        take_dump(access, owned[0], store, programs, backup_id="b1", kind=BackupKind.PHYSICAL)
    assert not store.folder.exists()


def test_the_manifest_names_the_kind(kinds: tuple[FolderStore, dict[BackupKind, Backup]]) -> None:
    store, made = kinds
    for kind, backup in made.items():
        check_files(backup, store.path_of(backup))
        document = json.loads((store.path_of(backup) / "manifest.json").read_text())["manifest"]
        assert document["kind"] == kind.value
        assert store.read(backup.id).sha256 == backup.sha256
