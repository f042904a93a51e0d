"""What only psql understands: rows behind COPY, and commands that begin with a backslash."""

from __future__ import annotations

import pytest

from squizzle.analysis.records import Statement
from squizzle.analysis.statements import split_statements
from squizzle.errors import InvalidInputError


def split(script: str) -> tuple[Statement, ...]:
    return split_statements(script, source="dump.sql")


def test_rows_behind_copy_travel_with_their_statement_and_lines_keep_their_numbers() -> None:
    copy, after = split("COPY t (a, b) FROM stdin;\n1\tit's; -- no comment\n2\t$$ /*\n\\.\nSELECT 1;\n")

    assert copy.sql == "COPY t (a, b) FROM stdin"
    assert copy.data == "1\tit's; -- no comment\n2\t$$ /*\n"
    assert (after.sql, after.line) == ("SELECT 1", 5)


@pytest.mark.parametrize(
    "head",
    [
        "copy public.t from stdin with (format csv);",
        'COPY "t;x" FROM STDIN;',
        "COPY t\n  (a)\nFROM stdin;",
        "SELECT 1; COPY t FROM stdin;",
        "COPY t FROM stdin -- rows\n;",
        "COPY t FROM stdin; -- rows",
        "COPY t FROM stdin WITH (DELIMITER ';');",
        "COPY t FROM stdout;",
    ],
)
def test_every_spelling_of_copy_from_stdin_takes_its_rows(head: str) -> None:
    assert split(f"{head}\n1\n\\.\n")[-1].data == "1\n"


def test_copy_without_rows_takes_none() -> None:
    assert split("COPY t FROM stdin;\n\\.\n")[0].data == ""


@pytest.mark.parametrize("script", ["COPY t FROM stdin;\n1\n2\n", "SELECT 1;\nCOPY t FROM stdin;", "COPY t FROM stdin"])
def test_copy_whose_rows_have_no_end_is_refused_with_its_line(script: str) -> None:
    line = script.count("\n", 0, script.index("COPY")) + 1
    with pytest.raises(InvalidInputError, match=rf"^dump\.sql:{line}: "):
        split(script)


@pytest.mark.parametrize(
    "script",
    [
        "SELECT 'from stdin;\n1\n\\.\n';",
        "DO $$\n-- copy t from stdin;\n\\.\n$$;",
        "/* copy t from stdin;\n\\i x\n*/ SELECT 1;",
        "SELECT 'a\n\\i other.sql\n';",
    ],
)
def test_what_looks_like_psqls_inside_quotes_and_comments_is_left_alone(script: str) -> None:
    (statement,) = split(script)

    assert statement.data is None
    assert statement.sql in script


@pytest.mark.parametrize(
    "command",
    [
        r"\restrict aB3'x",
        r"\unrestrict aB3'x",
        r"\echo 'don''t",
        r"\set ON_ERROR_STOP on",
        r"\timing",
        "  \\pset pager off",
        r"\set VERBOSITY terse \\ -- quiet",
        r"\timing \x \\",
        r"\d+ public.users",
        r"\unset ON_ERROR_STOP",
        r"\echo 'C:\\temp' `date`",
    ],
)
def test_commands_that_change_nothing_are_passed_over(command: str) -> None:
    (statement,) = split(f"{command}\nSELECT 1;\n{command}")

    assert (statement.sql, statement.line) == ("SELECT 1", 2)


def test_a_command_in_the_middle_of_a_statement_is_taken_out_of_it() -> None:
    (statement,) = split("SELECT 1,\n  \\echo half; way\n  '\\echo',\n\\timing\n2\n\\echo done\n;")

    assert statement.sql == "SELECT 1,\n  \n  '\\echo',\n\n2"
    assert statement.line == 1


@pytest.mark.parametrize(
    "command",
    [
        r"\i x.sql",
        r"\ir x.sql",
        r"\set name 'x'",
        r"\set ON_ERROR_STOPPED on",
        r"\set AUTOCOMMIT off",
        r"\copy t from x",
        r"\gexec",
        r"\if true",
        r"\c other",
        r"\! date",
        r"\timing \i x.sql",
        r"\echo 'x' \i x.sql",
    ],
)
def test_commands_that_do_something_are_refused(command: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^dump\.sql:2: .* is a command of psql"):
        split(f"SELECT 1;\n{command}\n")


def test_sql_behind_a_command_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"^dump\.sql:1: SQL behind"):
        split(r"\timing \\ DROP TABLE t;")


@pytest.mark.parametrize("end", [r"\q", r"\quit", "\\q -- done", "\\q\n-- done\n", r"\echo 'done' \q"])
def test_quitting_at_the_end_is_passed_over(end: str) -> None:
    (statement,) = split(f"SELECT 1;\n{end}")

    assert statement.sql == "SELECT 1"


@pytest.mark.parametrize(
    "script", ["SELECT 1;\n\\q\nSELECT 2;", "SELECT 1\n\\q", "SELECT 1;\n\\echo Use CREATE EXTENSION \\quit\nSELECT 2"]
)
def test_what_psql_would_not_run_because_it_quits_is_refused(script: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^dump\.sql:2: psql stops at"):
        split(script)


VARIABLES = [":name", ":'name'", ':"name"', ":{?name}", ":1", ":größe"]


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("before", ["SELECT ", "SELECT a[1], (", "SELECT a::text || ", "COPY t FROM "])
def test_a_variable_of_psql_is_refused_with_its_line(before: str, variable: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        split(f"SELECT 1;\n{before}{variable}")

    assert caught.value.message == f"dump.sql:2: {variable} is a variable of psql, which only psql fills in"
    assert caught.value.hint


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT '1'::int, a::text[], b :: numeric",
        "SELECT a[1:2], a[lo:hi], a[:hi], a[lo:], b[c[1]:d]",
        "CALL p(name := 1, other=>2)",
        "SELECT ':name', $$ :name :'name' $$, E'\\':name', \":name\"",
        "-- :name\nSELECT /* :'name' */ 1",
        "DO $$ BEGIN x := :y; END $$",
        "SELECT json_object('a':1, 'b':c)",
        "SELECT ts::date, '12:30:00'::time, U&':name'",
        "SELECT 1 : 2",
    ],
)
def test_a_colon_that_is_no_variable_is_left_alone(sql: str) -> None:
    assert len(split(sql)) == 1


OFF = ["SET standard_conforming_strings = off", "set session standard_conforming_strings to 'off'"]


@pytest.mark.parametrize("off", OFF)
def test_backslashes_that_may_escape_a_quote_are_refused_with_their_line(off: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^dump\.sql:2: a backslash in plain quotes"):
        split(f"{off};\nSELECT 'C:\\temp';")


@pytest.mark.parametrize(
    "script",
    [
        "SET standard_conforming_strings = on; SELECT 'C:\\temp'",
        "SET standard_conforming_strings = off; SELECT E'C:\\\\temp', 'plain', $$\\$$",
        "SET standard_conforming_strings = off; SET standard_conforming_strings = on; SELECT '\\'",
    ],
)
def test_backslashes_that_escape_as_the_scanner_reads_them_are_fine(script: str) -> None:
    assert split(script)
