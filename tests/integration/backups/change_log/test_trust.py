"""A log that a stranger prepared is not used: its functions would run with the rights of whoever writes."""

from __future__ import annotations

import pytest
from psycopg import sql

from squizzle.backups.change_log.changes import mark
from squizzle.backups.change_log.switching import enable
from squizzle.errors import RefusedError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target
from squizzle.recovery.undo.records import UndoRequest
from squizzle.recovery.undo.undo import plan_undo
from tests.support.scratch import new_role

_FUNCTION = "CREATE FUNCTION squizzle_log.{}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
PREPARED = (
    "CREATE SCHEMA squizzle_log",
    "CREATE SCHEMA squizzle_log; CREATE TABLE squizzle_log.change (n int)",
    "; ".join(["CREATE SCHEMA squizzle_log", _FUNCTION.format("log_row"), _FUNCTION.format("log_truncate")]),
)


def test_what_a_stranger_prepared_is_refused_and_what_was_altered_is_made_right(
    access: ServerAccess, control: Connection, connection: Connection, database: str
) -> None:
    target, goods = Target(database=database), (("public", "goods"),)
    connection.execute("CREATE TABLE goods (id int PRIMARY KEY)")
    with new_role(control, sql.SQL("LOGIN")) as name:
        role = sql.Identifier(name)
        connection.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(sql.Identifier(database), role))
        with connect(ServerAccess(host=access.host, port=access.port, user=name), database, purpose="s") as stranger:
            for statements in PREPARED:
                stranger.execute(statements.encode())
                with pytest.raises(RefusedError, match=f"belongs to {name}, who is not to be trusted") as caught:
                    enable(connection, target, goods, on_wait=print)
                assert "DROP SCHEMA squizzle_log" in caught.value.hint
                stranger.execute("DROP SCHEMA squizzle_log CASCADE")
        assert connection.execute("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal").fetchone() == (0,)
        enable(connection, target, goods, on_wait=print)
        since = mark(connection)
        altered = "ALTER FUNCTION squizzle_log.log_row() {}"
        connection.execute(b"ALTER FUNCTION squizzle_log.log_row() SECURITY INVOKER RESET search_path")
        enable(connection, target, goods, on_wait=print)
        safe = "SELECT prosecdef, proconfig[1] FROM pg_proc WHERE proname = 'log_row'"
        assert connection.execute(safe).fetchone() == (True, "search_path=pg_catalog, pg_temp")
        connection.execute(sql.SQL(altered).format(sql.SQL("OWNER TO {}").format(role)))
        with pytest.raises(RefusedError, match=f"log_row belongs to {name}"):
            plan_undo(connection, target, UndoRequest(tables=goods, since=since))
        connection.execute(sql.SQL("REASSIGN OWNED BY {} TO CURRENT_USER; DROP OWNED BY {}").format(role, role))
