"""One statement and its way back, told from its text and from what the database is said to hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from squizzle.analysis.grammar import parse_statement
from squizzle.migrations.reversal.context import Context
from squizzle.migrations.reversal.definitions import (
    Column,
    Constraint,
    Definitions,
    Enum,
    EnumColumn,
    Grant,
    Lost,
    LostColumn,
    NotNull,
    Relation,
    Switch,
)
from squizzle.migrations.reversal.keeping import saving_of
from squizzle.migrations.reversal.records import Reverse, Reversibility
from squizzle.migrations.reversal.search_path import first_path, path_after
from squizzle.migrations.reversal.statements import reverse_statement
from tests.support.definitions import Known

EXACT, LOSSY, NONE = Reversibility.EXACT, Reversibility.LOSSY, Reversibility.NONE


def reverse(sql: str, known: Definitions | None = None, context: Context | None = None) -> Reverse:
    return reverse_statement(sql, known, context or Context())[0]


TEXT_ALONE = {
    "CREATE TABLE s.t (a int)": "DROP TABLE s.t",
    'CREATE TABLE "T" (a int)': 'DROP TABLE "T"',
    "CREATE TABLE t AS SELECT 1": "DROP TABLE t",
    "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)": "DROP TABLE p1",
    "CREATE VIEW v AS SELECT 1": "DROP VIEW v",
    "CREATE MATERIALIZED VIEW m AS SELECT 1": "DROP MATERIALIZED VIEW m",
    "CREATE INDEX i ON t (a)": "DROP INDEX i",
    "CREATE INDEX i ON s.t (a)": "DROP INDEX s.i",
    "CREATE INDEX CONCURRENTLY i ON t (a)": "DROP INDEX CONCURRENTLY i",
    "CREATE SEQUENCE q": "DROP SEQUENCE q",
    "CREATE SCHEMA s": "DROP SCHEMA s",
    "CREATE TYPE m AS ENUM ('a')": "DROP TYPE m",
    "CREATE TYPE m AS (a int)": "DROP TYPE m",
    "CREATE DOMAIN d AS text": "DROP DOMAIN d",
    "CREATE FUNCTION f(a int, OUT b text, c text[] DEFAULT '{}') LANGUAGE sql AS 'SELECT 1'": "DROP FUNCTION f(int, text[])",
    "CREATE PROCEDURE f(a int) LANGUAGE sql AS 'SELECT 1'": "DROP PROCEDURE f(int)",
    "CREATE AGGREGATE g(int) (sfunc = int4pl, stype = int)": "DROP AGGREGATE g(int)",
    "CREATE TRIGGER g BEFORE INSERT ON s.t EXECUTE FUNCTION f()": "DROP TRIGGER g ON s.t",
    "CREATE POLICY p ON t USING (true)": "DROP POLICY p ON t",
    "CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING": "DROP RULE r ON t",
    "CREATE OPERATOR === (leftarg = int, rightarg = int, function = int4eq)": "DROP OPERATOR ===(int, int)",
    "CREATE CAST (a AS b) WITH INOUT": "DROP CAST (a AS b)",
    "CREATE PUBLICATION p": "DROP PUBLICATION p",
    "ALTER TABLE t ADD COLUMN a int, ADD COLUMN b int": "ALTER TABLE t DROP COLUMN b; ALTER TABLE t DROP COLUMN a",
    "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)": "ALTER TABLE t DROP CONSTRAINT c",
    "ALTER TABLE t RENAME TO u": "ALTER TABLE u RENAME TO t",
    "ALTER TABLE t RENAME COLUMN a TO b": "ALTER TABLE t RENAME COLUMN b TO a",
    "ALTER TABLE t RENAME CONSTRAINT a TO b": "ALTER TABLE t RENAME CONSTRAINT b TO a",
    "ALTER FUNCTION s.f(int) RENAME TO g": "ALTER FUNCTION s.g(int) RENAME TO f",
    "ALTER SCHEMA a RENAME TO b": "ALTER SCHEMA b RENAME TO a",
    "ALTER TYPE m RENAME VALUE 'a' TO 'b'": "ALTER TYPE m RENAME VALUE 'b' TO 'a'",
    "ALTER OPERATOR CLASS c USING btree RENAME TO d": "ALTER OPERATOR CLASS d USING btree RENAME TO c",
}


@pytest.mark.parametrize("sql", TEXT_ALONE)
def test_the_text_alone_decides_how_what_is_new_or_renamed_goes(sql: str) -> None:
    found = reverse(sql)

    assert "; ".join(found.statements) == TEXT_ALONE[sql]
    assert (found.reversibility, found.certain) == (EXACT, True)


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE t",
        "ALTER TABLE t DROP COLUMN a",
        "ALTER TABLE t ADD PRIMARY KEY (a)",
        "ALTER TABLE t ADD CONSTRAINT c PRIMARY KEY (a)",
        "ALTER TABLE t ADD CHECK (a > 0)",
        "COMMENT ON TABLE t IS 'x'",
        "GRANT SELECT ON t TO r",
        "ALTER TYPE m ADD VALUE 'x'",
        "CREATE INDEX ON t (a)",
        "ALTER TABLE t OWNER TO r",
        "UPDATE t SET a = 1",
        "DELETE FROM t",
        "TRUNCATE t",
        "DO $$ BEGIN END $$",
        "SELECT do_it()",
        "this is no SQL",
    ],
)
def test_what_the_text_does_not_say_is_not_guessed(sql: str) -> None:
    found = reverse(sql)

    assert found.reversibility is NONE
    assert found.statements == ()
    assert found.reason


@pytest.mark.parametrize("sql", ["CREATE TABLE IF NOT EXISTS t (a int)", "CREATE OR REPLACE VIEW v AS SELECT 1"])
def test_whether_something_was_there_before_is_not_known_without_a_database(sql: str) -> None:
    assert reverse(sql).reversibility is LOSSY


def test_if_not_exists_leaves_what_was_there() -> None:
    found = reverse("CREATE TABLE IF NOT EXISTS t (a int)", Known(relations={"t": Relation(name="t")}))

    assert (found.statements, found.reversibility) == ((), EXACT)


@pytest.mark.parametrize(
    "sql", ["SET x.y = 1", "LOCK TABLE t", "ANALYZE", "REINDEX TABLE t", "SELECT 1", "COPY t TO STDOUT"]
)
def test_what_leaves_nothing_needs_no_way_back(sql: str) -> None:
    found = reverse(sql)

    assert (found.statements, found.reversibility) == ((), EXACT)


TABLE = Relation(
    name="public.t",
    options={"fillfactor": "70"},
    columns=(
        Column(name="id", type="integer", not_null=True, default="nextval('q'::regclass)"),
        Column(name="a", type="character varying(10)", default="'x'::text", comment="it's a", last=False),
        Column(name="b", type="integer", last=True),
    ),
    constraints=(
        Constraint(name="t_pkey", type="p", definition="PRIMARY KEY (id)", columns=("id",)),
        Constraint(name="positive", type="c", definition="CHECK ((b > 0)) NOT VALID", validated=False, comment="soon"),
    ),
    triggers=(Switch(name="g", enabled="A", events=16), Switch(name="h", enabled="O", internal=True)),
)
KNOWN = Known(relations={"t": TABLE}, owners={"t": "boss"}, comments={"t": "old 'one'"})

BEFORE = {
    "ALTER TABLE t ALTER a SET DEFAULT 'y'": "ALTER TABLE t ALTER COLUMN a SET DEFAULT 'x'::text",
    "ALTER TABLE t ALTER b SET DEFAULT 1": "ALTER TABLE t ALTER COLUMN b DROP DEFAULT",
    "ALTER TABLE t ALTER b SET NOT NULL": "ALTER TABLE t ALTER COLUMN b DROP NOT NULL",
    "ALTER TABLE t ALTER id SET NOT NULL": "",
    "ALTER TABLE t ALTER id DROP NOT NULL": "ALTER TABLE t ALTER COLUMN id SET NOT NULL",
    "ALTER TABLE t SET (fillfactor = 90, parallel_workers = 2)": (
        "ALTER TABLE t RESET (parallel_workers); ALTER TABLE t SET (fillfactor = '70')"
    ),
    "ALTER TABLE t DISABLE TRIGGER USER": "ALTER TABLE t ENABLE ALWAYS TRIGGER g",
    "ALTER TABLE t DISABLE TRIGGER ALL": "ALTER TABLE t ENABLE ALWAYS TRIGGER g; ALTER TABLE t ENABLE TRIGGER h",
    "ALTER TABLE t ENABLE ROW LEVEL SECURITY": "ALTER TABLE t DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE t REPLICA IDENTITY FULL": "ALTER TABLE t REPLICA IDENTITY DEFAULT",
    "ALTER TABLE t OWNER TO other": "ALTER TABLE t OWNER TO boss",
    "ALTER TABLE t VALIDATE CONSTRAINT positive": (
        "ALTER TABLE t DROP CONSTRAINT positive;"
        " ALTER TABLE t ADD CONSTRAINT positive CHECK ((b > 0)) NOT VALID;"
        " COMMENT ON CONSTRAINT positive ON t IS 'soon'"
    ),
    "COMMENT ON TABLE t IS 'new'": "COMMENT ON TABLE t IS 'old ''one'''",
    "COMMENT ON VIEW v IS 'new'": "COMMENT ON VIEW v IS NULL",
    "ALTER TABLE t SET SCHEMA other": "ALTER TABLE other.t SET SCHEMA public",
    "ALTER TABLE t ADD UNIQUE (a, b)": "ALTER TABLE t DROP CONSTRAINT t_a_b_key",
    "ALTER TABLE t ADD FOREIGN KEY (b) REFERENCES u": "ALTER TABLE t DROP CONSTRAINT t_b_fkey",
    "ALTER TABLE t ADD PRIMARY KEY (b)": (
        "ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ALTER COLUMN b DROP NOT NULL"
    ),
    "CREATE INDEX ON t (lower(a), b)": "DROP INDEX public.t_lower_b_idx",
}


@pytest.mark.parametrize("sql", BEFORE)
def test_settings_become_what_they_were(sql: str) -> None:
    found = reverse(sql, KNOWN)

    assert "; ".join(found.statements) == BEFORE[sql]
    assert found.reversibility is EXACT


def test_a_chosen_name_is_one_that_is_free() -> None:
    known = Known(relations={"t": TABLE}, taken_names=frozenset({"t_b_idx", "t_b_idx1"}))

    assert reverse("CREATE INDEX ON t (b)", known).statements == ("DROP INDEX public.t_b_idx2",)


def test_a_widened_type_comes_back_with_its_length_and_its_default_in_an_order_that_works() -> None:
    found = reverse("ALTER TABLE t ALTER a DROP DEFAULT, ALTER a TYPE text, ALTER a SET DEFAULT 'y'", KNOWN)

    assert found.statements == (
        "ALTER TABLE t ALTER COLUMN a DROP DEFAULT",
        "ALTER TABLE t ALTER COLUMN a TYPE character varying(10)",
        "ALTER TABLE t ALTER COLUMN a SET DEFAULT 'x'::text",
    )
    assert found.reversibility is EXACT


def test_a_narrowed_type_is_lossy() -> None:
    found = reverse("ALTER TABLE t ALTER b TYPE smallint", KNOWN)

    assert found.reversibility is LOSSY
    assert "smallint" in found.reason


def test_a_dropped_column_comes_back_with_everything_but_its_values() -> None:
    known = Known(relations={"t": TABLE}, gone=Lost(restore=("CREATE INDEX i ON t (a)",), columns=()))

    found = reverse("ALTER TABLE t DROP COLUMN a", known)

    assert found.statements == (
        "ALTER TABLE t ADD COLUMN a character varying(10) DEFAULT 'x'::text",
        "COMMENT ON COLUMN t.a IS 'it''s a'",
        "CREATE INDEX i ON t (a)",
    )
    assert found.reversibility is LOSSY
    assert "backup" in found.reason
    assert "last column" in found.reason


def test_saved_values_of_a_dropped_column_come_back_by_key_before_not_null() -> None:
    table = Relation(
        name="t",
        columns=(Column(name="id", type="integer"), Column(name="a", type="integer", not_null=True)),
        constraints=(Constraint(name="t_pkey", type="p", definition="PRIMARY KEY (id)", columns=("id",)),),
    )

    found = reverse("ALTER TABLE t DROP COLUMN a", Known(relations={"t": table}), Context(save_as="0007"))

    assert found.save.before == (
        "CREATE SCHEMA IF NOT EXISTS squizzle_undo",
        "LOCK TABLE t IN ACCESS EXCLUSIVE MODE",
        'CREATE TABLE IF NOT EXISTS squizzle_undo."0007_1_t_a" AS SELECT id, a FROM t WITH NO DATA',
        'INSERT INTO squizzle_undo."0007_1_t_a" SELECT id, a FROM t',
    )
    assert found.statements == (
        "ALTER TABLE t ADD COLUMN a integer",
        'UPDATE t AS t SET a = saved.a FROM squizzle_undo."0007_1_t_a" AS saved WHERE t.id = saved.id',
        'DROP TABLE squizzle_undo."0007_1_t_a"',
        "ALTER TABLE t ALTER COLUMN a SET NOT NULL",
    )


def test_a_dropped_table_is_lossy_and_says_where_rows_come_from() -> None:
    known = Known(there=frozenset({"t"}), gone=Lost(restore=("CREATE TABLE t (a int)",), tables=("t",)))

    found = reverse("DROP TABLE t", known)

    assert found.statements == ("CREATE TABLE t (a int)",)
    assert found.reversibility is LOSSY
    assert "backup" in found.reason


def test_rows_of_a_table_that_the_script_made_are_no_loss() -> None:
    known = Known(there=frozenset({"t"}), gone=Lost(restore=("CREATE TABLE t (a int)",), tables=("t",)))
    _, context = reverse_statement("CREATE TABLE t (a int)", known, Context())

    assert reverse("DROP TABLE t", known, context).reversibility is EXACT
    assert reverse("UPDATE t SET a = 1", known, context).reversibility is EXACT
    assert reverse("UPDATE u SET a = 1", known, context).reversibility is NONE


def test_columns_that_cascade_takes_from_other_tables_come_back_behind_their_type() -> None:
    known = Known(
        there=frozenset({"m"}),
        relations={"t": Relation(name="t", columns=(Column(name="mood", type="m"),))},
        gone=Lost(
            restore=("CREATE TYPE m AS ENUM ('a')", "CREATE INDEX i ON t (mood)"),
            columns=(LostColumn(table="t", name="mood"),),
        ),
    )

    found = reverse("DROP TYPE m CASCADE", known)

    assert found.statements == (
        "CREATE TYPE m AS ENUM ('a')",
        "ALTER TABLE t ADD COLUMN mood m",
        "CREATE INDEX i ON t (mood)",
    )
    assert found.reversibility is LOSSY


def test_nothing_that_holds_rows_is_dropped_to_change_something_else() -> None:
    known = Known(there=frozenset({"f"}), definitions={"f": ("CREATE FUNCTION f() …",)}, gone=Lost(tables=("t",)))

    found = reverse("CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2'", known)

    assert found.statements[-1].startswith("CREATE OR REPLACE FUNCTION f()")
    assert found.otherwise is None


def test_a_grant_leaves_what_was_held_before_and_nothing_else() -> None:
    held = (
        Grant(grantee="r", privilege="SELECT"),
        Grant(grantee="r", privilege="INSERT", grantable=True),
        Grant(grantee="r", privilege="UPDATE", column="a"),
        Grant(grantee="other", privilege="DELETE"),
    )

    found = reverse("GRANT ALL ON t TO r, CURRENT_USER", Known(held=held))

    assert found.statements == (
        "REVOKE ALL ON TABLE t FROM r",
        "GRANT SELECT ON TABLE t TO r",
        "GRANT UPDATE (a) ON t TO r",
        "GRANT INSERT ON TABLE t TO r WITH GRANT OPTION",
        "REVOKE ALL ON TABLE t FROM me",
    )


def test_an_enum_loses_its_new_label_by_being_made_anew() -> None:
    enum = Enum(
        name="public.mood",
        schema="public",
        bare="mood",
        labels=("low", "high"),
        columns=(EnumColumn(table="t", name="m", array=False, default="'low'::mood"),),
    )
    made = ("CREATE TYPE public.mood AS ENUM ('low', 'high')", "ALTER TYPE public.mood OWNER TO boss")
    known = Known(
        enums={"mood": enum}, definitions={"mood": made}, gone=Lost(restore=made, drop=("DROP TYPE public.mood",))
    )

    found = reverse("ALTER TYPE mood ADD VALUE 'top'", known)

    assert found.statements == (
        "ALTER TYPE public.mood RENAME TO mood__squizzle_old",
        *made,
        "ALTER TABLE t ALTER COLUMN m DROP DEFAULT",
        "ALTER TABLE t ALTER COLUMN m TYPE public.mood USING m::text::public.mood",
        "ALTER TABLE t ALTER COLUMN m SET DEFAULT 'low'::mood",
        "DROP TYPE public.mood__squizzle_old",
    )
    assert reverse("ALTER TYPE mood ADD VALUE IF NOT EXISTS 'low'", known).statements == ()


def test_not_null_comes_back_under_its_own_name() -> None:
    column = Column(
        name="a",
        type="integer",
        not_null=True,
        not_null_constraint=NotNull(name="odd", default_name=False, definition="NOT NULL a"),
    )
    known = Known(relations={"t": Relation(name="t", columns=(column,))})

    assert reverse("ALTER TABLE t ALTER a DROP NOT NULL", known).statements == (
        "ALTER TABLE t ADD CONSTRAINT odd NOT NULL a",
    )


@pytest.mark.parametrize(
    ("sql", "back"),
    [
        ("INSERT INTO t (id, a) VALUES (1, 'x'), (-2, 'y')", "DELETE FROM t WHERE (id) IN ((1), (-2))"),
        ("INSERT INTO t VALUES (7)", "DELETE FROM t WHERE (id) IN ((7))"),
    ],
)
def test_inserted_rows_are_deleted_by_the_keys_that_the_statement_says(sql: str, back: str) -> None:
    assert reverse(sql, KNOWN).statements == (back,)


def test_inserted_rows_are_deleted_by_whatever_is_unique_in_them() -> None:
    unique = Constraint(name="u", type="u", definition="UNIQUE (a)", columns=("a",))
    known = Known(relations={"t": replace(TABLE, constraints=(*TABLE.constraints, unique))})

    assert reverse("INSERT INTO t (a) VALUES ('x')", known).statements == ("DELETE FROM t WHERE (a) IN (('x'))",)
    assert reverse("INSERT INTO t (a) VALUES (NULL)", known).reversibility is NONE
    audited = replace(TABLE, triggers=(Switch(name="audit", enabled="O", events=4),))
    found = reverse("INSERT INTO t (id) VALUES (1)", Known(relations={"t": audited}))
    assert found.reversibility is LOSSY
    assert "audit" in found.reason


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t (a) VALUES ('x')",
        "INSERT INTO t (id) SELECT 1",
        "INSERT INTO t (id) VALUES (random())",
        "INSERT INTO t (id) VALUES (1) ON CONFLICT DO NOTHING",
    ],
)
def test_inserted_rows_without_a_written_key_have_no_way_back(sql: str) -> None:
    assert reverse(sql, KNOWN).reversibility is NONE


def test_updated_rows_are_saved_by_the_statements_own_condition() -> None:
    sql = "WITH w AS (SELECT 1) UPDATE t AS x SET a = 'y' FROM u, w WHERE u.id = x.id AND x.b > 1"

    known = Known(relations={"t": replace(TABLE, triggers=())})

    found = reverse(sql, known, Context(save_as="v", number=3))

    assert found.save.before[1] == (
        "CREATE TEMPORARY TABLE squizzle_touched_1 ON COMMIT DROP AS SELECT id, a, tableoid AS squizzle_part,"
        " ctid AS squizzle_place FROM t WHERE (id) IN"
        " (WITH w AS (SELECT 1) SELECT x.id FROM t x, u, w WHERE u.id = x.id AND x.b > 1) FOR NO KEY UPDATE"
    )
    assert found.statements[0].startswith("DO $squizzle$")
    assert found.statements[1:] == (
        "UPDATE t AS t SET a = saved.a FROM squizzle_undo.v_3_t AS saved WHERE t.id = saved.id",
        "DROP TABLE squizzle_undo.v_3_t",
    )
    assert found.reversibility is EXACT


def test_triggers_may_have_done_more_and_do_not_fire_on_the_way_back() -> None:
    found = reverse("UPDATE t SET b = 1", KNOWN, Context(save_as="v"))

    assert found.reversibility is LOSSY
    assert "triggers of t (g)" in found.reason
    assert [one for one in found.statements if "TRIGGER" in one] == [
        "ALTER TABLE t DISABLE TRIGGER g",
        "ALTER TABLE t ENABLE ALWAYS TRIGGER g",
    ]
    gone = reverse("DELETE FROM t", KNOWN, Context(save_as="v"))
    assert gone.reversibility is EXACT
    assert not [one for one in gone.statements if "TRIGGER g" in one]


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("UPDATE u SET a = 1", "no primary key"),
        ("DELETE FROM v", "is no table"),
        ("UPDATE t SET a = 'x' WHERE CURRENT OF c", "cursor"),
        ("WITH gone AS (DELETE FROM u) DELETE FROM t", "WITH gone"),
        ("UPDATE t SET id = 3", "key that tells"),
        ("DELETE FROM parent", "inherit"),
        ("UPDATE always SET n = DEFAULT", "only be set by PostgreSQL"),
    ],
)
def test_rows_that_cannot_be_told_apart_later_are_not_saved_and_the_reason_is_said(sql: str, why: str) -> None:
    key = (Constraint(name="k", type="p", definition="", columns=("id",)),)
    keyed = Relation(name="public.x", columns=(Column(name="id", type="integer"),), constraints=key)
    counted = replace(keyed, columns=(*keyed.columns, Column(name="n", type="integer", identity="a")))
    known = Known(
        relations={"u": Relation(name="u"), "v": Relation(name="v", kind="v"), "parent": keyed, "always": counted}
        | dict(KNOWN.relations),
        children={"parent": ("child",)},
    )

    saving, problem = saving_of(sql, known, Context(save_as="7"))

    assert not saving
    assert why in problem


def test_a_unique_key_without_nulls_tells_rows_apart_as_well() -> None:
    columns = (Column(name="a", type="integer"), Column(name="b", type="text", not_null=True))
    unique = tuple(Constraint(name=name, type="u", definition="", columns=(name,)) for name in "ab")
    known = Known(relations={"t": Relation(name="t", columns=columns, constraints=unique)})

    saving, problem = saving_of("UPDATE t SET a = 1", known, Context(save_as="7"))

    assert not problem
    assert "WHERE (b) IN (SELECT t.b FROM t)" in saving.before[1]


@pytest.mark.parametrize(
    "sql", ["CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "DROP FUNCTION pg_temp.f()"]
)
def test_what_ends_with_the_session_needs_no_way_back(sql: str) -> None:
    found = reverse(sql, Known())

    assert found.statements == ()
    assert found.reversibility is EXACT


def test_values_of_types_of_ones_own_are_kept_as_text_because_the_type_may_go() -> None:
    key = (Constraint(name="k", type="p", definition="", columns=("id",)),)
    mood = Column(name="m", type="mood", built_in=False)
    known = Known(
        relations={"t": Relation(name="t", columns=(Column(name="id", type="integer"), mood), constraints=key)}
    )

    found = reverse("ALTER TABLE t DROP COLUMN m", known, Context(save_as="7"))

    assert found.save.before[-1].endswith("SELECT id, m::text AS m FROM t")
    assert "UPDATE t AS t SET m = saved.m::mood FROM" in found.statements[1]


def test_a_changed_key_cannot_be_found_again() -> None:
    assert reverse("UPDATE t SET id = id + 1", KNOWN, Context(save_as="v")).reversibility is NONE


def test_a_backfill_of_a_new_column_needs_no_way_back() -> None:
    _, context = reverse_statement("ALTER TABLE t ADD COLUMN c int", KNOWN, Context())

    quiet = Known(relations={"t": replace(TABLE, triggers=())})
    assert reverse("UPDATE t SET c = 1", quiet, context).reversibility is EXACT
    assert reverse("UPDATE t SET c = 1, b = 2", quiet, context).reversibility is NONE
    # A trigger may set other columns of the row along with it.
    assert "trigger g of t" in reverse("UPDATE t SET c = 1", KNOWN, context).reason


WRITES = Known(
    relations={"t": TABLE, "part": TABLE, "parted": replace(TABLE, name="public.parted", kind="p", triggers=())},
    children={"parted": ("part",)},
    writers=frozenset({"f"}),
)
# What the script made or added does not hide what else a statement changes.
MORE_THAN_IT_SAYS = {
    "CREATE TABLE n (a int); WITH gone AS (DELETE FROM t RETURNING *) INSERT INTO n SELECT a FROM gone": "changes in t",
    "WITH gone AS (DELETE FROM t RETURNING *) SELECT count(*) FROM gone": "changes in t",
    "COPY (DELETE FROM t RETURNING *) TO STDOUT": "changes in t",
    "CREATE TABLE n AS SELECT f()": "function f",
    "CREATE TABLE n (a int); INSERT INTO n SELECT s.g(), f()": "function f",
    "ALTER TABLE t ADD COLUMN c int DEFAULT f()": "function f",
    "ALTER TABLE parted ADD COLUMN c int; UPDATE parted SET c = 1": "trigger g of part",
    "CREATE TABLE n (a int); ALTER TABLE n RENAME TO m; ALTER TABLE t RENAME TO n; DELETE FROM n": "deleted rows of n",
    "CREATE TABLE n (a int); DROP TABLE n; ALTER TABLE t RENAME TO n; DELETE FROM n": "deleted rows of n",
    "ALTER TABLE t ADD c int; ALTER TABLE t RENAME c TO d; ALTER TABLE t RENAME a TO c; UPDATE t SET c = 1": "values of c",
    "ALTER TABLE t ADD c int; ALTER TABLE t DROP c; ALTER TABLE t RENAME a TO c; UPDATE t SET c = 1": "values of c",
}


@pytest.mark.parametrize(("script", "said"), MORE_THAN_IT_SAYS.items())
def test_what_a_statement_changes_besides_is_never_called_exact(script: str, said: str) -> None:
    context = Context()
    for sql in script.split("; "):
        found, context = reverse_statement(sql, WRITES, context)

    assert found.reversibility is not EXACT
    assert said in found.reason


def test_what_a_function_is_made_of_does_not_run_when_it_is_made() -> None:
    sql = "CREATE FUNCTION g() RETURNS int LANGUAGE sql BEGIN ATOMIC DELETE FROM t; SELECT f(); END"

    assert reverse("CREATE TABLE n (a int DEFAULT f())", WRITES).reversibility is EXACT
    assert reverse("ALTER TABLE t ALTER a SET DEFAULT f()", WRITES).reversibility is EXACT
    assert reverse(sql, WRITES).reversibility is EXACT


@pytest.mark.parametrize(
    "sql", ["ALTER ROLE r PASSWORD 'hunter2'", "ALTER USER MAPPING FOR r SERVER s OPTIONS (SET password 'hunter2')"]
)
def test_a_password_is_never_part_of_a_way_back(sql: str) -> None:
    found = reverse(sql)

    assert found.reversibility is NONE
    assert "hunter2" not in repr(found)


def test_a_way_back_finds_names_where_its_statement_found_them() -> None:
    path = first_path(["SET LOCAL search_path = s"], schema="public")
    context = Context(path=path)
    found = []
    for sql in ("CREATE TABLE t (a int)", "SET LOCAL search_path = s", "DELETE FROM t", "CREATE TABLE u (a int)"):
        way, context = reverse_statement(sql, None, context)
        found.append((way.statements, way.reversibility))

    assert found == [
        (("RESET search_path", "DROP TABLE t"), EXACT),
        ((), EXACT),
        ((), NONE),  # not the table that the script made: that one is elsewhere
        (("SET search_path TO s", "DROP TABLE u"), EXACT),
    ]


@pytest.mark.parametrize(
    ("sql", "path"),
    [
        (
            "SELECT pg_catalog.set_config('search_path', '', false)",
            "SELECT pg_catalog.set_config('search_path', '', false)",
        ),
        ("SET search_path TO DEFAULT", "RESET search_path"),
        ("RESET ALL", "RESET search_path"),
        ("DISCARD ALL", "RESET search_path"),
        ("SET work_mem = '1MB'", None),
        ("SELECT set_config('work_mem', '1MB', true)", None),
    ],
)
def test_every_way_to_change_the_search_path_is_seen(sql: str, path: str | None) -> None:
    assert path_after(parse_statement(sql)) == path


def test_an_extension_comes_back_in_another_version_perhaps() -> None:
    gone = Lost(restore=("CREATE EXTENSION IF NOT EXISTS x",), labels=("extension x",))

    assert reverse("DROP EXTENSION x", Known(there=frozenset({"x"}), gone=gone)).reversibility is LOSSY
