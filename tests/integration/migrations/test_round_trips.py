"""What a run costs beside its own statements: questions to the server, counted in libpq's own trace."""

from __future__ import annotations

from pathlib import Path

from psycopg import sql
from psycopg.pq import Trace

from squizzle.migrations.operations import apply_versions
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target
from tests.integration.migrations.conftest import Folder

# To clear the session, the open row, BEGIN, the statement, the note that it is done, COMMIT.
A_SCRIPT = 6


def questions(connection: Connection, target: Target, folder: Folder, trace: Path) -> int:
    """How many questions the migrating session asks while it applies what is pending."""
    with trace.open("wb") as file:
        connection.pgconn.trace(file.fileno())
        connection.pgconn.set_trace_flags(Trace.SUPPRESS_TIMESTAMPS)
        try:
            apply_versions(connection, target, folder.read())
        finally:
            connection.pgconn.untrace()
    sent = (line.split("\t") for line in trace.read_text(encoding="utf-8", errors="replace").splitlines())
    return sum(fields[0] == "F" and fields[2] in {"Query", "Parse"} for fields in sent if len(fields) > 2)


def test_a_script_of_one_statement_costs_no_more_questions_than_it_must(
    connection: Connection, target: Target, folder: Folder, tmp_path: Path
) -> None:
    folder.write("1", "CREATE TABLE t1 (a int)")
    apply_versions(connection, target, folder.read())
    folder.write("2", "CREATE TABLE t2 (a int)")
    one = questions(connection, target, folder, tmp_path / "one")
    for number in range(3, 13):
        folder.write(str(number), f"CREATE TABLE t{number} (a int)")

    ten = questions(connection, target, folder, tmp_path / "ten")

    # ANALYZE and the look at what is half-made come once a run.
    assert ten - one == 9 * A_SCRIPT


def test_only_the_note_that_a_script_begins_does_not_wait_for_the_disk(
    access: ServerAccess, connection: Connection, target: Target, folder: Folder
) -> None:
    setting = "current_setting('synchronous_commit')"
    folder.write("1", f"CREATE TABLE seen AS SELECT {setting} AS value; INSERT INTO seen SELECT {setting}")
    folder.write("2", f"INSERT INTO seen SELECT {setting}; VACUUM seen; INSERT INTO seen SELECT {setting}")
    database = sql.Identifier(target.database)
    # The servers of tests have it off.
    connection.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = 'local'").format(database))

    with connect(access, target.database, purpose="migration") as fresh:
        apply_versions(fresh, target, folder.read())

    assert connection.execute("SELECT value FROM seen").fetchall() == [("local",)] * 4
