"""`squizzle undo` and `squizzle changelog` as a user runs them, killed ones too."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from squizzle.backups.change_log.switching import enable
from squizzle.postgres.access import Connection, ServerAccess
from squizzle.postgres.embedded import ServerAddress
from squizzle.postgres.identity import Target
from tests.integration.cli.conftest import Squizzle
from tests.integration.conftest import access_to
from tests.integration.migrations.conftest import Folder
from tests.support.processes import wait_until
from tests.support.tally import Kind, note_strike

GOODS = """
    CREATE TABLE goods (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);
    INSERT INTO goods (name) SELECT 'good ' || n FROM generate_series(1, 50) n
"""


@pytest.fixture(scope="module")
def access(servers: Callable[[str], ServerAddress]) -> ServerAccess:
    """One server: what differs between them is tested with the histories."""
    return access_to(servers("embedded"))


@pytest.fixture
def goods(connection: Connection, database: str) -> Connection:
    """A session in the database with one logged table."""
    connection.execute(GOODS.encode())
    enable(connection, Target(database=database), (("public", "goods"),), on_wait=print)
    return connection


def contents(db: Connection) -> list[tuple[object, ...]]:
    return db.execute("SELECT id, name FROM goods ORDER BY id").fetchall()


def test_what_a_version_did_is_shown_undone_and_the_undo_undone(
    squizzle: Squizzle, folder: Folder, goods: Connection
) -> None:
    before = contents(goods)
    goods.execute("UPDATE goods SET name = 'earlier' WHERE id = 50; UPDATE goods SET name = 'good 50' WHERE id = 50")
    folder.write("0001", "DELETE FROM goods WHERE id > 3; UPDATE goods SET name = 'bad' WHERE id = 1; "
                         "INSERT INTO goods (name) VALUES ('new')")  # fmt: skip
    assert squizzle("apply", "--all").code == 0
    goods.execute("UPDATE goods SET name = 'later' WHERE id = 2")
    damaged = contents(goods)
    since = ("undo", "--table", "goods", "--since-version", "0001", "--application", "squizzle migration", "--json")
    shown = squizzle(*since, "--dry-run", "--limit", "2")
    assert shown.code == 0
    assert "nothing was changed; to change exactly this" in shown.err
    table = shown.document["tables"]["public.goods"]
    counts = [table[key] for key in ("restored", "reverted", "removed", "conflicts")]
    assert (counts, shown.document["conflicts"], len(table["rows"])) == ([47, 1, 1, 0], [], 2)
    assert table["rows"][0] == {
        "action": "revert", "key": {"id": 1}, "now": {"id": 1, "name": "bad"}, "then": {"id": 1, "name": "good 1"},
    }  # fmt: skip
    assert contents(goods) == damaged
    stale = squizzle(*since, "--plan", "0" * 64)
    assert (stale.code, contents(goods)) == (9, damaged)
    done = squizzle(*since, "--plan", shown.document["plan"])
    assert (done.code, done.document["plan"]) == (0, shown.document["plan"])
    assert contents(goods) == [(id_, "later" if id_ == 2 else name) for id_, name in before]
    hint = done.err.partition("squizzle ")[2].split()
    assert squizzle(*hint).code == 0
    assert contents(goods) == damaged
    nothing = squizzle(*hint[:-1], "1", "--json")
    assert (nothing.code, nothing.document["transactions"], nothing.document["transaction"]) == (0, 0, None)
    for wrong in (("--since-version", "0009"), (), ("--since", "1h", "--since-version", "0001")):
        assert squizzle("undo", "--table", "goods", *wrong, "--json").error["code"] == 2


@pytest.mark.kills
@pytest.mark.parametrize("victim", ["client", "session"])
def test_killed_in_the_middle_nothing_is_changed_and_it_can_be_run_again(
    squizzle: Squizzle, goods: Connection, victim: str
) -> None:
    # Where every row is changed and nothing is verified yet, the undo waits for whoever holds an advisory lock.
    goods.execute(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN NULL; END$$;"
        " CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON goods DEFERRABLE FOR EACH ROW EXECUTE FUNCTION wait();"
        " CREATE TRIGGER quiet BEFORE INSERT ON goods FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    )
    undo = ("undo", "--table", "goods", "--since", "1d", "--json")
    before = contents(goods)
    # Since before logging began is refused; since then is not.
    assert squizzle(*undo).error["code"] == 10
    (since,) = goods.execute("SELECT enabled_at FROM squizzle_log.logged_table").fetchone() or ("",)
    undo = ("undo", "--table", "goods", "--since", since.isoformat(), "--json")
    goods.execute("DELETE FROM goods")
    waiting = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND NOT granted"
    goods.execute("SELECT pg_advisory_lock(7)")
    with squizzle.started(*undo) as process:
        wait_until(lambda: goods.execute(waiting).fetchone() is not None, "the undo waits")
        (pid,) = goods.execute(waiting).fetchone() or (0,)
        if victim == "client":
            process.kill()
            note_strike(Kind.KILL, "undo", "the run itself", cell="rows are changed")
        else:
            goods.execute("SELECT pg_terminate_backend(%s)", (pid,))
        out, _ = process.communicate()
    goods.execute("SELECT pg_advisory_unlock(7)")
    if victim == "session":
        assert process.returncode == 3
        assert json.loads(out)["error"]["database_state"] == "untouched"
    ended = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)"
    wait_until(lambda: goods.execute(ended, (pid,)).fetchone() == (True,), "the session of the undo has ended")
    assert contents(goods) == []
    quiet = "SELECT tgenabled FROM pg_trigger WHERE tgname = 'quiet'"
    assert goods.execute(quiet).fetchone() == ("O",)
    done = squizzle(*undo)
    assert done.code == 0
    assert contents(goods) == before
    assert goods.execute(quiet).fetchone() == ("O",)
