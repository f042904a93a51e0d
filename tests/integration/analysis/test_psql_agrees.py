"""Where statements end psql decides: whatever is glued together, it and Squizzle make the same of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from squizzle.analysis.statements import split_statements
from squizzle.errors import InvalidInputError
from squizzle.postgres.embedded import find_runtime
from tests.support.psql_ear import hear


@pytest.fixture(scope="module")
def psql() -> Path:
    return find_runtime(bin_folder=None).bin_folder / "psql"


def ours(script: str) -> list[str]:
    return [one.sql for one in split_statements(script, source="script.sql")]


def theirs(psql: Path, script: str) -> list[str]:
    """What psql sent, without the comments around it and the semicolon behind it."""
    return [sql for sent in hear(psql, script).statements for sql in ours(sent)]


FRAGMENTS = st.sampled_from(
    [
        "SELECT 1",
        "a",
        "'it''s; \\'",
        "E'it\\'s; \\\\'",
        '"a;b""c"',
        "U&'d\\0061t; '",
        "U&\"d!0061;\" UESCAPE '!'",
        "B'101'",
        "$$ ; $a$ ; $$",
        "$a$ ; $$ ' -- $b$ /* $a$",
        "$ü$ ' $ü$",
        "a$b$c",
        "$1",
        "/* ; /* ' nested */ \" */",
        "-- ; it's $$ (\n",
        "--\n",
        "(",
        ")",
        "[1:2]",
        "x::int",
        "p := 1",
        "a <-- 1\n",
        "a @- 1",
        "1.5e3",
        "e",
        "CREATE FUNCTION f() RETURNS int",
        "CREATE OR REPLACE PROCEDURE p()",
        "BEGIN ATOMIC",
        "CASE WHEN true THEN 1",
        "END",
        "CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO l VALUES (1); DELETE FROM l)",
        "größe_日本",
        "it's",
    ]
)
GLUE = st.sampled_from([" ", "\n", "\t\n  ", ";", "; ", ";\n", " ;;\n", "/**/", "--\n"])


@settings(max_examples=120, deadline=None)
@given(pieces=st.lists(st.tuples(FRAGMENTS, GLUE), min_size=4, max_size=24))
def test_psql_and_squizzle_split_whatever_is_glued_together_in_the_same_way(
    psql: Path, pieces: list[tuple[str, str]]
) -> None:
    script = "".join(fragment + glue for fragment, glue in pieces)
    try:
        expected = ours(script)
        heard = theirs(psql, script)
    except InvalidInputError:
        # A quote that stays open; or psql, which reads line by line, took the next line of E'…' for a plain string, and
        # cut inside it: the server finds no end of what it sends.
        reject()
    assert [_dense(sql) for sql in heard] == [_dense(sql) for sql in expected]


def _dense(sql: str) -> str:
    """Without blanks: psql leaves out empty lines."""
    return "".join(sql.split())
