"""Names and texts of any kind reach PostgreSQL as what they are: nothing is cut, run, or taken for another's."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, assume, example, given, settings
from psycopg import sql

from squizzle.alerts.ledger import add_silence, end_silence, make_tables, read_silences
from squizzle.backups.change_log.switching import disable, enable
from squizzle.errors import DatabaseError
from squizzle.incidents.ledger import close_incident, open_incident, read_open
from squizzle.incidents.ledger import make_tables as make_incident_tables
from squizzle.migrations.forgetting import forget_saved_rows
from squizzle.migrations.history import ensure_history, read_history
from squizzle.migrations.operations import apply_versions, roll_back_versions
from squizzle.postgres.access import Connection, ServerAccess, connect, conninfo_database
from squizzle.postgres.client_run import run_client
from squizzle.postgres.decisions import Answer, Question, find_decision, record_decision
from squizzle.postgres.grants import Account, Job, held_rights, rights_for
from squizzle.postgres.identity import ExpectedIdentity, Target, ensure_identity
from squizzle.postgres.programs import ClientPrograms
from squizzle.postgres.sql_files import load_sql
from squizzle.proof.digests import digest_database
from squizzle.recovery.fence import fence, is_fenced, unfence
from squizzle.recovery.new_database import drop_database, is_taken
from squizzle.rollout.ledger import RolloutRow, begin_rollout, end_rollout, find_rollout, note_taking_back
from squizzle.rollout.records import PlannedVersion
from tests.integration.migrations.conftest import Folder
from tests.support.nasty_names import names, texts
from tests.support.scratch import new_database

pytestmark = pytest.mark.one_server
FEW, MANY = 4, 150
QUICKLY = settings(
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
AT_LENGTH = pytest.mark.chaos
# What is there already, or is PostgreSQL's own.
new_names = names.filter(lambda name: not name.startswith("pg_") and name not in {"public", "squizzle", "x"})


@pytest.fixture(scope="module")
def place(access: ServerAccess) -> Iterator[str]:
    """A database with three rows that nobody may touch."""
    with (
        connect(access, "postgres", purpose="test") as control,
        new_database(control, sql.SQL("TEMPLATE template0 ENCODING 'UTF8'"), prefix="named") as name,
    ):
        with connect(access, name, purpose="test") as session:
            session.execute("CREATE TABLE precious AS SELECT generate_series(1, 3) AS id")
            # So that everybody may be given the right to read it.
            session.execute("CREATE SCHEMA squizzle")
            session.execute(load_sql("squizzle.postgres", "identity_table"))
        yield name


@pytest.fixture
def session(access: ServerAccess, place: str) -> Iterator[Connection]:
    with connect(access, place, purpose="test") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "migrations")


def nothing_else_happened(session: Connection) -> bool:
    query = (
        "SELECT count(*), (SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace)"
    )
    return session.execute(f"{query} FROM public.precious".encode()).fetchone() == (3, 1)


def everything_with(session: Connection, owner: str, schema: str, table: str, role: str, text: str) -> None:
    place, column = sql.Identifier(schema, table), sql.Identifier(role)
    session.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    session.execute(sql.SQL("CREATE TABLE {} ({} int PRIMARY KEY)").format(place, column))
    session.execute(sql.SQL("INSERT INTO {} VALUES (1), (2)").format(place))
    ensure_history(session, schema)
    assert read_history(session, schema).rows == ()

    found = digest_database(session, schema=schema)
    assert [one.rows for one in found.tables] == [2]
    target = Target(database=session.info.dbname, schema=schema)
    enable(session, target, ((schema, table),), on_wait=print)
    update = sql.SQL("UPDATE {0} SET {1} = {1} + 10 RETURNING pg_current_xact_id()::text").format(place, column)
    ((changed,), _) = session.execute(update).fetchall()
    # The names come again in other examples, the rows do not.
    logged = "SELECT count(*) FROM squizzle_log.change WHERE (on_schema, on_table) = (%s, %s) AND xid = %s::xid8"
    assert session.execute(logged, (schema, table, changed)).fetchone() == (2,)
    disable(session, target, ((schema, table),), on_wait=print)
    assert [one.rows for one in digest_database(session, schema=schema).tables] == [2]

    for job in Job:
        account = Account(role=role, owner=owner, database=session.info.dbname, schemas=(schema,))
        rights = rights_for(job, account)
        for one in rights:
            session.execute(one.statement)
        assert False not in held_rights(session, rights)

    make_tables(session)
    made = add_silence(
        session, text, rule=text, target=text, length=timedelta(hours=1), reason=f"x{text}", by=f"x{role}"
    )
    (kept,) = [one for one in read_silences(session, text) if one.id == made.id]
    assert (kept.rule, kept.target, kept.reason, kept.by) == (text, text, f"x{text}", f"x{role}")
    end_silence(session, text, made.id, by=text)
    question = Question(gate="names", title=text, plan=text, facts=(text,))
    decided = record_decision(session, question, Answer.APPROVE, decided_by=f"x{text}", comment=text, run=text)
    assert (decided.decided_by, decided.comment) == (f"x{text}".strip(), text)
    assert find_decision(session, question) == decided
    kept_of_a_fleet(session, text, f"{schema}.{table}")


def kept_of_a_fleet(session: Connection, fleet: str, target: str) -> None:
    """Rollouts, incidents, sweeps and an identity, by whatever names."""
    labels = ((f"tier {fleet}", fleet),)
    row = RolloutRow(
        id=f"r{fleet}{secrets.token_hex(4)}", fleet=fleet, versions=(PlannedVersion(version=target, checksum=fleet),), stage_of={target: fleet},
        started_at=datetime.now(UTC), started_by=fleet, only=labels,
    )  # fmt: skip
    begun = begin_rollout(session, row)
    note_taking_back(session, row.id, stage=fleet, why=fleet)
    assert find_rollout(session, fleet) == replace(begun, failed_stage=fleet, failure=fleet)
    end_rollout(session, row.id, "done")
    make_incident_tables(session)
    incident = open_incident(session, fleet, target, cause=fleet, by=fleet)
    assert [(one.cause, one.target) for one in read_open(session, fleet)] == [(fleet, target)]
    close_incident(session, incident, shown_by=fleet, by=fleet)
    assert read_open(session, fleet) == ()
    session.execute("DELETE FROM squizzle.identity")
    made = ensure_identity(session, ExpectedIdentity(environment=fleet, fleet=target), database=session.info.dbname)
    assert (made.environment, made.fleet) == (fleet, target)
    session.execute("DELETE FROM squizzle.identity")


def without(session: Connection, schema: str, role: str) -> None:
    session.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
    session.execute(sql.SQL("DROP OWNED BY {0} CASCADE; DROP ROLE {0}").format(sql.Identifier(role)))


@pytest.mark.parametrize("examples", [FEW, pytest.param(MANY, marks=AT_LENGTH)])
def test_schemas_tables_columns_roles_and_texts_are_what_they_are(session: Connection, examples: int) -> None:
    owner = session.info.user

    @settings(QUICKLY, max_examples=examples)
    @given(new_names, new_names, new_names, texts)
    @example("50 %s", "%(x)s", "%", "%d{x}")
    def with_any_names(schema: str, table: str, role: str, text: str) -> None:
        session.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
        try:
            everything_with(session, owner, schema, table, role, text)
        finally:
            without(session, schema, role)
        assert nothing_else_happened(session)

    with_any_names()


@pytest.mark.parametrize("examples", [2, pytest.param(60, marks=AT_LENGTH)])
def test_a_database_is_dumped_fenced_and_dropped_by_whatever_name(
    access: ServerAccess,
    control: Connection,
    session: Connection,
    programs: ClientPrograms,
    tmp_path: Path,
    examples: int,
) -> None:
    @settings(QUICKLY, max_examples=examples)
    @given(new_names)
    def with_any_name(name: str) -> None:
        assume(not is_taken(control, name))
        control.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 STRATEGY file_copy").format(sql.Identifier(name))
        )
        try:
            with connect(access, name, purpose="test") as opened:
                assert opened.execute("SELECT current_database()").fetchone() == (name,)
            asks = ["--no-psqlrc", f"--dbname={conninfo_database(name)}", "--command=CREATE TABLE here ()"]
            dumps = ["--schema-only", f"--file={tmp_path / 'dump'}"]
            for program, arguments in (("psql", asks), ("pg_dump", dumps)):
                run_client(
                    programs.path(program), arguments, access=access, database=name, doing="look",
                    timeout=timedelta(minutes=1),
                )  # fmt: skip
            assert "public.here" in (tmp_path / "dump").read_text(encoding="utf-8")
            fence(control, name)
            assert is_fenced(control, name)
            unfence(control, name)
        finally:
            drop_database(control, name)
        assert nothing_else_happened(session)

    with_any_name()


@pytest.mark.parametrize("examples", [2, pytest.param(60, marks=AT_LENGTH)])
def test_a_version_of_any_name_goes_into_a_schema_of_any_name_and_back(
    session: Connection, folder: Folder, examples: int
) -> None:
    folder.write("1", "CREATE TABLE t (a int)", down="DROP TABLE t")
    (migration,) = folder.read()

    @settings(QUICKLY, max_examples=examples)
    @given(new_names, texts)
    @example("100 % {} %s %(x)s %%", "%s")
    def with_any_names(schema: str, name: str) -> None:
        target = Target(database=session.info.dbname, schema=schema)
        named = (replace(migration, name=name),)
        session.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        try:
            apply_versions(session, target, named)
            assert [row.name for row in read_history(session, schema).rows] == [name]
            roll_back_versions(session, target, named, only="1")
        finally:
            session.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
        assert nothing_else_happened(session)

    with_any_names()


@pytest.mark.parametrize(
    "forged", ["public.precious", "public.precious; DROP TABLE public.precious", 'x" ; SELECT 1; --']
)
def test_a_history_that_somebody_wrote_into_has_nothing_else_dropped(
    session: Connection, folder: Folder, forged: str
) -> None:
    schema = f"forged_{secrets.token_hex(3)}"
    session.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    target = Target(database=session.info.dbname, schema=schema)
    folder.write("1", "CREATE TABLE t (a int)", down="DROP TABLE t")
    apply_versions(session, target, folder.read())
    table = {"number": 1, "line": 1, "table": "t", "name": forged, "rows": 1}
    saved = json.dumps({"save_as": "x", "tables": [table]})
    place = sql.Identifier(schema, "squizzle_history")
    session.execute(sql.SQL("UPDATE {} SET saved_rows = %s").format(place), (saved,))

    # A name that is none is refused by PostgreSQL; of another table there is nothing to drop.
    with suppress(DatabaseError):
        forget_saved_rows(session, target, "1")
    assert nothing_else_happened(session)
