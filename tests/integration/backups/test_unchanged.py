"""Fingerprints of an increment: only what changed is read, and they are the same as if all had been read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg import sql

from squizzle.backups.folder_store import FolderStore
from squizzle.backups.order import Order
from squizzle.backups.physical.unchanged import RANGES_FILE, READ_DETAIL
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.taking import take_backup
from squizzle.errors import BackupDamagedError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.embedded import find_runtime
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import ClientPrograms, find_programs
from squizzle.proof.digests import TableRows, digest_database, read_snapshot
from squizzle.proof.ranges import READ_AGAIN_EVERY, Changes, RangeDigester
from squizzle.proof.records import TableDigest
from tests.support.own_server import own_server
from tests.support.processes import wait_until
from tests.support.scratch import new_database

# One table for each way in which rows come to look different, and `big`, of more than three ranges of 4 MB.
FILL = """
    CREATE TYPE mood AS ENUM ('fine', 'bad');
    CREATE FUNCTION shown(n int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT n';
    CREATE TABLE big AS SELECT n AS id, repeat('x', 950) AS body FROM generate_series(1, 16000) n;
    CREATE TABLE quiet AS SELECT n AS id FROM generate_series(1, 1000) n;
    CREATE TABLE feeling AS SELECT 'fine'::mood AS mood;
    CREATE TABLE role_names AS SELECT 'squizzle_rights'::regrole AS role;
"""
EACH = (
    "inserted",
    "updated",
    "deleted",
    "truncated",
    "filled_again",
    "written_anew",
    "widened",
    "exchanged",
    "cut",
    "renamed",
    "long_value",
    "stepwise",
    "across",
    "dropped",
)
CHANGE = """
    UPDATE big SET body = 'y' WHERE id = 8000;
    INSERT INTO inserted VALUES (0, '');
    UPDATE updated SET text = 'other' WHERE id = 7;
    DELETE FROM deleted WHERE id = 7;
    TRUNCATE truncated;
    BEGIN; TRUNCATE filled_again; INSERT INTO filled_again VALUES (1, ''); COMMIT;
    DELETE FROM written_anew WHERE id = 7;
    ALTER TABLE widened ADD more int DEFAULT 5;
    ALTER TABLE exchanged DROP text, ADD text text DEFAULT 'new';
    DELETE FROM cut WHERE id > 100;
    ALTER TABLE renamed RENAME TO named_anew; CREATE TABLE renamed (id int, text text);
    UPDATE long_value SET text = (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 900) n) WHERE id = 7;
    BEGIN; SAVEPOINT one; UPDATE stepwise SET text = 'kept' WHERE id = 7; RELEASE one;
           SAVEPOINT two; DELETE FROM stepwise; ROLLBACK TO two; COMMIT;
    DROP TABLE dropped; CREATE TABLE dropped (id int);
    ALTER TYPE mood RENAME VALUE 'fine' TO 'well';
    ALTER ROLE squizzle_rights RENAME TO squizzle_renamed_rights;
"""


@pytest.fixture(scope="module")
def zoo(access: ServerAccess) -> Iterator[str]:
    with connect(access, "postgres", purpose="test") as control:
        if control.info.server_version < 170000:
            pytest.skip("PostgreSQL 17 and later")
        control.execute("CREATE ROLE squizzle_rights")
        # One that analyzes has a transaction of its own: with it in the snapshot everything is read the next time.
        autovacuum(control, "off")
        try:
            with new_database(control, sql.SQL("TEMPLATE template0 ENCODING 'UTF8'"), prefix="unchanged") as name:
                with connect(access, name, purpose="test") as session:
                    session.execute(FILL)
                    for table in EACH:
                        session.execute(
                            sql.SQL(
                                "CREATE TABLE {} AS SELECT n AS id, n::text AS text FROM generate_series(1, 2000) n"
                            ).format(sql.Identifier(table))
                        )
                    if control.info.server_version >= 180000:
                        session.execute("CREATE TABLE computed (id int, n int GENERATED ALWAYS AS (id + 1) VIRTUAL)")
                        session.execute("INSERT INTO computed VALUES (1)")
                    note_what_ended(session)
                yield name
        finally:
            autovacuum(control, "on")
            control.execute("DROP ROLE IF EXISTS squizzle_rights, squizzle_renamed_rights")


def autovacuum(control: Connection, value: str) -> None:
    """Switch the server's on or off, and wait until none is at work that was there before."""
    control.execute(sql.SQL("ALTER SYSTEM SET autovacuum = {}").format(sql.SQL(value)))
    control.execute("SELECT pg_reload_conf()")
    workers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'"
    if value == "off":
        wait_until(lambda: control.execute("SHOW autovacuum").fetchone() == ("off",), "it is off")
        wait_until(lambda: control.execute(workers).fetchone() == (0,), "none is at work")


@pytest.fixture
def order(access: ServerAccess, programs: ClientPrograms, zoo: str, tmp_path: Path) -> Order:
    return Order(
        access=access,
        target=Target(database=zoo, schema="public"),
        store=FolderStore(tmp_path),
        kind=BackupKind.PHYSICAL,
        programs=programs,
    )


def note_what_ended(session: Connection) -> None:
    """Else the first to read a row does, which changes its block; and nobody does before the commit is on disk."""
    session.execute("CHECKPOINT")
    visible = (
        "SELECT bool_and(relallvisible = relpages) FROM pg_class"
        " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )

    def has_noted_all() -> bool:
        session.execute("VACUUM")  # whoever analyzes a table keeps others from being called visible to all
        return session.execute(visible).fetchone() == (True,)

    wait_until(has_noted_all, "every page visible to all")


def increment(order: Order, suffix: str) -> Backup:
    return take_backup(replace(order, kind=BackupKind.INCREMENTAL), suffix=suffix)


def all_read(session: Connection) -> tuple[TableDigest, ...]:
    return digest_database(session, bookkeeping=True).tables


def numbers(backup: Backup) -> tuple[int, int]:
    """How many ranges were read, of how many."""
    read, _, of = backup.details[READ_DETAIL].removesuffix(" read").partition(" of ")
    return int(read), int(of)


def test_whatever_changed_is_read_and_nothing_else(order: Order, access: ServerAccess, zoo: str) -> None:
    with ExitStack() as stack:
        session = stack.enter_context(connect(access, zoo, purpose="test"))
        late = stack.enter_context(connect(access, zoo, purpose="test"))
        session.execute("CHECKPOINT")
        # What it writes is in the log before the copy is made, and the fingerprints do not see it.
        late.execute("BEGIN")
        late.execute("UPDATE across SET text = 'late' WHERE id = 7")
        whole = take_backup(order, suffix="1")
        assert whole.fingerprint.tables == all_read(session)
        assert RANGES_FILE in {one.path for one in whole.files}
        late.execute("COMMIT")
        for statement in CHANGE.split(";\n"):
            session.execute(statement.encode())
        session.execute("VACUUM FULL written_anew")
        if session.info.server_version >= 180000:
            session.execute("ALTER TABLE computed ALTER n SET EXPRESSION AS (id + 2)")
        note_what_ended(session)  # cuts off the empty blocks of `cut`, too

        after = increment(order, "2")
        assert after.fingerprint.tables == all_read(session)
        before = {one.table: one for one in whole.fingerprint.tables}
        same = {one.table for one in after.fingerprint.tables if one == before.get(one.table)}
        assert same == {"public.quiet"}

        read, of = numbers(after)
        assert of >= 4 + len(EACH) - 2
        assert read < of  # `quiet` and three ranges of `big` did not change; of such, one in sixteen is read again

        # What was kept once is kept on, and what nobody touched is not read at all.
        session.execute("UPDATE big SET body = 'z' WHERE id = 1")
        note_what_ended(session)
        last = increment(order, "3")
        assert last.fingerprint.tables == all_read(session)
        assert numbers(last)[0] < of / 2
        assert numbers(increment(order, "4"))[0] < of / 2


def test_positions_in_the_log_are_put_in_order_as_numbers_not_as_texts(tmp_path: Path) -> None:
    """0/10000000 comes behind 0/F000000."""
    runtime = find_runtime()
    if runtime.major < 17:
        pytest.skip("PostgreSQL 17 and later")
    with own_server("positions") as server, connect(server.access, "postgres", purpose="test") as session:

        def write_up_to(lsn: str) -> None:
            while session.execute("SELECT pg_current_wal_lsn() < %s::pg_lsn", (lsn,)).fetchone() == (True,):
                session.execute("SELECT pg_logical_emit_message(false, 'test', 'on'), pg_switch_wal()")

        order = Order(
            access=server.access,
            target=Target(database="postgres", schema="public"),
            store=FolderStore(tmp_path),
            kind=BackupKind.PHYSICAL,
            programs=find_programs(explicit=None, server_major=runtime.major),
        )
        for number in range(20):
            session.execute(sql.SQL("CREATE TABLE {} AS SELECT 1 AS id").format(sql.Identifier(f"t{number}")))
        note_what_ended(session)
        write_up_to("0/F000000")
        take_backup(order, suffix="1")
        session.execute("CHECKPOINT")
        write_up_to("0/10000000")

        read, of = numbers(increment(order, "2"))
        assert of == 20
        assert read < 10


def test_everything_is_read_where_that_is_not_certain(order: Order, access: ServerAccess, zoo: str) -> None:
    """A transaction from before two checkpoints may have written anywhere; and without the right to know one reads, too."""
    with connect(access, zoo, purpose="test") as session, connect(access, zoo, purpose="test") as early:
        early.execute("BEGIN")
        early.execute("UPDATE quiet SET id = -1 WHERE id = 7")
        session.execute("CHECKPOINT")
        whole = take_backup(order, suffix="1")
        early.execute("COMMIT")
        assert RANGES_FILE not in {one.path for one in whole.files}

        second = increment(order, "2")
        assert second.fingerprint.tables == all_read(session)
        read, of = numbers(second)
        assert read == of

        session.execute("CREATE ROLE squizzle_rights REPLICATION LOGIN IN ROLE pg_read_all_data, pg_monitor")
        session.execute("UPDATE quiet SET id = -2 WHERE id = 8")
        humble = replace(order, access=replace(access, user="squizzle_rights"))
        third = increment(humble, "3")
        assert third.fingerprint.tables == all_read(session)
        read, of = numbers(third)
        assert read == of


def test_another_database_of_the_same_name_is_read(order: Order, access: ServerAccess, zoo: str) -> None:
    """A copy of the files has the numbers of the files, and may have got other rows long before the names changed."""
    copied, aside = f"{zoo}_copied", f"{zoo}_aside"
    names = {"zoo": sql.Identifier(zoo), "copied": sql.Identifier(copied), "aside": sql.Identifier(aside)}

    def rename(control: Connection, *steps: str) -> None:
        for step in steps:
            control.execute(sql.SQL("ALTER DATABASE " + step).format(**names))

    with connect(access, "postgres", purpose="test") as control:
        control.execute(sql.SQL("CREATE DATABASE {copied} TEMPLATE {zoo} STRATEGY FILE_COPY").format(**names))
        try:
            with connect(access, copied, purpose="test") as session:
                session.execute("UPDATE big SET body = 'only there'")
                note_what_ended(session)
            take_backup(order, suffix="1")
            rename(control, "{zoo} RENAME TO {aside}", "{copied} RENAME TO {zoo}")
            try:
                after = increment(order, "2")
                with connect(access, zoo, purpose="test") as session:
                    assert after.fingerprint.tables == all_read(session)
            finally:
                rename(control, "{zoo} RENAME TO {copied}", "{aside} RENAME TO {zoo}")
        finally:
            control.execute(sql.SQL("DROP DATABASE {copied}").format(**names))


def test_a_change_that_the_server_does_not_know_of_is_found_within_sixteen_increments(
    access: ServerAccess, zoo: str
) -> None:
    with connect(access, zoo, purpose="test", read_only=True) as session, read_snapshot(session):
        table = TableRows("public.big", "public", "big", ["body", "id"])
        digester = RangeDigester({}, None)
        digest = digester(session, table)
        was = digester.found["public.big"]
        wrong = {"public.big": replace(was, ranges=((1, 1), *was.ranges[1:]))}
        found = []
        for turn in range(READ_AGAIN_EVERY):
            try:
                assert RangeDigester(wrong, Changes(), turn=turn)(session, table) != digest  # what is kept is believed
            except BackupDamagedError as exc:
                found.append(exc.message)
        assert ["rows of public.big changed" in one for one in found] == [True]
