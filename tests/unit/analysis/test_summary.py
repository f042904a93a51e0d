"""Statements reduced to what they do: rules see nothing else."""

from __future__ import annotations

import pytest
from postgast import pg_query_pb2 as pg

from squizzle.analysis import actions as a
from squizzle.analysis import summary
from squizzle.analysis.columns import Constraint, ConstraintKind, DefaultKind, Generated, TypeName
from squizzle.analysis.locks.records import RelationName
from squizzle.analysis.row_actions import ChangeRows, Copy, Reach, Truncate, Verb
from squizzle.analysis.statements import split_statements
from squizzle.analysis.summary import Summary, summarize

T = RelationName(name="t")
U = RelationName(schema="s", name="u")


def reduced(script: str) -> Summary:
    (statement,) = split_statements(script, source="case")
    return summarize(statement)


def without_place(action: a.Action) -> str:
    """An action as text, wherever it stands."""
    return str(action).replace(f"location={action.location}", "").replace("location=0", "")


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("DELETE FROM t", ChangeRows(table=T, verb=Verb.DELETE, reach=Reach.ALL)),
        ("DELETE FROM t WHERE true", ChangeRows(table=T, verb=Verb.DELETE, reach=Reach.ALL_BY_A_CONSTANT)),
        ("DELETE FROM t WHERE 1=1", ChangeRows(table=T, verb=Verb.DELETE, reach=Reach.ALL_BY_A_CONSTANT)),
        ("DELETE FROM t WHERE a OR 'x'='x'", ChangeRows(table=T, verb=Verb.DELETE, reach=Reach.ALL_BY_A_CONSTANT)),
        ("DELETE FROM t WHERE a AND true", ChangeRows(table=T, verb=Verb.DELETE)),
        ("DELETE FROM t WHERE 1=2", ChangeRows(table=T, verb=Verb.DELETE)),
        ("UPDATE s.u SET a = 1, b = 2", ChangeRows(table=U, verb=Verb.UPDATE, reach=Reach.ALL, columns=("a", "b"))),
        ("INSERT INTO t (a) VALUES (1)", ChangeRows(table=T, verb=Verb.INSERT, columns=("a",))),
        ("INSERT INTO t SELECT 1", ChangeRows(table=T, verb=Verb.INSERT, from_query=True)),
        ("TRUNCATE t, s.u CASCADE", Truncate(tables=(T, U), cascade=True)),
        ("DROP TABLE IF EXISTS t CASCADE", a.Drop(kind="TABLE", names=(T,), cascade=True, if_exists=True)),
        ("DROP INDEX CONCURRENTLY s.u", a.Drop(kind="INDEX", names=(U,), concurrently=True)),
        ("DROP TRIGGER g ON s.u", a.Drop(kind="TRIGGER", names=(U,), parts=("g",))),
        ("DROP FUNCTION s.u(int)", a.Drop(kind="FUNCTION", names=(U,))),
        ("DROP TYPE s.u", a.Drop(kind="TYPE", names=(U,))),
        ("DROP SCHEMA t", a.Drop(kind="SCHEMA", names=(T,))),
        ("DROP MATERIALIZED VIEW t", a.Drop(kind="MATERIALIZED VIEW", names=(T,))),
        ("DROP DATABASE t", a.Drop(kind="DATABASE", names=(T,))),
        ("DROP OWNED BY t CASCADE", a.Drop(kind="OWNED", names=(T,), cascade=True)),
        ("ALTER TABLE t RENAME TO x", a.Rename(kind="TABLE", name=T, new_name="x")),
        ("ALTER TABLE t RENAME a TO x", a.Rename(kind="COLUMN", name=T, new_name="x", part="a")),
        ("ALTER SCHEMA t RENAME TO x", a.Rename(kind="SCHEMA", name=T, new_name="x")),
        ("ALTER TYPE s.u RENAME TO x", a.Rename(kind="TYPE", name=U, new_name="x")),
        ("ALTER TABLE t SET SCHEMA x", a.SetSchema(kind="TABLE", name=T, new_schema="x")),
        ("ALTER TYPE t ADD VALUE 'x' BEFORE 'y'", a.AlterEnum(name=T, value="x", has_place=True)),
        ("ALTER TYPE t RENAME VALUE 'y' TO 'x'", a.AlterEnum(name=T, value="x", old_value="y")),
        ("ALTER DOMAIN t ADD CHECK (VALUE > 0)", a.AlterDomain(name=T, adds_constraint=True)),
        ("CREATE DOMAIN t AS int CHECK (VALUE > 0)", a.CreateDomain(name=T, has_constraint=True)),
        ("ALTER TABLE t SET (autovacuum_enabled = false)", a.SetStorageOptions(table=T, options=(("autovacuum_enabled", "false"),))),
        ("ALTER INDEX t SET (fillfactor = 70)", a.SetStorageOptions(table=T, options=(("fillfactor", "70"),), is_index=True)),
        ("ALTER TABLE t ALTER a SET NOT NULL", a.SetNotNull(table=T, column="a")),
        ("ALTER TABLE t ALTER a DROP DEFAULT", a.AlterTable(table=T, command="ColumnDefault", column="a")),
        ("ALTER TABLE t DISABLE TRIGGER ALL", a.AlterTable(table=T, command="DisableTrigAll")),
        ("ALTER TABLE t DETACH PARTITION s.u CONCURRENTLY", a.DetachPartition(table=T, partition=U, concurrently=True)),
        ("ALTER TABLE t ALTER a TYPE varchar(20) USING a::text", a.AlterColumnType(table=T, column="a", type=TypeName(name="varchar", modifiers=(20,)), has_using=True)),
        ("ALTER TABLE t ADD CONSTRAINT x FOREIGN KEY (a) REFERENCES s.u NOT VALID", a.AddConstraint(table=T, constraint=Constraint(kind=ConstraintKind.FOREIGN_KEY, name="x", columns=("a",), references=U, validated=False, definition="FOREIGN KEY (a) REFERENCES s.u"))),
        ("ALTER TABLE t ADD PRIMARY KEY USING INDEX i", a.AddConstraint(table=T, constraint=Constraint(kind=ConstraintKind.PRIMARY_KEY, index="i", definition="PRIMARY KEY USING INDEX i"))),
        ("CREATE UNIQUE INDEX CONCURRENTLY i ON t USING gin (a, lower(b))", a.CreateIndex(table=T, index="i", columns=("a", ""), is_unique=True, concurrently=True, method="gin")),
        ("LOCK TABLE t IN EXCLUSIVE MODE", a.LockTable(tables=(T,), mode="EXCLUSIVE")),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY t", a.Refresh(table=T, concurrently=True)),
        ("REINDEX (CONCURRENTLY) INDEX t", a.Reindex(kind="INDEX", name=T, concurrently=True)),
        ("VACUUM (FULL) t", a.Vacuum(command="VACUUM", tables=(T,), is_full=True)),
        ("CLUSTER t USING i", a.Vacuum(command="CLUSTER", tables=(T,), is_full=True)),
        ("SET LOCAL Lock_Timeout = '1s'", a.SetParameter(name="lock_timeout", value="1s", scope="LOCAL")),
        ("SET search_path TO a, b", a.SetParameter(name="search_path", value="a, b", scope="SESSION")),
        ("RESET lock_timeout", a.SetParameter(name="lock_timeout", value="", scope="SESSION")),
        ("ALTER SYSTEM SET fsync = off", a.SetParameter(name="fsync", value="off", scope="SYSTEM")),
        ("GRANT ALL ON t TO PUBLIC", a.Grant(is_grant=True, to_public=True, kind="TABLE", names=(T,))),
        ("REVOKE select ON t FROM bob", a.Grant(is_grant=False, to_public=False, privileges=("select",), kind="TABLE", names=(T,))),
        ("COPY t FROM PROGRAM 'x'", Copy(table=T, is_from=True, is_program=True)),
        ("CALL s.u(1)", a.CallFunction(name="u")),
        ("CREATE EXTENSION t", a.Create(kind="EXTENSION", name=T)),
        ("CREATE OR REPLACE VIEW t AS SELECT 1", a.Create(kind="VIEW", name=T, replace=True)),
        ("CREATE POLICY p ON t", a.Create(kind="POLICY", name=RelationName(name="p"), table=T)),
        ("CREATE FUNCTION t() RETURNS int LANGUAGE SQL SECURITY DEFINER SET search_path = '' AS 'SELECT 1'", a.Routine(name=T, language="sql", security_definer=True, sets_search_path=True)),
        ("ALTER TABLE t ADD CONSTRAINT x CHECK (a IS NOT NULL AND b IS NOT NULL) NOT VALID", a.AddConstraint(table=T, constraint=Constraint(kind=ConstraintKind.CHECK, name="x", validated=False, definition="CHECK (a IS NOT NULL AND b IS NOT NULL)", proves_not_null=("a", "b")))),
        ("ALTER TABLE t ADD CHECK (a IS NOT NULL OR b)", a.AddConstraint(table=T, constraint=Constraint(kind=ConstraintKind.CHECK, definition="CHECK (a IS NOT NULL OR b)"))),
        ("ALTER TABLE t ALTER a SET DEFAULT now()", a.AlterTable(table=T, command="ColumnDefault", column="a", value="now()")),
        ("ALTER TABLE t REPLICA IDENTITY FULL", a.AlterTable(table=T, command="ReplicaIdentity", value="full")),
        ("ALTER TABLE t ALTER a SET GENERATED ALWAYS", a.AlterTable(table=T, command="SetIdentity", column="a", value="always")),
        ("ALTER TABLE t ALTER a ADD GENERATED BY DEFAULT AS IDENTITY", a.AlterTable(table=T, command="AddIdentity", column="a", value="default")),
        ("ALTER INDEX t SET TABLESPACE x", a.AlterTable(table=T, command="SetTableSpace", column="x", kind="INDEX")),
        ("ALTER TYPE s.u DROP ATTRIBUTE a", a.AlterTable(table=U, command="DropColumn", column="a", kind="TYPE")),
        ("ALTER TABLE t ALTER a TYPE s.u", a.AlterColumnType(table=T, column="a", type=TypeName(name="u", schema="s"))),
        ("CREATE UNLOGGED TABLE t (LIKE u) PARTITION BY LIST (a)", a.CreateTable(table=T, is_unlogged=True, copies_others=True, is_partitioned=True)),
        ("INSERT INTO t SELECT * FROM u", ChangeRows(table=T, verb=Verb.INSERT, reach=Reach.ALL, from_query=True)),
        ("INSERT INTO t SELECT * FROM u LIMIT 5", ChangeRows(table=T, verb=Verb.INSERT, from_query=True)),
        ("UPDATE t SET a[1] = 1, a[2] = 2 WHERE b", ChangeRows(table=T, verb=Verb.UPDATE, columns=("a", "a"), sets_parts=True)),
        ("ALTER SEQUENCE s.u RESTART WITH 5", a.Alter(kind="SEQUENCE", name=U, options=(("restart", "5"),))),
        ("ALTER POLICY p ON s.u USING (true)", a.Alter(kind="POLICY", name=RelationName(name="p"), table=U)),
        ("ALTER EXTENSION t UPDATE TO '2'", a.Alter(kind="EXTENSION", name=T, options=(("new_version", "2"),))),
        ("ALTER DATABASE t ALLOW_CONNECTIONS false", a.Alter(kind="DATABASE", name=T, options=(("allow_connections", "false"),))),
        ("ALTER ROLE bob SUPERUSER NOBYPASSRLS PASSWORD 'x'", a.ChangeRole(name="bob", grants=("superuser",), has_password=True)),
        ("ALTER ROLE bob PASSWORD NULL", a.ChangeRole(name="bob")),
        ("SAVEPOINT x", a.TransactionControl(command="SAVEPOINT")),
        ("DO 'BEGIN END'", a.Routine(name=None, language="plpgsql")),
    ],
)  # fmt: skip
def test_a_statement_is_what_it_does(script: str, expected: a.Action) -> None:
    assert [without_place(one) for one in reduced(script).actions] == [without_place(expected)]


def test_a_table_is_reduced_to_its_columns_and_constraints() -> None:
    (made,) = reduced(
        "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a varchar(9)[] NOT NULL DEFAULT now(),"
        " b serial, c int GENERATED ALWAYS AS (1) STORED, d int DEFAULT f() REFERENCES s.u, UNIQUE (a, b))"
    ).actions
    assert isinstance(made, a.CreateTable)
    by_name = {column.name: column for column in made.columns}
    assert by_name["id"].is_identity
    assert by_name["id"].not_null
    assert (str(by_name["a"].type), by_name["a"].not_null, by_name["a"].default) == ("varchar(9)[]", True, "stable")
    assert by_name["b"].is_serial
    assert by_name["c"].generated is Generated.STORED
    assert by_name["d"].default is DefaultKind.UNKNOWN
    assert [one.references for one in by_name["d"].constraints] == [U]
    assert [(one.kind, one.columns) for one in made.constraints] == [(ConstraintKind.UNIQUE, ("a", "b"))]


@pytest.mark.parametrize(
    ("default", "kind"),
    [
        ("1", DefaultKind.CONSTANT),
        ("'x'::text", DefaultKind.CONSTANT),
        ("now()", DefaultKind.STABLE),
        ("CURRENT_TIMESTAMP", DefaultKind.CONSTANT),
        ("now() + interval '1 day'", DefaultKind.STABLE),
        ("gen_random_uuid()", DefaultKind.VOLATILE),
        ("(random() * 5)::int", DefaultKind.VOLATILE),
        ("my_own(now())", DefaultKind.UNKNOWN),
    ],
)
def test_what_a_default_means_for_old_rows_is_told_by_the_functions_it_calls(default: str, kind: DefaultKind) -> None:
    (added,) = reduced(f"ALTER TABLE t ADD COLUMN x int DEFAULT {default}").actions
    assert isinstance(added, a.AddColumn)
    assert added.column.default is kind


@pytest.mark.parametrize(
    ("script", "inside"),
    [
        ("DO $$BEGIN\n DELETE FROM t;\nEND$$", [("ChangeRows", 1, True)]),
        (
            "DO $$BEGIN IF x THEN TRUNCATE t; ELSE DROP TABLE t; END IF; END$$",
            [("Truncate", 0, True), ("Drop", 0, True)],
        ),
        ("DO $$BEGIN FOR r IN SELECT 1 LOOP\nUPDATE t SET a=1; END LOOP; END$$", [("ChangeRows", 1, True)]),
        ("DO $$BEGIN EXECUTE format('DROP TABLE %I', x); END$$", [("DynamicSql", 0, True)]),
        ("DO $$BEGIN UPDATE t SET a = 1; COMMIT; END$$", [("ChangeRows", 0, True), ("TransactionControl", 0, True)]),
        ("DO $$BEGIN PERFORM setval('s', 1); END$$", [("CallFunction", 0, True)]),
        ("DO $$BEGIN x := CASE WHEN a THEN b ELSE c END; END$$", []),
        ("DO LANGUAGE plpython3u 'x'", []),
        (
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS\n$f$BEGIN DELETE FROM other.t; RETURN NEW; END$f$",
            [("ChangeRows", 1, False)],
        ),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'DELETE FROM t; SELECT 1'", [("ChangeRows", 0, False)]),
        ("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC DELETE FROM t; SELECT 1; END", [("ChangeRows", 0, False)]),
        (
            "DO $$BEGIN CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'TRUNCATE t'; END$$",
            [("Routine", 0, True), ("Truncate", 0, False)],
        ),
    ],
)
def test_bodies_are_looked_into(script: str, inside: list[tuple[str, int, bool]]) -> None:
    found = [(type(one.action).__name__, one.line, one.runs_now) for one in reduced(script).inner]
    assert found == inside


def test_a_name_that_postgresql_cuts_off_is_seen_but_no_long_text_or_comment() -> None:
    name = "é" * 32
    (action, long_name) = reduced(f'DROP VIEW "{name}" -- {"c" * 70}').actions
    assert isinstance(action, a.Drop)
    assert isinstance(long_name, a.LongName)
    assert (long_name.name, long_name.location) == (name, 10)
    assert len(reduced(f"SELECT '{'x' * 70}'").actions) == 0


def test_rows_are_seen_inside_common_table_expressions() -> None:
    changes = reduced("WITH x AS (DELETE FROM t RETURNING *) INSERT INTO s.u SELECT * FROM x").actions
    assert [(one.table, one.verb) for one in changes if isinstance(one, ChangeRows)] == [
        (T, Verb.DELETE),
        (U, Verb.INSERT),
    ]


def test_what_cannot_be_parsed_is_unknown_and_never_nothing() -> None:
    (unknown,) = reduced("SELEC 1").actions
    assert isinstance(unknown, a.Unknown)


def test_every_kind_of_statement_of_the_grammar_is_known_one_way_or_the_other() -> None:
    kinds = {field.name for field in pg.Node.DESCRIPTOR.fields if field.name.endswith("_stmt")}
    known = {*summary._READERS, *summary._HARMLESS, *summary._OF_ROWS}  # type: ignore[attr-defined]
    # Parts of statements, and what PostgreSQL itself makes of others; none stands at the beginning of a script's line.
    assert kinds - known == {
        "alter_table_move_all_stmt",
        "plassign_stmt",
        "raw_stmt",
        "replica_identity_stmt",
        "set_operation_stmt",
    }
    assert known <= kinds
