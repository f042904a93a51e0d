"""What a drill must leave as it is: every change of it is seen, and what cannot be seen is never called unchanged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg import sql

from squizzle.backups.folder_store import FolderStore
from squizzle.backups.wal.names import segment_name
from squizzle.backups.wal.open_archive import archive_of
from squizzle.drills.untouched import Surroundings, Untouched, compare_surroundings, look_around
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.embedded import ServerAddress
from squizzle.recovery.scratch import PREFIX
from tests.integration.conftest import access_to
from tests.support.scratch import new_database, new_role
from tests.support.wal import SEGMENT_BYTES, SYSTEM, take_over, write_segment


@pytest.fixture(scope="module")
def access(servers: Callable[[str], ServerAddress]) -> ServerAccess:
    return access_to(servers("embedded"))


def changed(found: Untouched) -> str:
    assert found.is_so is False
    (sentence,) = found.changed
    return sentence


def test_every_change_around_a_drill_is_seen_and_what_drills_make_themselves_is_not(
    access: ServerAccess, control: Connection, database: str, tmp_path: Path
) -> None:
    archived, store = tmp_path / "archived", FolderStore(tmp_path / "store")
    archived.mkdir()

    def look(store: FolderStore) -> Surroundings:
        return look_around(access, store, archive_of(store), books=True)

    write_segment(archived, 1)
    take_over(archived, store.folder, SYSTEM)
    with connect(access, database, purpose="test") as session:
        session.execute("CREATE TABLE t AS SELECT 7 AS n")
    before = look(store)
    assert compare_surroundings(before, look(store)).is_so is True

    with new_database(control, sql.SQL(""), prefix=f"{PREFIX}0badcafe_"):
        assert compare_surroundings(before, look(store)).is_so is True
    with new_database(control, sql.SQL("")) as name:
        assert changed(compare_surroundings(before, look(store))) == f"database {name} is new"
    with new_role(control, sql.SQL("")) as name:
        grown = look(store)
        assert changed(compare_surroundings(before, grown)) == f"role {name} is new"
        control.execute(sql.SQL("ALTER ROLE {} CREATEDB").format(sql.Identifier(name)))
        assert changed(compare_surroundings(grown, look(store))) == f"role {name} is another one"
    with connect(access, database, purpose="test") as session:
        session.execute("UPDATE t SET n = 8")
        after = look(store)
        assert changed(compare_surroundings(before, after)).startswith(f"{database}: public.t")

    # A server goes on archiving on its own timeline; a second one in its archive is a copy that went into service.
    write_segment(archived, 2)
    take_over(archived, store.folder, SYSTEM)
    later = look(store)
    assert compare_surroundings(after, later).is_so is True
    write_segment(archived, 3, timeline=2)
    take_over(archived, store.folder, SYSTEM)
    foreign = segment_name(2, 3, SEGMENT_BYTES)
    found = compare_surroundings(later, look(store))
    assert [sentence.split()[0] for sentence in found.changed] == [foreign, f"{foreign}.sha256"]


def test_what_could_not_be_looked_at_and_what_others_write_to_is_not_called_untouched(
    access: ServerAccess, database: str
) -> None:
    nowhere = replace(access, port=1)
    unseen = look_around(nowhere, None, None, books=True)
    found = compare_surroundings(unseen, unseen)
    assert (found.is_so, "could not be looked at" in found.words) == (None, True)

    small = look_around(access, None, None, books=True, most_bytes=1)
    assert compare_surroundings(small, small).is_so is None

    with connect(access, database, purpose="test") as session:
        session.execute("CREATE TABLE t AS SELECT 7 AS n")
        session.execute("SET application_name = 'the shop'")
        before = look_around(access, None, None, books=True)
        session.execute("UPDATE t SET n = 8")
        found = compare_surroundings(before, look_around(access, None, None, books=True))
    assert (found.is_so, found.changed) == (None, ())
    assert f"{database}: others wrote to it" in found.words
