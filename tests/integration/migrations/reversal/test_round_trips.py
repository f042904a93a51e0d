"""Every kind of change and its generated way back, on real servers: executed, compared, and applied again."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg import errors, sql

from squizzle.analysis.statements import split_statements
from squizzle.migrations.reversal.catalogue import Catalogue
from squizzle.migrations.reversal.context import Context
from squizzle.migrations.reversal.generate import Script, reverse_with_proof
from squizzle.migrations.reversal.proving import Proof, prove, run_forward
from squizzle.migrations.reversal.records import Match, Reversal, Reverse, Reversibility
from squizzle.migrations.reversal.scratch import ScratchDatabases
from squizzle.migrations.reversal.search_path import first_path
from squizzle.migrations.reversal.statements import reverse_statement
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.programs import ClientPrograms
from squizzle.postgres.scratch_server import ScratchServer
from squizzle.proof.digests import digest_own_changes
from tests.integration.proof.changes import ALL, Change
from tests.support.scratch import new_database

COMPANY = Path(__file__).parents[2].joinpath("proof", "company.sql").read_text(encoding="utf-8")
ROLES = {"reader": f"reader_{secrets.token_hex(3)}", "owner": f"owner_{secrets.token_hex(3)}"}

# What PostgreSQL itself has no way back for; the label must say so.
NO_WAY_BACK = {
    "ALTER TABLE s.child NO INHERIT s.base",
    next(change.do for change in ALL if "ATTACH PARTITION s.loose_part" in change.do),
    "DROP EXTENSION IF EXISTS plpgsql CASCADE",
    "ALTER SERVER f_server VERSION '2'",
}


class Place:
    """A database with one of everything, made anew after a test that did not leave it as it was."""

    def __init__(self, control: Connection, access: ServerAccess, template: str, programs: ClientPrograms) -> None:
        self._control, self._access, self._template, self._programs = control, access, template, programs
        self._connection: Connection | None = None
        self._made: list[str] = []

    @property
    def connection(self) -> Connection:
        if self._connection is None:
            name = f"{self._template}_{len(self._made)}"
            self._made.append(name)
            command = sql.SQL("CREATE DATABASE {} STRATEGY file_copy TEMPLATE {}")
            self._control.execute(command.format(sql.Identifier(name), sql.Identifier(self._template)))
            self._connection = connect(self._access, name, purpose="test")
        return self._connection

    def prove(self, script: str, *, context: Context | None = None) -> Proof:
        catalogue = Catalogue(self.connection, access=self._access, programs=self._programs)
        statements = split_statements(script.format(**ROLES), source="test")
        path = first_path((one.sql for one in statements), schema="public")
        try:
            proof = prove(self.connection, catalogue, statements, context=context or Context(path=path))
        except BaseException:
            self.close()
            raise
        if proof.match is not Match.STRICT:
            self.close()
        return proof

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@pytest.fixture(scope="module")
def place(access: ServerAccess, programs: ClientPrograms) -> Iterator[Place]:
    with connect(access, "postgres", purpose="test") as control:
        for role in ROLES.values():
            control.execute(f"CREATE ROLE {role}".encode())
        with new_database(control, sql.SQL("TEMPLATE template0")) as template:
            with connect(access, template, purpose="test") as session:
                session.execute(COMPANY.format(**ROLES).encode())
            made = Place(control, access, template, programs)
            yield made
            made.close()
        for role in ROLES.values():
            control.execute(f"DROP ROLE {role}".encode())


def is_script(change: Change) -> bool:
    """Some change what no script may: the catalogue itself, or what roles of the cluster are."""
    return not change.do.startswith("UPDATE pg_") and "SUPERUSER" not in change.do


def wanted(connection: Connection, position: int, change: Change, every: int) -> bool:
    """Every n-th change on each server, others on others, and all that only newer ones know.

    A proof costs a tenth of a second, and there are 300 changes: `make exhaustive` proves them all.
    """
    major = connection.info.server_version // 10000
    if major < change.since:
        return False
    if change.needs and connection.execute(change.needs.encode()).fetchone() is None:
        return False
    return bool(change.since) or change.do in NO_WAY_BACK or position % every == major % every


@pytest.mark.parametrize(
    ("every", "at_least"),
    [pytest.param(12, 24, id="some"), pytest.param(1, 200, marks=pytest.mark.exhaustive, id="every one")],
)
def test_every_change_comes_back_or_is_said_not_to(place: Place, every: int, at_least: int) -> None:
    changes = [change for change in ALL if is_script(change)]
    chosen = [change for position, change in enumerate(changes) if wanted(place.connection, position, change, every)]
    assert len(chosen) > at_least
    wrong = []
    for change in chosen:
        proof = place.prove(change.do)
        exact = all(one.reverse.reversibility is Reversibility.EXACT for one in proof.statements)
        if (proof.match is Match.DIFFERENT) != (change.do in NO_WAY_BACK) or (
            exact and proof.match is not Match.STRICT
        ):
            wrong.append((change.do, proof.match, [one.reverse for one in proof.statements]))

    assert wrong == []


# What hand-written down scripts get wrong, and what needs more than one statement to go wrong.
STORIES = {
    "a unique index is not a plain one": "DROP INDEX s.m_number_key",
    "a length comes back": "ALTER TABLE s.u ALTER c TYPE varchar(10); ALTER TABLE s.u ALTER c TYPE text",
    "a default survives a type change": """
        ALTER TABLE s.u ALTER b SET DEFAULT 7;
        ALTER TABLE s.u ALTER b DROP DEFAULT, ALTER b TYPE text USING b::text, ALTER b SET DEFAULT 'seven'
    """,
    "a foreign key keeps its action and its name": """
        ALTER TABLE s.u ADD CONSTRAINT odd_name FOREIGN KEY (a) REFERENCES s.parent ON DELETE SET NULL DEFERRABLE;
        ALTER TABLE s.u DROP CONSTRAINT odd_name
    """,
    "a view that gained a column": """
        CREATE OR REPLACE VIEW s.v AS SELECT id, name, note FROM s.t;
        COMMENT ON COLUMN s.v.note IS 'new'; GRANT SELECT ON s.v TO {reader};
        CREATE OR REPLACE VIEW s.v AS SELECT id, name, note, price FROM s.t
    """,
    "views on views": """
        CREATE VIEW s.v2 AS SELECT name FROM s.v; GRANT SELECT ON s.v2 TO {reader}; COMMENT ON VIEW s.v2 IS 'x';
        DROP VIEW s.v CASCADE
    """,
    "a function's last body, not the one before": """
        CREATE OR REPLACE FUNCTION s.even(v int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT v % 4 = 0';
        CREATE OR REPLACE FUNCTION s.even(v int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT v % 8 = 0'
    """,
    "a function whose parameters changed": """
        CREATE FUNCTION s.f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1';
        CREATE OR REPLACE FUNCTION s.f(a int DEFAULT 3) RETURNS int LANGUAGE sql AS 'SELECT 2'
    """,
    "an enum with a column, a default, an index and a view": """
        CREATE TABLE s.e (m s.mood NOT NULL DEFAULT 'low', many s.mood[]);
        CREATE INDEX e_m_idx ON s.e (m) WHERE m <> 'mid'; CREATE VIEW s.ev AS SELECT m FROM s.e WHERE m = 'high';
        COMMENT ON TYPE s.mood IS 'how it is'; GRANT USAGE ON TYPE s.mood TO {reader};
        ALTER TYPE s.mood ADD VALUE 'top' AFTER 'low'
    """,
    "names that are chosen": """
        CREATE INDEX ON s.u (a, lower(c)); CREATE INDEX ON s.u (a, lower(c));
        ALTER TABLE s.u ADD CHECK (a > 0), ADD CHECK (a < b), ADD UNIQUE (a, b), ADD FOREIGN KEY (b) REFERENCES s.parent;
        ALTER TABLE s.u ADD PRIMARY KEY (a), ADD EXCLUDE (b WITH =)
    """,
    "a key from an index": """
        CREATE UNIQUE INDEX was_an_index ON s.u (a) WITH (fillfactor = 50);
        ALTER TABLE s.u ADD CONSTRAINT now_a_key PRIMARY KEY USING INDEX was_an_index
    """,
    "a renamed table that loses a constraint": """
        ALTER TABLE s.t RENAME TO t2; ALTER TABLE s.t2 DROP CONSTRAINT t_price_check; ALTER TABLE s.t2 RENAME note TO n
    """,
    "moved, owned, described and granted": """
        CREATE SCHEMA s5; ALTER TABLE s.u SET SCHEMA s5; ALTER TABLE s5.u OWNER TO {owner};
        COMMENT ON COLUMN s5.u.a IS 'x'; REVOKE SELECT ON s5.u FROM {reader}; GRANT UPDATE (a) ON s5.u TO {reader}
    """,
    "a table of its own schema, partitioned": "DROP TABLE s.p",
    "a table with everything": "DROP TABLE s.t CASCADE",
    "quoted names": """
        CREATE TABLE s."Order Items" ("select" int PRIMARY KEY, "Ünï" text DEFAULT 'it''s');
        COMMENT ON COLUMN s."Order Items"."Ünï" IS E'a\\nb'; ALTER TABLE s."Order Items" DROP COLUMN "Ünï";
        ALTER TABLE s."Order Items" RENAME "select" TO "from"
    """,
    "another search_path": """
        SET search_path = s; ALTER TABLE u RENAME TO w; CREATE TABLE u (z int);
        SET LOCAL search_path = public, s; CREATE TABLE new (a int); COMMENT ON TABLE w IS 'x'; RESET search_path;
        COMMENT ON TABLE public.new IS 'y'
    """,
    "a serial column of a renamed table": """
        CREATE TABLE s.counted (a text, id bigserial, CONSTRAINT counted_pkey PRIMARY KEY (id));
        ALTER TABLE s.counted RENAME TO numbered; ALTER TABLE s.numbered DROP COLUMN id
    """,
    "an identity column": """
        CREATE TABLE s.i (id int GENERATED ALWAYS AS IDENTITY (START 5 INCREMENT 3 CACHE 7), b int);
        ALTER TABLE s.i ALTER id DROP IDENTITY; ALTER TABLE s.i DROP COLUMN b
    """,
}


@pytest.mark.parametrize("script", STORIES.values(), ids=STORIES)
def test_a_script_goes_back_step_by_step_and_forward_again(place: Place, script: str) -> None:
    proof = place.prove(script)

    assert proof.match is Match.STRICT, [one.reverse for one in proof.statements]
    connection = place.connection
    with connection.transaction(force_rollback=True):
        for statement in split_statements(script.format(**ROLES), source="test"):
            run_forward(connection, statement, Reverse())
        connection.execute("RESET search_path")
        assert digest_own_changes(connection).strict == proof.after.strict


SAVED = """
    CREATE TABLE s.k (id int PRIMARY KEY, a text NOT NULL, b int); INSERT INTO s.k VALUES (1, 'x', 1), (2, 'y', 2);
"""


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE s.k SET a = 'z', b = b + 1 WHERE id > 1",
        "DELETE FROM s.k AS gone USING s.k AS other WHERE gone.id = other.id AND other.a = 'x'",
        "TRUNCATE s.k",
        "DROP TABLE s.k",
        "ALTER TABLE s.k DROP COLUMN b",
        "INSERT INTO s.k (b, id, a) VALUES (3, 3, 'n'), (4, 4, 'm')",
    ],
)
def test_saved_rows_come_back(place: Place, change: str) -> None:
    connection = place.connection
    connection.execute(SAVED.encode())
    rows = connection.execute("SELECT * FROM s.k ORDER BY id").fetchall()
    try:
        place.prove(change, context=Context(save_as="0007"))
        after = place.connection.execute("SELECT * FROM s.k ORDER BY id").fetchall()
        left = place.connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'squizzle_undo'").fetchone()
    finally:
        place.connection.execute("DROP TABLE s.k")

    assert after == rows
    assert left == (0,)


FAMILY = """
    CREATE TABLE s.boss (id int PRIMARY KEY, up int REFERENCES s.boss ON DELETE CASCADE, code text UNIQUE);
    CREATE TABLE s.kid (id int PRIMARY KEY, of int REFERENCES s.boss ON DELETE CASCADE);
    CREATE TABLE s.guest (of text DEFAULT 'old' REFERENCES s.boss (code) ON DELETE SET DEFAULT, a int);
    INSERT INTO s.boss VALUES (1, NULL, 'old'), (2, 1, NULL); INSERT INTO s.kid VALUES (1, 1), (2, 2);
"""


@pytest.mark.parametrize(
    ("newer", "said"),
    [
        ("INSERT INTO s.kid VALUES (5, 7), (6, 8)", ("2 rows of s.kid point at", "= (5), (6)")),
        ("INSERT INTO s.guest VALUES ('$squizzle$ 100%')", ("1 rows of s.guest point at", '= ("$squizzle$ 100%")')),
        ("INSERT INTO s.boss VALUES (9, 8)", ("1 rows of s.boss point at", "= (9)")),
    ],
)
def test_newer_rows_that_point_at_inserted_ones_stop_the_way_back(
    place: Place, newer: str, said: tuple[str, str]
) -> None:
    connection = place.connection
    change = "INSERT INTO s.boss VALUES (7, NULL, '$squizzle$ 100%'), (8, 7, NULL)"
    with connection.transaction(force_rollback=True):
        connection.execute(FAMILY.encode())
        found, _ = reverse_statement(change, Catalogue(connection), Context())
        connection.execute(change.encode())
        assert found.reversibility is Reversibility.EXACT
        with connection.transaction(force_rollback=True):
            _run(connection, found)
            assert connection.execute("SELECT count(*) FROM s.boss").fetchone() == (2,)
        connection.execute(newer.encode())
        with pytest.raises(errors.RaiseException) as refused, connection.transaction():
            _run(connection, found)
        assert all(one in str(refused.value) for one in said)


def _run(connection: Connection, found: Reverse) -> None:
    for text in found.statements:
        connection.execute(text.encode())


def test_rows_of_the_script_itself_that_point_at_inserted_ones_do_not_stop_it(place: Place) -> None:
    connection = place.connection
    connection.execute(FAMILY.encode())
    script = """
        CREATE TABLE s.made (id int REFERENCES s.boss ON DELETE CASCADE); ALTER TABLE s.kid ADD also int
            REFERENCES s.boss ON DELETE SET NULL; INSERT INTO s.boss VALUES (7); INSERT INTO s.made VALUES (7); UPDATE s.kid SET also = 7
    """
    try:
        proof = place.prove(script)
        left = place.connection.execute("SELECT count(*) FROM s.boss").fetchone()
    finally:
        place.connection.execute("DROP TABLE s.guest, s.kid, s.boss")

    assert proof.match is Match.STRICT
    assert {one.reverse.reversibility for one in proof.statements} == {Reversibility.EXACT}
    assert left == (2,)


def test_truncated_tables_get_their_rows_back_referenced_ones_first(place: Place) -> None:
    connection = place.connection
    connection.execute(FAMILY.encode())
    try:
        proof = place.prove("TRUNCATE s.guest, s.kid, s.boss", context=Context(save_as="0007"))
        left = place.connection.execute("SELECT (SELECT count(*) FROM s.kid), (SELECT count(*) FROM s.boss)").fetchone()
    finally:
        place.connection.execute("DROP TABLE s.guest, s.kid, s.boss")

    assert [one.reverse.reversibility for one in proof.statements] == [Reversibility.EXACT]
    assert left == (2, 2)


@pytest.mark.parametrize(
    ("old", "new", "fits", "newer"),
    [
        ("varchar(5)", "text", "'abc'", "'too long'"),
        ("numeric(5, 2)", "numeric", "1.5", "1.555"),
        ("int", "double precision", "7", "7.5"),
        ("int", "numeric", "7", "7.5"),
        ("real", "double precision", "0.1", "0.1"),
        ("int", "text", "7", "'007'"),
        ("int[]", "bigint[]", "'{7}'", "'{7000000000}'"),
    ],
)
def test_a_newer_value_that_the_old_type_would_change_stops_the_way_back(
    place: Place, old: str, new: str, fits: str, newer: str
) -> None:
    connection = place.connection
    with connection.transaction(force_rollback=True):
        connection.execute(f"CREATE TABLE w (a {old}); INSERT INTO w VALUES ({fits})".encode())  # noqa: S608
        kept = connection.execute("SELECT a::text FROM w").fetchall()
        change = f"ALTER TABLE w ALTER a TYPE {new}"
        found, _ = reverse_statement(change, Catalogue(connection), Context())
        connection.execute(change.encode())
        with connection.transaction(force_rollback=True):
            connection.execute(found.statements[0].encode())
            assert connection.execute("SELECT a::text FROM w").fetchall() == kept
        connection.execute(f"INSERT INTO w VALUES ({newer})".encode())  # noqa: S608
        assert found.reversibility is Reversibility.EXACT
        with pytest.raises(errors.DataError), connection.transaction():
            connection.execute(found.statements[0].encode())


@pytest.fixture
def databases(access: ServerAccess, programs: ClientPrograms) -> Iterator[ScratchDatabases]:
    server = ScratchServer(access=access, programs=programs, throwaway=False, where="the tests' server")
    with ScratchDatabases(server) as made:
        yield made


@pytest.fixture
def small(databases: ScratchDatabases) -> str:
    name = databases.empty()
    with databases.open(name, schema="public") as connection:
        connection.execute(
            "CREATE TABLE t (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id) STORED, a text); CREATE INDEX t_a_idx ON t (a); CREATE TABLE plain (a int)"
        )
    return name


Judge = Callable[[str], Reversal]


@pytest.fixture
def judge(databases: ScratchDatabases, small: str) -> Judge:
    """What is said of a script for the small database."""

    def said(script: str) -> Reversal:
        statements = split_statements(script, source="test")
        return reverse_with_proof(
            Script(source="test", statements=statements), databases, lambda: databases.copy_of(small)
        )

    return said


def test_what_no_text_tells_comes_back_by_comparing_catalogues(judge: Judge) -> None:
    found = judge("DO $$ BEGIN EXECUTE 'DROP INDEX t_a_idx'; EXECUTE 'CREATE TABLE u (a int)'; END $$")

    assert (found.match, found.whole is not None) == (Match.STRICT, True)
    # Rows may have been changed, too, which nobody can see.
    assert found.reversibility is Reversibility.LOSSY


def test_a_comparison_that_would_drop_rows_under_another_name_says_so(judge: Judge) -> None:
    found = judge("DO $$ BEGIN EXECUTE 'ALTER TABLE plain RENAME TO renamed'; END $$")

    assert found.whole is not None
    assert "renamed would be dropped with rows" in found.whole.reason
    assert found.reversibility is not Reversibility.EXACT


def test_another_order_of_columns_is_never_called_exact(judge: Judge) -> None:
    found = judge("ALTER TABLE t DROP COLUMN g")

    assert found.match is Match.LOGICAL
    assert found.statements[0].reverse.reversibility is Reversibility.LOSSY
    assert "another order" in found.statements[0].reverse.reason


def test_a_function_that_writes_is_found_also_behind_another(place: Place) -> None:
    connection = place.connection
    with connection.transaction(force_rollback=True):
        connection.execute(
            "CREATE FUNCTION s.writes() RETURNS int LANGUAGE sql AS 'DELETE FROM s.u; SELECT 1';"
            "CREATE FUNCTION s.asks() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN s.writes(); END';"
            "CREATE FUNCTION s.reads() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN random() * 9; END';"
            "CREATE FUNCTION s.update_name() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1 -- update'"
        )
        called = [("s", name) for name in ("writes", "asks", "reads", "update_name")]
        found = Catalogue(connection).writing([*called, ("asks",), ("public", "writes"), ("lower",)])

    assert found == (("s", "writes"), ("s", "asks"), ("asks",))
