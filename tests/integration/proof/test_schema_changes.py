"""The schema fingerprint notices everything that a migration can do or forget, and nothing else."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg import sql

from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.proof import digests
from squizzle.proof.comparison import compare_digests
from squizzle.proof.digests import digest_schema
from squizzle.proof.records import DatabaseDigest, SchemaDigest
from tests.integration.proof.changes import ALL, Change
from tests.support.scratch import new_database

COMPANY = Path(__file__).with_name("company.sql").read_text(encoding="utf-8")
ROLES = {"reader": f"reader_{secrets.token_hex(3)}", "owner": f"owner_{secrets.token_hex(3)}"}


@pytest.fixture(scope="module")
def company(access: ServerAccess) -> Iterator[Connection]:
    """A session in a database with one of everything; each test leaves it as it was."""
    with connect(access, "postgres", purpose="test") as control:
        for role in ROLES.values():
            control.execute(f"CREATE ROLE {role}".encode())
        with (
            new_database(control, sql.SQL("TEMPLATE template0")) as name,
            connect(access, name, purpose="test") as session,
        ):
            run(session, COMPANY)
            session.execute("SET allow_system_table_mods = on")
            yield session
        for role in ROLES.values():
            control.execute(f"DROP ROLE {role}".encode())


@pytest.fixture(scope="module")
def reader(access: ServerAccess, company: Connection) -> Iterator[Connection]:
    """A second session, for fingerprints.

    Planning the long query over the catalogue costs more than running it, so here it is planned only once; psycopg
    forgets prepared statements in a session that runs ALTER or DROP.
    """
    with connect(access, company.info.dbname, purpose="test") as session:
        session.execute("SET plan_cache_mode = force_generic_plan")
        session.prepare_threshold = 0
        yield session


@pytest.fixture(scope="module")
def start(reader: Connection) -> SchemaDigest:
    return digest_schema(reader)


def run(session: Connection, statements: str) -> None:
    """The statements are constants of these tests."""
    session.execute(statements.format(**ROLES).encode())


@contextmanager
def changed(session: Connection, change: Change, *, reader: Connection | None = None) -> Iterator[SchemaDigest]:
    """The fingerprint after a change; the change is undone, or rolled back where nothing undoes it."""
    if change.undo:
        run(session, change.do)
        try:
            yield digest_schema(reader or session)
        finally:
            run(session, change.undo)
        return
    with session.transaction(force_rollback=True):
        run(session, change.do)
        # A snapshot of its own is impossible in the middle of a transaction.
        session.execute(digests._SET_FOR_TRANSACTION, (json.dumps(digests._TEXT_SETTINGS),))
        yield digests._schema_digest(session, None)


def skip_unknown(session: Connection, change: Change) -> None:
    if session.info.server_version // 10000 < change.since:
        pytest.skip(f"PostgreSQL {change.since} and later")
    if change.needs and session.execute(change.needs.encode()).fetchone() is None:
        pytest.skip(f"the server has nothing for {change.needs}")


def sentences(expected: SchemaDigest, found: SchemaDigest) -> tuple[str, ...]:
    """What a person would read about the difference."""
    empty = DatabaseDigest(schema=expected, tables=(), sequences={})
    return compare_digests(empty, replace(empty, schema=found)).sentences()


@pytest.mark.parametrize("change", ALL, ids=lambda change: change.do[:90])
def test_change_is_noticed_and_its_reversal_brings_the_start_back(
    company: Connection, reader: Connection, start: SchemaDigest, change: Change
) -> None:
    skip_unknown(company, change)
    with changed(company, change, reader=reader) as after:
        assert after.logical != start.logical
        assert after.strict != start.strict
        assert sentences(start, after)
    if not change.undo:
        return  # rolled back, which is PostgreSQL's promise and not ours
    back = digest_schema(reader)
    assert (back.strict, back.logical) == (start.strict, start.logical), sentences(start, back)


def test_every_object_has_one_row_of_its_kind(start: SchemaDigest) -> None:
    names = [(one.kind, one.name) for one in start.objects]
    assert len(names) == len(set(names))


def test_order_of_columns_alone_differs_strictly_and_means_the_same(company: Connection, start: SchemaDigest) -> None:
    recreated = """
        CREATE TABLE s.u2 (c text, a int, b int); DROP TABLE s.u CASCADE; ALTER TABLE s.u2 RENAME TO u;
        CREATE INDEX u_a_idx ON s.u (a); GRANT SELECT ON s.u TO {reader}; ALTER PUBLICATION pub ADD TABLE s.u
    """
    with changed(company, Change(do=recreated)) as after:
        assert after.strict != start.strict
        assert after.logical == start.logical
        assert sentences(start, after) == ()


def test_order_of_options_privileges_and_roles_means_nothing(company: Connection, start: SchemaDigest) -> None:
    one_way = """
        ALTER TABLE s.t SET (fillfactor = 70, autovacuum_enabled = false); GRANT SELECT ON s.t TO {owner}, {reader};
        ALTER TABLE s.t ALTER note SET (n_distinct = 5, n_distinct_inherited = 6);
        ALTER POLICY t_policy ON s.t TO {owner}, {reader}; ALTER SERVER f_server OPTIONS (ADD a '1', ADD b '2')
    """
    other_way = """
        ALTER TABLE s.t SET (autovacuum_enabled = false); ALTER TABLE s.t SET (fillfactor = 70);
        GRANT SELECT ON s.t TO {reader}; GRANT SELECT ON s.t TO {owner};
        ALTER TABLE s.t ALTER note SET (n_distinct_inherited = 6, n_distinct = 5);
        ALTER POLICY t_policy ON s.t TO {reader}, {owner}; ALTER SERVER f_server OPTIONS (ADD b '2', ADD a '1')
    """
    with changed(company, Change(do=one_way)) as first:
        assert first.logical != start.logical
    with changed(company, Change(do=other_way)) as second:
        assert second.strict == first.strict


@pytest.mark.parametrize("which", ["first", "second"])
def test_each_switched_off_foreign_key_counts(company: Connection, which: str) -> None:
    two = """
        CREATE TABLE s.k (a int CONSTRAINT first REFERENCES s.parent, b int CONSTRAINT second REFERENCES s.parent);
        ALTER TABLE s.k DISABLE TRIGGER ALL
    """
    triggers = """
        SELECT format('ALTER TABLE s.k ENABLE TRIGGER %%I', t.tgname)
        FROM pg_trigger t JOIN pg_constraint k ON k.oid = t.tgconstraint
        WHERE t.tgrelid = 's.k'::regclass AND k.conname = %s
    """
    company.execute(two.encode())
    try:
        both_off = digest_schema(company)
        for (command,) in company.execute(triggers, (which,)).fetchall():
            company.execute(command)
        one_off = digest_schema(company)
        assert one_off.logical != both_off.logical
        assert any(f"s.k.{which}" in text for text in sentences(both_off, one_off))
    finally:
        company.execute("DROP TABLE s.k")


def test_index_that_became_invalid_is_told(company: Connection, start: SchemaDigest) -> None:
    broken = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 's.t_note_idx'::regclass"
    with changed(company, Change(do=broken)) as after:
        assert "missing: index s.t_note_idx" in sentences(start, after)
        assert "unexpected: invalid index s.t_note_idx" in sentences(start, after)


def test_invalid_index_may_be_gone_and_nothing_else_may(company: Connection) -> None:
    broken = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 's.t_note_idx'::regclass"
    with changed(company, Change(do=broken)) as invalid:
        pass
    with changed(company, Change(do="DROP INDEX s.t_note_idx")) as gone:
        pass
    with changed(company, Change(do="DROP INDEX s.t_note_idx, s.u_a_idx")) as more_gone:
        pass
    assert sentences(invalid, gone) == ()
    assert sentences(invalid, more_gone) == ("missing: index s.u_a_idx",)
    assert sentences(gone, invalid) == ("unexpected: invalid index s.t_note_idx",)


def test_fingerprint_of_one_schema_ignores_the_others(company: Connection) -> None:
    before = digest_schema(company, schema="s")
    run(company, "CREATE TABLE d.elsewhere ()")
    try:
        assert digest_schema(company, schema="s").strict == before.strict
    finally:
        run(company, "DROP TABLE d.elsewhere")
    assert {one.kind for one in before.objects}.isdisjoint({"extension", "publication", "language"})


def test_own_bookkeeping_is_not_part_of_the_schema(company: Connection, start: SchemaDigest) -> None:
    bookkeeping = """
        CREATE SCHEMA squizzle; CREATE TABLE squizzle.identity (id int);
        CREATE TABLE public.squizzle_history (id int GENERATED ALWAYS AS IDENTITY CONSTRAINT squizzle_history_pkey
            PRIMARY KEY)
    """
    with changed(company, Change(do=bookkeeping)) as after:
        assert after.strict == start.strict
