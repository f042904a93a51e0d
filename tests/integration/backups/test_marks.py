"""Marks: a restore point and a point in the change log, as a manifest without files."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from psycopg import sql

from squizzle.backups.catalogue import verify_files
from squizzle.backups.change_log.switching import enable
from squizzle.backups.encryption.store import EncryptedStore
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.marks import log_mark_of
from squizzle.backups.order import CopyOptions, Order
from squizzle.backups.physical.chain import makes_increments
from squizzle.backups.proofs import Verdict
from squizzle.backups.records import BackupKind
from squizzle.backups.taking import take_backup
from squizzle.cli.main import run
from squizzle.errors import CouldNotVerifyError, InvalidInputError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import ClientPrograms
from squizzle.recovery.undo.records import UndoRequest
from squizzle.recovery.undo.undo import plan_undo
from tests.support.keys import random_keys
from tests.support.scratch import new_role


def test_a_mark_is_made_where_no_increments_are_and_undo_goes_back_to_it(
    access: ServerAccess,
    programs: ClientPrograms,
    connection: Connection,
    database: str,
    store: FolderStore,
    capsys: pytest.CaptureFixture[str],
) -> None:
    connection.execute("CREATE TABLE goods (id int PRIMARY KEY); INSERT INTO goods VALUES (1)")
    increments = makes_increments(connection)
    order = Order(
        access=access,
        target=Target(database=database),
        store=store,
        kind=BackupKind.MARK if increments else BackupKind.INCREMENTAL,
        programs=programs,
        copying=CopyOptions(or_mark=True),
    )
    first = take_backup(order, suffix="111111")
    assert (first.kind, first.files, "no table is logged" in first.not_covered[-1]) == (BackupKind.MARK, (), True)
    encrypted = EncryptedStore(FolderStore(store.folder.with_name("sealed")), random_keys())
    sealed = take_backup(replace(order, store=encrypted), suffix="222222")
    assert verify_files(encrypted, sealed, by="test").verdict is Verdict.PASS
    with pytest.raises(InvalidInputError, match="holds no point in the change log"):
        log_mark_of(first)
    if not increments:
        with pytest.raises(InvalidInputError, match="makes no increments"):
            take_backup(replace(order, copying=CopyOptions()), suffix="222222")
    enable(connection, Target(database=database), (("public", "goods"),), on_wait=print)
    with connect(access, database, purpose="test") as early:
        with early.transaction():
            early.execute("INSERT INTO goods VALUES (2)")
            marked = take_backup(order, suffix="333333")
            early.execute("INSERT INTO goods VALUES (3)")
        connection.execute("INSERT INTO goods VALUES (4)")
    name = marked.details["restore_point"]
    assert name.startswith(f"mark-{database.replace('_', '-')}-2")
    assert name.endswith("Z-333333")
    assert verify_files(store, marked, by="test").verdict is Verdict.PASS
    url = f"host={access.host} port={access.port} user={access.user} dbname={database}"
    place = ["--store", store.address]
    assert run(["backups", *place]) == 0
    line = next(one for one in capsys.readouterr().out.splitlines() if marked.id in one)
    assert line.split()[1] == "mark"
    undo = ["undo", "--url", url, "--table", "goods", "--since-mark"]
    assert run([*undo, first.id, *place]) == 2
    assert run([*undo, marked.id, *place, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tables"]["public.goods"]["removed"] == 3
    assert connection.execute("SELECT id FROM goods").fetchall() == [(1,)]
    # In a copy of the database, or after a recovery, numbers are given out again.
    for change in ({"database_oid": 1}, {"timeline": 9}, {"system_identifier": "1"}):
        request = UndoRequest(tables=(("public", "goods"),), since=replace(log_mark_of(marked), **change))
        with pytest.raises(CouldNotVerifyError, match="or before a recovery"):
            plan_undo(connection, Target(database=database), request)


def test_without_the_right_to_a_name_the_position_is_the_mark(
    access: ServerAccess, programs: ClientPrograms, control: Connection, database: str, store: FolderStore
) -> None:
    with new_role(control, sql.SQL("LOGIN")) as name:
        order = Order(
            access=replace(access, user=name),
            target=Target(database=database),
            store=store,
            kind=BackupKind.MARK,
            programs=programs,
        )
        made = take_backup(order, suffix="111111")
    assert made.details["restore_point"] == ""
    assert "may not make restore points" in made.not_covered[1]
    assert made.lsn
