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
    ],
)
def test_commands_that_change_nothing_are_passed_over(command: str) -> None:
    (statement,) = split(f"{command}\nSELECT 1;\n{command}")

    assert (statement.sql, statement.line) == ("SELECT 1", 2)


@pytest.mark.parametrize(
    "command", [r"\i x.sql", r"\set name 'x'", r"\copy t from x", r"\gexec", r"\if true", r"\c other"]
)
def test_commands_that_do_something_are_refused(command: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^dump\.sql:2: .* is a command of psql"):
        split(f"SELECT 1;\n{command}\n")
