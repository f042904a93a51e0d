"""Old changes go as whole transactions, and the log never claims to reach back further than it does."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from squizzle.backups.change_log.changes import changes_since, mark
from squizzle.backups.change_log.pruning import find_prunable, prune
from squizzle.backups.change_log.switching import enable
from squizzle.cli.main import run
from squizzle.errors import CouldNotVerifyError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target


def test_a_transaction_goes_whole_or_stays_and_what_is_gone_is_refused(
    access: ServerAccess, connection: Connection, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    goods = ("public", "goods")
    connection.execute(
        "CREATE TABLE goods (id int PRIMARY KEY, name text); INSERT INTO goods VALUES (1, 'a'), (2, 'b')"
    )
    enable(connection, Target(database=database), (goods,), on_wait=print)
    first = mark(connection)
    connection.execute("UPDATE goods SET name = 'old' WHERE id = 2")
    with connect(access, database, purpose="test") as over, over.transaction():
        over.execute("UPDATE goods SET name = 'over' WHERE id = 1")
        middle = mark(connection)
        connection.execute("UPDATE goods SET name = 'new' WHERE id = 2")
        over.execute("UPDATE goods SET name = 'over it' WHERE id = 1")
    last = mark(connection)
    url = f"host={access.host} port={access.port} user={access.user} dbname={database}"
    assert run(["changelog", "prune", "--url", url, "--keep", "0s", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) | {"before": ""} == {
        "before": "", "changes": 4, "pruned": 0, "dry_run": True,
    }  # fmt: skip
    found = find_prunable(connection, now=middle.at, keep=timedelta(), max_bytes=None)
    assert found.changes == 1
    assert prune(connection, middle.at) == 1
    assert [one.new for one in changes_since(connection, goods, middle)] == [
        '{"id":1,"name":"over it"}',
        '{"id":1,"name":"over"}',
        '{"id":2,"name":"new"}',
    ]
    for since in (first, first.at):
        with pytest.raises(CouldNotVerifyError, match="were pruned"):
            changes_since(connection, goods, since)
    assert list(changes_since(connection, goods, last)) == []
    # One table's changes may go by themselves; the other's log reaches as far back as before.
    connection.execute("CREATE TABLE others (id int PRIMARY KEY)")
    enable(connection, Target(database=database), (("public", "others"),), on_wait=print)
    begun = mark(connection)
    connection.execute("INSERT INTO others VALUES (1)")
    of_one = ["changelog", "prune", "--url", url, "--keep", "0s", "--table"]
    assert run([*of_one, "nothing"]) == run([*of_one, "others", "--max-mb", "1"]) == 2
    capsys.readouterr()
    assert run([*of_one, "others", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pruned"] == 1
    with pytest.raises(CouldNotVerifyError, match=r"others before .* were pruned"):
        changes_since(connection, ("public", "others"), begun)
    assert len(list(changes_since(connection, goods, middle))) == 3
    assert find_prunable(connection, now=last.at, keep=None, max_bytes=1).before is not None
    assert run(["changelog", "prune", "--url", url, "--keep", "0s", "--yes"]) == 0
    assert connection.execute("SELECT count(*) FROM squizzle_log.change").fetchone() == (0,)
