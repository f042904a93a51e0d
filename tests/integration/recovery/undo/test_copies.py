"""A restored copy has a log that is whole and goes on; a subscriber logs what arrives."""

from __future__ import annotations

from collections.abc import Callable

from squizzle.backups.change_log.changes import mark
from squizzle.backups.change_log.reading import coverage
from squizzle.backups.change_log.switching import enable
from squizzle.backups.records import Backup
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.embedded import drill_settings, find_runtime, throwaway_cluster
from squizzle.postgres.identity import Target
from squizzle.recovery.restore import verify_copy
from squizzle.recovery.undo.records import UndoRequest
from squizzle.recovery.undo.undo import undo_changes
from tests.integration.conftest import access_to
from tests.support.processes import wait_until

GOODS = (("public", "goods"),)
TABLE = "CREATE TABLE goods (id int PRIMARY KEY, name text)"


def contents(db: Connection) -> list[tuple[object, ...]]:
    return db.execute("SELECT * FROM goods ORDER BY id").fetchall()


def test_a_restored_copy_can_undo_what_happened_before_the_backup_and_since(
    access: ServerAccess,
    connection: Connection,
    database: str,
    take: Callable[[str], Backup],
    restore: Callable[[Backup, str], None],
) -> None:
    connection.execute(TABLE)
    connection.execute("INSERT INTO goods SELECT n, 'good' FROM generate_series(1, 5) n")
    enable(connection, Target(database=database), GOODS, on_wait=print)
    since = mark(connection).at
    connection.execute("UPDATE goods SET name = 'bad' WHERE id < 3; DELETE FROM goods WHERE id = 5")
    backup = take(database)
    restore(backup, f"{database}_r")
    with connect(access, f"{database}_r", purpose="test") as copy:
        # The load itself is not in the log, and the triggers are as they were.
        assert verify_copy(copy, backup).is_equal
        assert [one.gaps for one in coverage(copy)] == [()]
        # As in a copy on another cluster, whose transaction ids are behind those in the log.
        copy.execute("UPDATE squizzle_log.change SET xid = (xid::text::numeric + 100000000)::text::xid8")
        target, before = Target(database=f"{database}_r"), contents(copy)
        marked = mark(copy)
        copy.execute("TRUNCATE goods")
        done = undo_changes(copy, target, UndoRequest(tables=GOODS, since=marked), on_wait=print)
        assert (done.transactions, contents(copy)) == (1, before)
        undo_changes(copy, target, UndoRequest(tables=GOODS, since=since), on_wait=print)
        assert contents(copy) == [(n, "good") for n in range(1, 6)]


def test_what_a_subscription_brings_is_logged_and_can_be_undone() -> None:
    runtime = find_runtime()
    settings = drill_settings(runtime.major, throwaway=True) | {"wal_level": "logical"}
    with throwaway_cluster("logical", settings=settings, runtime=runtime) as address:
        access = access_to(address)
        with connect(access, "postgres", purpose="test") as publisher:
            publisher.execute(TABLE)
            publisher.execute("CREATE DATABASE copy STRATEGY file_copy")
            publisher.execute("CREATE PUBLICATION all_of_it FOR TABLE goods")
            publisher.execute("SELECT pg_create_logical_replication_slot('slot', 'pgoutput')")
            with connect(access, "copy", purpose="test") as subscriber:
                subscriber.execute(TABLE)
                enable(subscriber, Target(database="copy"), GOODS, on_wait=print)
                place = f"host={access.host} port={access.port} user={access.user} dbname=postgres"
                subscriber.execute(
                    f"CREATE SUBSCRIPTION sub CONNECTION '{place}' PUBLICATION all_of_it"
                    " WITH (create_slot = false, slot_name = 'slot', copy_data = false)".encode()
                )
                publisher.execute("INSERT INTO goods VALUES (1, 'a'), (2, 'b')")
                wait_until(lambda: len(contents(subscriber)) == 2, "the rows have arrived")
                marked = mark(subscriber)
                publisher.execute("UPDATE goods SET name = 'c' WHERE id = 1; DELETE FROM goods WHERE id = 2")
                publisher.execute("TRUNCATE goods")
                wait_until(lambda: not contents(subscriber), "the changes have arrived")
                kept = subscriber.execute("SELECT operation, old->>'name' FROM squizzle_log.change ORDER BY id")
                assert kept.fetchall() == [
                    ("INSERT", None), ("INSERT", None), ("UPDATE", "a"), ("DELETE", "b"), ("TRUNCATE", "c"),
                ]  # fmt: skip
                request = UndoRequest(tables=GOODS, since=marked)
                done = undo_changes(subscriber, Target(database="copy"), request, on_wait=print)
                assert (done.conflicts, contents(subscriber)) == ((), [(1, "a"), (2, "b")])
                subscriber.execute("DROP SUBSCRIPTION sub")
