"""Restoring beside: the damaged database is never touched, and what cannot be finished is not left half done."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg import sql

from squizzle.backups.folder_store import FolderStore
from squizzle.backups.records import Backup
from squizzle.errors import RecoveryError, SquizzleError, ToolError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.database_properties import create_like, read_properties
from squizzle.postgres.programs import ClientPrograms
from squizzle.recovery.restore import restore_beside
from tests.support.names import databases
from tests.support.processes import command_of, descendants_of, wait_until
from tests.support.scratch import drop_databases, new_database

Take = Callable[[str], Backup]
Restore = Callable[..., None]


def comment_on(control: Connection, name: str, text: str | None) -> None:
    control.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(text)))


def test_copy_is_analyzed_and_marked_as_ours(
    access: ServerAccess, control: Connection, connection: Connection, database: str, take: Take, restore: Restore
) -> None:
    connection.execute("CREATE TABLE t AS SELECT n FROM generate_series(1, 500) n")
    restore(take(database), f"{database}_r")
    assert read_properties(control, f"{database}_r").comment == "squizzle: being restored from backup b1"
    with connect(access, f"{database}_r", purpose="test") as copy:
        assert copy.execute("SELECT reltuples FROM pg_class WHERE relname = 't'").fetchone() == (500,)


OF_EVERY_KIND = """
    CREATE TABLE "Odd ""one" AS SELECT n AS "%" FROM generate_series(1, 50) n;
    CREATE TABLE day (id int, at date) PARTITION BY RANGE (at);
    CREATE TABLE day_1 PARTITION OF day FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
    CREATE TABLE day_2 PARTITION OF day DEFAULT PARTITION BY LIST (id);
    CREATE TABLE day_2_rest PARTITION OF day_2 DEFAULT;
    CREATE TABLE parent (id int);
    CREATE TABLE child (more text) INHERITS (parent);
    INSERT INTO day SELECT n, '2026-01-01'::date + n FROM generate_series(1, 60) n;
    INSERT INTO parent SELECT n FROM generate_series(1, 5) n;
    INSERT INTO child SELECT n, 'x' FROM generate_series(1, 5) n;
    CREATE INDEX odd ON day_1 ((id % 7));
    CREATE MATERIALIZED VIEW seen AS SELECT count(*) FROM day;
"""


def test_the_planner_knows_of_a_copy_what_one_analyze_of_everything_tells_it(
    access: ServerAccess, connection: Connection, database: str, take: Take, restore: Restore
) -> None:
    connection.execute(OF_EVERY_KIND)
    restore(take(database), f"{database}_r")
    query = "SELECT schemaname, tablename, inherited, attname FROM pg_stats WHERE schemaname <> 'pg_catalog'"
    with connect(access, f"{database}_r", purpose="test") as copy:
        known = set(copy.execute(query))
        catalogues = copy.execute("SELECT last_analyze FROM pg_stat_sys_tables WHERE relname = 'pg_class'").fetchone()
        copy.execute("ANALYZE")
        assert known == set(copy.execute(query))
        assert len(known) > 10
    assert catalogues != (None,)


def test_jobs_that_block_each_other_for_ever_are_followed_by_one_alone(
    access: ServerAccess,
    control: Connection,
    connection: Connection,
    database: str,
    programs: ClientPrograms,
    take: Take,
    store: FolderStore,
    tmp_path: Path,
) -> None:
    connection.execute("CREATE TABLE t AS SELECT n FROM generate_series(1, 500) n")
    backup = take(database)
    tried = tmp_path / "tried"
    program = tmp_path / "pg_restore"
    program.write_text(
        "#!/bin/sh\n"
        f'case " $* " in *" --jobs=1 "*) exec {programs.path("pg_restore")} "$@";; esac\n'
        f"echo once >> {tried}; echo 'ERROR:  deadlock detected' >&2; exit 1\n"
    )
    program.chmod(0o755)
    restore_beside(
        access,
        control,
        backup,
        store.path_of(backup),
        programs=replace(programs, folder=tmp_path),
        into=f"{database}_r",
        like=read_properties(control, database),
    )
    assert tried.read_text() == "once\n"
    with connect(access, f"{database}_r", purpose="test") as copy:
        assert copy.execute("SELECT count(*) FROM t").fetchone() == (500,)


def test_leftover_of_a_killed_restore_is_replaced(
    access: ServerAccess, control: Connection, connection: Connection, database: str, take: Take, restore: Restore
) -> None:
    connection.execute("CREATE TABLE t (n int)")
    into = f"{database}_r"
    with new_database(control, sql.SQL("TEMPLATE template0"), prefix=into) as leftover:
        comment_on(control, leftover, "squizzle: being restored from backup b0")
        with connect(access, leftover, purpose="test somebody still in it") as session:
            session.execute("CREATE TABLE half_done ()")
            restore(take(database), leftover)
        with connect(access, leftover, purpose="test") as copy:
            assert copy.execute("SELECT to_regclass('half_done') IS NULL, to_regclass('t')::text").fetchone() == (
                True,
                "t",
            )


def test_database_of_somebody_else_is_refused_and_untouched(
    access: ServerAccess, control: Connection, database: str, take: Take, restore: Restore
) -> None:
    backup = take(database)
    with connect(access, database, purpose="test") as session:
        session.execute("CREATE TABLE precious AS SELECT 1 AS n")
        for comment in (None, "our shop", "not squizzle: being restored"):
            comment_on(control, database, comment)
            with pytest.raises(RecoveryError, match="was not made by a restore"):
                restore(backup, database)
        assert session.execute("SELECT n FROM precious").fetchone() == (1,)


def test_rows_that_break_a_constraint_of_their_own_dump_stop_the_restore(
    control: Connection, connection: Connection, database: str, take: Take, restore: Restore
) -> None:
    # A function in a CHECK that reads another table: pg_restore loads without a search_path, and it does not find it.
    connection.execute("CREATE TABLE allowed AS SELECT 1 AS n")
    connection.execute(
        "CREATE FUNCTION is_allowed(v int) RETURNS boolean LANGUAGE sql AS 'SELECT v IN (SELECT n FROM allowed)'"
    )
    connection.execute("CREATE TABLE t (n int CHECK (is_allowed(n))); INSERT INTO t VALUES (1)")
    with pytest.raises(ToolError, match='relation "allowed" does not exist') as caught:
        restore(take(database), f"{database}_r")
    assert caught.value.command == "pg_restore"
    assert databases(control, database) == {database}


def test_killed_restore_drops_the_half_copy(
    access: ServerAccess, control: Connection, connection: Connection, database: str, take: Take, restore: Restore
) -> None:
    into = f"{database}_r"
    # It never gets done: in the copy the index takes a minute.
    connection.execute(
        "CREATE FUNCTION slow(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN"
        f" IF current_database() = '{into}' THEN PERFORM pg_sleep(60); END IF; RETURN n; END $$"
    )
    connection.execute("CREATE TABLE t AS SELECT 1 AS n; CREATE INDEX ON t (slow(n))")
    backup = take(database)
    errors: list[BaseException] = []

    def work() -> None:
        with connect(access, "postgres", purpose="test restore") as own:
            try:
                restore(backup, into, control=own)
            except SquizzleError as error:
                errors.append(error)

    restoring = threading.Thread(target=work)
    restoring.start()
    wait_until(lambda: bool(pg_restores()), "pg_restore runs")
    for pid in pg_restores():
        with contextlib.suppress(ProcessLookupError):  # without the first its workers end by themselves
            os.kill(pid, signal.SIGKILL)
    restoring.join(60)
    [error] = errors
    assert isinstance(error, ToolError)
    assert databases(control, database) == {database}


def pg_restores() -> list[int]:
    below = descendants_of(os.getpid())
    return [pid for pid in below if command_of(pid).split(" ")[0].endswith("/pg_restore")]


# Does not restore anything: it ends the session that the clean-up needs, and fails.
PG_RESTORE = """#!/bin/sh
{python} -c "
import psycopg
with psycopg.connect(dbname='postgres', autocommit=True) as session:
    session.execute('SELECT pg_terminate_backend({pid}, 5000)')
"
echo 'planted failure' >&2
exit 3
"""


def test_failing_clean_up_does_not_hide_why_the_restore_failed(
    access: ServerAccess,
    control: Connection,
    database: str,
    programs: ClientPrograms,
    store: FolderStore,
    take: Take,
    tmp_path: Path,
) -> None:
    backup = take(database)
    into = f"{database}_r"
    with connect(access, "postgres", purpose="test restore") as own:
        program = tmp_path / "pg_restore"
        program.write_text(PG_RESTORE.format(python=sys.executable, pid=own.info.backend_pid), encoding="utf-8")
        program.chmod(0o755)
        with pytest.raises(ToolError, match="planted failure") as caught:
            restore_beside(
                access,
                own,
                backup,
                store.path_of(backup),
                programs=replace(programs, folder=tmp_path),
                into=into,
                like=read_properties(control, database),
            )
        own.close()
    assert any(into in note for note in caught.value.__notes__)
    # What stays is marked, so that the next try replaces it.
    assert str(read_properties(control, into).comment).startswith("squizzle: being restored")


LOCALES = {
    "two locales": "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'",
    "LATIN1": "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'",
    "without an encoding": "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'",
    "ICU": "LOCALE_PROVIDER icu ICU_LOCALE 'de-AT' ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'",
    "built in": "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'",
}


@pytest.mark.parametrize("options", LOCALES.values(), ids=LOCALES)
def test_encoding_and_locale_of_the_copy_are_those_of_the_source(control: Connection, options: str) -> None:
    skip_unknown_provider(control, options)
    with new_database(control, sql.SQL(f"TEMPLATE template0 {options}")) as name:  # type: ignore[arg-type]
        source = read_properties(control, name)
        control.execute(create_like(source, f"{name}_like"))
        assert read_properties(control, f"{name}_like") == source


def skip_unknown_provider(control: Connection, options: str) -> None:
    if "builtin" in options and control.info.server_version < 170000:
        pytest.skip("PostgreSQL 17 and later")
    icu = control.execute("SELECT FROM pg_collation WHERE collname = 'de-x-icu'").fetchone()
    if "icu" in options and icu is None:
        pytest.skip("the server knows no ICU")


def test_copy_has_the_provider_of_the_source_where_the_template_has_another(control: Connection) -> None:
    # As on a server that was made with `initdb --locale-provider`.
    column = "datlocale" if control.info.server_version >= 170000 else "daticulocale"
    provider, locale = ("b", "C.UTF-8") if column == "datlocale" else ("i", "de")
    if provider == "i" and control.execute("SELECT FROM pg_collation WHERE collname = 'de-x-icu'").fetchone() is None:
        pytest.skip("the server knows no ICU")
    change = "UPDATE pg_database SET datlocprovider = {}, {} = {} WHERE datname = 'template0'"

    def give_template(provider: str, locale: str | None) -> None:
        control.execute(sql.SQL(change).format(provider, sql.Identifier(column), sql.Literal(locale)))

    with new_database(control, sql.SQL("TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'")) as name:
        source = read_properties(control, name)
        give_template(provider, locale)
        try:
            control.execute(create_like(source, f"{name}_like"))
        finally:
            give_template("c", None)
        assert read_properties(control, f"{name}_like") == source


@pytest.mark.parametrize("name", ["host=evil.example dbname=x", '-My "Cöpy"; %s {}'])
def test_odd_name_of_the_copy_is_only_a_name(
    access: ServerAccess, control: Connection, take: Take, restore: Restore, name: str
) -> None:
    with new_database(control, sql.SQL("TEMPLATE template0")) as source:
        with connect(access, source, purpose="test") as session:
            session.execute("CREATE TABLE t (n int)")
        backup = take(source)
        try:
            restore(backup, name)
            with connect(access, name, purpose="test") as copy:
                assert copy.execute("SELECT to_regclass('t')::text, current_database()").fetchone() == ("t", name)
        finally:
            drop_databases(control, name)
