"""`squizzle locks`, `queries` and `triggers`: what they show, and that nothing is done unless they are told to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from psycopg import sql

from squizzle.postgres.access import Connection, ServerAccess, connect, server_pid
from tests.integration.cli.conftest import Squizzle
from tests.support.processes import wait_until

RELEASE = ("locks", "--release", "--idle", "0s", "--waiting", "0s")


@pytest.fixture
def holder(access: ServerAccess, database: str, connection: Connection, role: str) -> Iterator[Connection]:
    """Somebody who locked a table and went for lunch."""
    connection.execute("CREATE TABLE orders (id int)")
    connection.execute(sql.SQL("GRANT ALL ON orders TO {}").format(sql.Identifier(role)))
    opened = connect(replace(access, user=role), database, purpose="test")
    opened.execute("SET application_name = 'psql'")
    opened.execute("BEGIN")
    opened.execute("LOCK TABLE orders")
    yield opened
    opened.close()


@pytest.fixture
def waiter(holder: Connection, access: ServerAccess, database: str, connection: Connection) -> Iterator[Connection]:
    """Somebody who waits for it."""
    assert holder
    opened = connect(access, database, purpose="test")
    opened.pgconn.send_query(b"SELECT count(*) FROM orders")
    waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid = %s)"
    pid = opened.info.backend_pid
    wait_until(lambda: connection.execute(waits, (pid,)).fetchone() == (True,), "the reader waits")
    yield opened
    opened.close()


def test_blockers_are_shown_and_ended_only_with_yes(
    squizzle: Squizzle, holder: Connection, waiter: Connection, database: str
) -> None:
    pids = [server_pid(holder), waiter.info.backend_pid]

    shown = squizzle("locks", "--json")
    text = squizzle(*RELEASE)
    production = squizzle(*RELEASE, "--blockers", "soon")

    assert (shown.code, shown.err) == (0, "")
    (found,) = shown.document["targets"]
    assert set(found) == {"name", "ok", "metrics", "alerts", "tree"}
    assert (found["name"], found["ok"]) == (database, False)
    assert {name: found["metrics"][name] for name in ("waiting", "blocking")} == {"waiting": 1, "blocking": 1}
    assert [(one["pid"], one["depth"], one["behind"]) for one in found["tree"]] == [(pids[0], 0, 1), (pids[1], 1, 0)]
    assert (found["tree"][1]["mode"], found["tree"][1]["relation"]) == ("ACCESS SHARE", "public.orders")
    assert f"session {pids[0]} (psql" in found["alerts"][0]
    assert f"└ session {pids[1]}" in text.out
    assert f"end its connection: session {pids[0]}" in text.out
    assert text.out.endswith("nobody was ended; --yes ends them\n")
    assert (production.code, "--blockers 'soon'" in production.err) == (2, True)
    assert server_pid(holder)

    done = squizzle(*RELEASE, "--yes", "--json")

    assert done.code == 0
    (found,) = done.document["targets"]
    assert found["ended"] == [{"pid": pids[0], "state": "ended", "detail": ""}]
    assert found["after"]["ok"] is True
    assert "its connection was ended and its transaction rolled back" in done.err
    assert waiter.pgconn.get_result() is not None
    waiter.pgconn.get_result()


@pytest.mark.usefixtures("waiter")
def test_production_asks_before_anybody_is_ended(squizzle: Squizzle, holder: Connection, url: str) -> None:
    squizzle.configure(f'[environments.production]\nurl = "{url}"\n')

    done = squizzle(*RELEASE, "--env", "production")

    assert (done.code, "nobody was ended" in done.out) == (0, True)
    assert server_pid(holder)


def test_queries_that_are_not_counted_cannot_be_compared_and_the_commands_are_told(squizzle: Squizzle) -> None:
    done = squizzle("queries", "--save-baseline", "--json")

    assert done.code == 10
    assert "the extension pg_stat_statements is not in this database" in done.error["message"]
    assert "ALTER SYSTEM SET shared_preload_libraries = pg_stat_statements; restart" in done.error["hint"]


@pytest.mark.one_server
def test_a_trigger_is_paused_only_with_yes_listed_and_resumed_and_broken_keys_are_exit_code_7(
    squizzle: Squizzle, connection: Connection
) -> None:
    connection.execute(
        "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (parent int CONSTRAINT k REFERENCES parent)"
    )
    wanted = ("triggers", "pause", "child", "--foreign-keys", "--for", "30m", "--reason", "import")

    dry = squizzle(*wanted)
    none = squizzle("triggers", "child", "--json")
    done = squizzle(*wanted, "--yes", "--json")
    connection.execute("INSERT INTO child VALUES (1)")
    shown = squizzle("triggers")
    resumed = squizzle("triggers", "resume", "--json")
    connection.execute("INSERT INTO parent VALUES (1)")
    mended = squizzle("triggers", "resume", "child")

    assert (dry.code, "nothing was switched off; --yes does it" in dry.out) == (0, True)
    assert "public.child may refer to rows that public.parent does not have" in dry.out
    assert (none.code, none.document["paused"]) == (0, [])
    assert [one["mode"] for one in none.document["triggers"]] == ["on", "on"]
    assert (done.code, {one["why"] for one in done.document["paused"]}) == (0, {"import"})
    assert "`squizzle triggers resume` puts back and compares" in shown.out
    assert resumed.code == 7
    assert [(one["rows"], one["examples"]) for one in resumed.document["foreign_keys"]] == [(1, [["1"]])]
    assert (mended.code, "k from public.child to public.parent: no row breaks it" in mended.out) == (0, True)
    assert squizzle("triggers", "resume").out == "no trigger is switched off by Squizzle\n"
