"""Changes come back in the order in which they can be taken back, or not at all."""

from __future__ import annotations

from datetime import timedelta

import pytest

from squizzle.backups.change_log.changes import changes_since, mark
from squizzle.backups.change_log.switching import enable
from squizzle.cli.main import run
from squizzle.errors import CouldNotVerifyError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target


def test_the_transaction_that_committed_last_comes_first_however_old_its_id_is(
    access: ServerAccess, connection: Connection, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    connection.execute(
        "CREATE TABLE goods (id int PRIMARY KEY, name text); INSERT INTO goods VALUES (1, 'a'), (2, 'b')"
    )
    enable(connection, Target(database=database), (("public", "goods"),), on_wait=print)
    connection.execute("UPDATE goods SET name = 'before'")
    with connect(access, database, purpose="test") as early:
        with early.transaction():
            # It has its id, and a change in the log, before the mark; it commits after it.
            early.execute("UPDATE goods SET name = 'early' WHERE id = 1")
            marked = mark(connection)
            connection.execute("UPDATE goods SET name = 'late' WHERE id = 2")
            early.execute("UPDATE goods SET name = 'over it' WHERE id = 2")
        found = list(changes_since(connection, ("public", "goods"), marked))
        assert [(one.key, one.old, one.new) for one in found] == [
            ({"id": 2}, '{"id":2,"name":"late"}', '{"id":2,"name":"over it"}'),
            ({"id": 1}, '{"id":1,"name":"before"}', '{"id":1,"name":"early"}'),
            ({"id": 2}, '{"id":2,"name":"before"}', '{"id":2,"name":"late"}'),
        ]
        assert found[0].xid == found[1].xid < found[2].xid
        # By time: a transaction is shown whole, or not.
        third = list(changes_since(connection, ("public", "goods"), found[0].logged_at))
        assert third == found[:2]
        with pytest.raises(CouldNotVerifyError, match="was not logged at"):
            changes_since(connection, ("public", "goods"), marked.at - timedelta(days=1))
    url = f"host={access.host} port={access.port} user={access.user} dbname={database}"
    assert run(["changelog", "show", "--url", url, "--table", "goods", "--since", found[2].logged_at.isoformat()]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition(" -> ")[2] for line in lines] == [one.new for one in found]
    assert run(["changelog", "show", "--url", url, "--table", "goods", "--since", "yesterday"]) == 2
