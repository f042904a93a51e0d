"""A script as statements: where they end, which lines they are on, and which of them need care."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squizzle.analysis import scanner
from squizzle.analysis.records import Statement
from squizzle.analysis.statements import LITERAL, split_statements
from squizzle.errors import InvalidInputError

BEGIN_ATOMIC = """CREATE FUNCTION double(n int) RETURNS int LANGUAGE sql
BEGIN ATOMIC
    SELECT 1;
    SELECT CASE WHEN n > 0 THEN n * 2 ELSE 0 END;
END"""
RULE = """CREATE RULE log AS ON INSERT TO t DO ALSO (
    INSERT INTO log VALUES (1);
    DELETE FROM old
)"""
PLPGSQL = """CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    COMMIT; -- not ours
    RETURN NEW;
END;
$body$"""
NESTED_DOLLARS = "DO $outer$ BEGIN EXECUTE $inner$ SELECT ';'; $inner$; END $outer$"

WHOLE = {
    "a string": "SELECT 'a;b'",
    "a string with a doubled quote": "SELECT 'it''s; fine'",
    "an escape string": r"SELECT E'it\'s; fine'",
    "a string with a backslash at its end": r"SELECT 'C:\'",
    "a string over lines": "SELECT 'a;\nb;\nc'",
    "a quoted identifier": 'SELECT ";" FROM "a;b"',
    "a quoted identifier with a quote": 'SELECT "a"";""b"',
    "a Unicode identifier": r'SELECT U&"d;\0061t"',
    "dollar quotes": "SELECT $$a;b$$",
    "tagged dollar quotes": "SELECT $tag$ $$;$$ $other$; $tag$",
    "dollar quotes in dollar quotes": NESTED_DOLLARS,
    "a comment": "SELECT 1 /* a; b */ + 2",
    "a nested comment": "SELECT 1 /* a; /* b; */ c; */ + 2",
    "a comment to the end of the line": "SELECT 1 -- a; b\n + 2",
    "what looks like a comment in a string": "SELECT '/*', '--', 1",
    "what looks like a quote in a comment": "SELECT 1 /* it's */ + 2 -- it's\n",
    "the statements of a rule": RULE,
    "a function body in dollar quotes": PLPGSQL,
    "the body of a BEGIN ATOMIC function": BEGIN_ATOMIC,
    "a BEGIN ATOMIC body in lower case": BEGIN_ATOMIC.lower(),
    "a parameter that looks like a dollar quote": "SELECT $1, $2",
    "multi-byte text": "SELECT 'äöü; 🎉', \"ключ;\"",
    "an identifier with a dollar": "SELECT a$b$c FROM t",
}


def sql_of(script: str) -> list[str]:
    return [statement.sql for statement in split_statements(script, source="up.sql")]


def one(script: str) -> Statement:
    (statement,) = split_statements(script, source="up.sql")
    return statement


@pytest.mark.parametrize("sql", WHOLE.values(), ids=WHOLE.keys())
def test_a_semicolon_inside_does_not_end_a_statement(sql: str) -> None:
    # Between two others, so that one that ends too early or too late is seen.
    assert sql_of(f"SELECT 0;\n{sql};\nSELECT 9") == ["SELECT 0", bare(sql), "SELECT 9"]


def bare(sql: str) -> str:
    """Without the comment at the end, which belongs to no token."""
    return sql.removesuffix(" -- it's\n")


@pytest.mark.parametrize("script", ["", " \n\t", ";", ";;\n;", "-- nothing\n", "/* nothing; */ ;", "\n-- a\n;\n-- b"])
def test_a_script_without_statements_has_none(script: str) -> None:
    assert split_statements(script, source="up.sql") == ()


def test_the_last_statement_needs_no_semicolon() -> None:
    assert sql_of("SELECT 1; SELECT 2") == sql_of("SELECT 1; SELECT 2;") == ["SELECT 1", "SELECT 2"]


def test_a_statement_is_exactly_what_is_between_its_first_and_its_last_token() -> None:
    assert sql_of("  -- why\n  SELECT\t1 /* in */ ,  2  /* behind */ ;") == ["SELECT\t1 /* in */ ,  2"]


def test_per_cent_signs_and_placeholders_stay_as_they_are() -> None:
    assert sql_of("SELECT '%s %(name)s %%', 5 % 2, $1") == ["SELECT '%s %(name)s %%', 5 % 2, $1"]


def test_a_statement_after_unbalanced_parentheses_is_not_cut_out_of_its_place() -> None:
    # The server refuses the whole text, so nothing of it is run; cut into pieces, the COMMIT would be.
    assert sql_of("SELECT (1; COMMIT; SELECT 2)") == ["SELECT (1; COMMIT; SELECT 2)"]
    assert sql_of("SELECT 1); SELECT 2") == ["SELECT 1)", "SELECT 2"]


# --- lines ---------------------------------------------------------------------------------------------------------


def test_every_statement_has_the_line_that_it_begins_on() -> None:
    script = "-- a comment\n\nSELECT 1;\n\nSELECT\n  2; SELECT 3;\n/* two\nlines */ SELECT 4"

    assert [statement.line for statement in split_statements(script, source="up.sql")] == [3, 5, 6, 8]


def test_lines_are_counted_in_multi_byte_text() -> None:
    script = "-- ä ö ü 🎉🎉🎉 ключ\nSELECT 'ßßßß\nüüüü';\n-- é\nSELECT 2"

    assert [(one.line, one.sql) for one in split_statements(script, source="up.sql")] == [
        (2, "SELECT 'ßßßß\nüüüü'"),
        (5, "SELECT 2"),
    ]


def test_windows_line_ends_count_once_and_split_the_same() -> None:
    script = "-- a\nSELECT 1;\n\nSELECT\n 2; -- b\nSELECT 3"
    unix = split_statements(script, source="up.sql")
    windows = split_statements(script.replace("\n", "\r\n"), source="up.sql")

    assert [one.line for one in windows] == [one.line for one in unix] == [2, 4, 6]
    assert [one.sql.replace("\r\n", "\n") for one in windows] == [one.sql for one in unix]


# --- what is refused -----------------------------------------------------------------------------------------------


def test_a_nul_character_is_refused_with_its_line() -> None:
    with pytest.raises(InvalidInputError, match=r"^0007_x/up\.sql:3: a NUL character"):
        split_statements("SELECT 'ä';\n\nSELECT \0 2; DROP TABLE users", source="0007_x/up.sql")


UNTERMINATED = {
    "a quote": "SELECT 'abc;\n more",
    "an escape string": r"SELECT E'abc\'",
    "a quoted identifier": 'SELECT "abc;\n more',
    "a dollar quote": "SELECT $$ abc;\n$ more",
    "a tagged dollar quote": "SELECT $a$ abc $b$ more $$",
    "a comment": "/* abc\n more",
    "a nested comment": "/* abc /* def */ more",
}


@pytest.mark.parametrize("ending", UNTERMINATED.values(), ids=UNTERMINATED.keys())
@pytest.mark.parametrize(("before", "line"), [("", 1), ("SELECT 'äöü 🎉';\n-- ключ\n\n", 4)])
def test_what_is_not_terminated_is_refused_with_the_line_where_it_begins(ending: str, before: str, line: int) -> None:
    with pytest.raises(InvalidInputError, match=rf"^up\.sql:{line}: not readable as SQL: unterminated") as caught:
        split_statements(before + ending, source="up.sql")
    assert caught.value.hint


def test_the_refusal_does_not_repeat_the_rest_of_the_file() -> None:
    with pytest.raises(InvalidInputError) as caught:
        split_statements("SELECT 'open;\nCREATE ROLE app PASSWORD hunter2;\n" + "x" * 10_000, source="up.sql")

    assert len(caught.value.message) < 200
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("command", [r"\i other.sql", r"\copy t FROM 'x'", r"\set x 1", r"\.", r"\connect shop"])
def test_a_psql_command_is_refused_with_its_line(command: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^up\.sql:4: \\[a-z.]+ is a command of psql"):
        split_statements(f"-- ä\nSELECT 'é';\n\n{command}\nSELECT 2;", source="up.sql")


def test_a_psql_command_behind_a_statement_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"^up\.sql:2: a psql command"):
        split_statements("SELECT 1;\nSELECT 'DROP TABLE t' \\gexec", source="up.sql")


@pytest.mark.parametrize(
    "sql", [r"SELECT '\i x'", r'SELECT "\i"', r"SELECT $$\i$$", "-- \\i\nSELECT 1", r"SELECT E'\\i'"]
)
def test_a_backslash_that_is_no_command_is_fine(sql: str) -> None:
    assert len(sql_of(sql)) == 1


@pytest.mark.parametrize(
    "sql",
    [
        "COPY t TO STDOUT",
        "COPY (SELECT 1) TO STDOUT",
        "COPY t /* where */ TO -- here\n STDOUT",
    ],
)
def test_copying_through_the_client_is_refused_with_its_line(sql: str) -> None:
    # The data would have to follow in the session, which nobody sends: it would hang in the middle of a transaction.
    with pytest.raises(InvalidInputError, match=r"^up\.sql:2: COPY .*(STDIN|STDOUT)") as caught:
        split_statements(f"SELECT 1;\n{sql};\n1\t2\n", source="up.sql")
    assert caught.value.hint


@pytest.mark.parametrize(
    "sql",
    [
        "COPY t FROM '/data/stdin.csv'",
        "COPY t FROM PROGRAM 'cat stdin'",
        "COPY \"stdin\" TO '/tmp/x'",
        "COPY (SELECT 'FROM STDIN') TO '/tmp/x'",
        "COPY (SELECT a FROM stdin) TO '/tmp/x'",
        "SELECT a FROM stdin",
        "INSERT INTO stdout SELECT 1",
    ],
)
def test_copying_on_the_server_is_fine(sql: str) -> None:
    assert sql_of(sql) == [sql]


# --- who controls the transaction ----------------------------------------------------------------------------------

ENDS_TRANSACTION = [
    "BEGIN",
    "begin work",
    "BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "START TRANSACTION",
    "START TRANSACTION READ ONLY",
    "COMMIT",
    "COMMIT WORK",
    "commit and chain",
    "COMMIT PREPARED 'x'",
    "END",
    "END TRANSACTION",
    "ROLLBACK",
    "ROLLBACK WORK",
    "ROLLBACK AND NO CHAIN",
    "ROLLBACK PREPARED 'x'",
    "ABORT",
    "ABORT TRANSACTION",
    "PREPARE TRANSACTION 'x'",
    "/* now */ COMMIT -- done",
    # The server sees the body end at the first END: CASE is a label here, which only a grammar can know.
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 AS case; END; COMMIT; SELECT 2",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 AS case; END; ROLLBACK; SELECT 2 AS end",
]

STAYS_INSIDE = [
    "SAVEPOINT a",
    "RELEASE SAVEPOINT a",
    "ROLLBACK TO a",
    "ROLLBACK TO SAVEPOINT a",
    "ROLLBACK WORK TO SAVEPOINT a",
    "rollback transaction to savepoint a",
    "PREPARE q AS SELECT 1",
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET LOCAL work_mem = '8MB'",
    "DO $$ BEGIN COMMIT; END $$",
    "SELECT 'COMMIT'",
    'SELECT "commit" FROM "begin"',
    "COMMENT ON TABLE t IS 'COMMIT'",
    "CALL commit_everything()",
    "-- COMMIT\nSELECT 1",
    PLPGSQL,
    BEGIN_ATOMIC,
]


@pytest.mark.parametrize("sql", ENDS_TRANSACTION)
def test_a_statement_that_takes_the_transaction_over_is_known(sql: str) -> None:
    assert one(sql).ends_transaction


@pytest.mark.parametrize("sql", STAYS_INSIDE)
def test_a_statement_that_stays_inside_the_transaction_is_no_such(sql: str) -> None:
    statement = one(sql)

    assert not statement.ends_transaction
    assert statement.transactional


# --- what PostgreSQL refuses inside a transaction ------------------------------------------------------------------

REFUSES_TRANSACTION = [
    "CREATE INDEX CONCURRENTLY i ON t (a)",
    "create index concurrently i on t (a)",
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)",
    "CREATE INDEX CONCURRENTLY ON t (a)",
    "CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)",
    "CREATE /* slow */ INDEX -- but safe\n CONCURRENTLY i ON t (a)",
    "DROP INDEX CONCURRENTLY i",
    "DROP INDEX CONCURRENTLY IF EXISTS i",
    "REINDEX INDEX CONCURRENTLY i",
    "REINDEX TABLE CONCURRENTLY t",
    "REINDEX (CONCURRENTLY) TABLE t",
    "REINDEX (VERBOSE, CONCURRENTLY) INDEX i",
    "REINDEX SCHEMA public",
    "REINDEX SCHEMA CONCURRENTLY public",
    "REINDEX DATABASE shop",
    "REINDEX SYSTEM shop",
    "REINDEX (VERBOSE) SCHEMA public",
    "REINDEX (TABLESPACE fast, VERBOSE) DATABASE shop",
    "ALTER TABLE t DETACH PARTITION p CONCURRENTLY",
    "ALTER TABLE IF EXISTS public.t DETACH PARTITION public.p CONCURRENTLY",
    "VACUUM",
    "VACUUM (ANALYZE) t",
    "VACUUM FULL t",
    "CREATE DATABASE copy TEMPLATE shop",
    "DROP DATABASE copy",
    "ALTER DATABASE copy SET TABLESPACE fast",
    "CREATE TABLESPACE fast LOCATION '/fast'",
    "DROP TABLESPACE fast",
    "ALTER SYSTEM SET work_mem = '8MB'",
    "CREATE SUBSCRIPTION s CONNECTION 'host=x' PUBLICATION p",
    "DROP SUBSCRIPTION s",
    "ALTER SUBSCRIPTION s REFRESH PUBLICATION",
    "ALTER SUBSCRIPTION s SET PUBLICATION p",
    "CLUSTER",
    "CLUSTER VERBOSE",
    "CLUSTER (VERBOSE)",
]

LOOK_ALIKES = [
    "REFRESH MATERIALIZED VIEW CONCURRENTLY v",
    "CREATE INDEX i ON t (a)",
    "CREATE INDEX concurrently_built ON t (a)",
    'CREATE INDEX "concurrently" ON t (a)',
    'CREATE INDEX i ON "concurrently" (a)',
    'CREATE INDEX i ON t ("concurrently")',
    "CREATE TABLE t (a int) -- CONCURRENTLY",
    'CREATE TABLE t ("concurrently" boolean DEFAULT true)',
    "CREATE INDEX i /* CONCURRENTLY */ ON t (a)",
    "COMMENT ON INDEX i IS 'built CONCURRENTLY'",
    'ALTER TABLE t DROP COLUMN "concurrently"',
    'ALTER TABLE t RENAME COLUMN a TO "CONCURRENTLY"',
    "ALTER TABLE t DETACH PARTITION p",
    "ALTER TABLE t DETACH PARTITION p FINALIZE",
    'ALTER TABLE t DETACH PARTITION "CONCURRENTLY"',
    'ALTER TABLE t ADD COLUMN "DETACH" int',
    "DROP INDEX i",
    'DROP INDEX "concurrently"',
    "DROP TABLE vacuum_log",
    "REINDEX TABLE t",
    "REINDEX INDEX i",
    "REINDEX (VERBOSE) TABLE t",
    'REINDEX TABLE "CONCURRENTLY"',
    "ANALYZE",
    "ANALYZE t",
    "CREATE SCHEMA database",
    "ALTER DATABASE shop SET work_mem = '8MB'",
    "ALTER DATABASE shop RENAME TO old",
    "ALTER SUBSCRIPTION s DISABLE",
    "ALTER TYPE mood ADD VALUE 'great'",  # allowed since PostgreSQL 12, unless the value is used at once
    "CLUSTER t USING i",
    "CLUSTER (VERBOSE) t",
    "CLUSTER VERBOSE t USING i",
    "DO $$ BEGIN VACUUM; END $$",
    "SELECT 'VACUUM'",
    "INSERT INTO t VALUES ('CREATE INDEX CONCURRENTLY i ON t (a)')",
    "CREATE FUNCTION vacuum() RETURNS int LANGUAGE sql AS 'SELECT 1'",
]


@pytest.mark.parametrize("sql", REFUSES_TRANSACTION)
def test_a_statement_that_postgresql_refuses_in_a_transaction_is_known(sql: str) -> None:
    statement = one(sql)

    assert not statement.transactional
    assert not statement.ends_transaction


@pytest.mark.parametrize("sql", LOOK_ALIKES)
def test_a_statement_that_only_looks_like_one_stays_in_the_transaction(sql: str) -> None:
    assert one(sql).transactional


# --- what holds for every script -----------------------------------------------------------------------------------

fragments = st.lists(
    st.sampled_from(
        [
            sql
            for sql in (*WHOLE.values(), *ENDS_TRANSACTION[:-2], *STAYS_INSIDE, *REFUSES_TRANSACTION, *LOOK_ALIKES)
            if "--" not in sql.rpartition("\n")[2]  # a comment at the end would hide what comes after it
        ]
    ),
    max_size=6,
)
glue = st.sampled_from([";", ";\n", " ; \n\n", ";\r\n", "; -- why; what\n", " /* ; */ ;\n", ";;"])
noise = st.lists(
    st.sampled_from(["'", '"', "$", "$$", ";", "(", ")", "/*", "*/", "--", "\n", "\\", " ", "a", "é", "E'", "BEGIN "]),
    max_size=20,
).map("".join)


@given(parts=fragments, glues=st.lists(glue, min_size=6, max_size=6))
def test_splitting_what_was_joined_gives_the_statements_back(parts: list[str], glues: list[str]) -> None:
    script = "".join(f"{part}{between}" for part, between in zip(parts, glues, strict=False))
    expected = [sql for part in parts for sql in sql_of(part)]

    assert sql_of(script) == expected


@given(script=noise)
def test_joining_the_statements_of_any_script_and_splitting_again_changes_nothing(script: str) -> None:
    try:
        statements = split_statements(script, source="up.sql")
    except InvalidInputError:
        return
    again = split_statements(";\n".join(one.sql for one in statements), source="up.sql")

    assert [one.sql for one in again] == [one.sql for one in statements]
    assert all(one.sql for one in statements)
    assert all(script.splitlines()[one.line - 1].find(one.sql.splitlines()[0]) >= 0 for one in statements)


@given(before=noise, script=fragments.map(";\n".join))
def test_comments_and_blank_lines_in_front_move_the_lines_and_nothing_else(before: str, script: str) -> None:
    front = "\n".join(f"-- {line}" for line in before.split("\n")) + "\n"

    plain = split_statements(script, source="up.sql")
    moved = split_statements(front + script, source="up.sql")

    assert [one.sql for one in moved] == [one.sql for one in plain]
    assert [one.line for one in moved] == [one.line + front.count("\n") for one in plain]


@given(
    script=st.one_of(noise, fragments.map(";\n".join)),
    sizes=st.tuples(st.integers(min_value=1, max_value=40), st.integers(min_value=1, max_value=40)),
)
def test_a_script_that_is_read_in_small_stretches_is_split_the_same(script: str, sizes: tuple[int, int]) -> None:
    def outcome() -> tuple[Statement, ...] | str:
        try:
            return split_statements(script, source="up.sql")
        except InvalidInputError as exc:
            return exc.message

    whole = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanner, "SMALLEST", min(sizes))
        patch.setattr(scanner, "LARGEST", max(sizes))
        assert outcome() == whole


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("select 'x' as a into temp b", ("SELECT", LITERAL, "AS", "A", "INTO", "TEMP", "B")),
        ("1", (LITERAL,)),
        ("$1", (LITERAL,)),
        ('SET "A" TO -- why\n 5', ("SET", '"A"', "TO", LITERAL)),
    ],
)
def test_the_words_tell_what_a_statement_is_without_what_its_literals_say(sql: str, words: tuple[str, ...]) -> None:
    assert one(sql).words == words


# --- what a large file costs ---------------------------------------------------------------------------------------

# The peak of a process of its own, so that nothing that ran before counts; the text itself is not part of it.
PEAK = """
import resource, sys
from pathlib import Path
from squizzle.analysis.statements import split_statements
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
text = Path(sys.argv[1]).read_text()
split_statements("SELECT 1", source="up.sql")
before = peak()
statements = split_statements(text, source="up.sql")
print(len(statements), statements[-1].line, peak() - before)
"""
ROW = "({0}, 'some words of row {0}', {0}.5)"
LARGE = {
    "many statements": (f"INSERT INTO t VALUES {ROW};\n", "SELECT 1"),  # noqa: S608
    "one statement": (f"{ROW},\n", "(0, '', 0)"),
    "rows behind COPY": ("{0}\tsome words of row {0}\t{0}.5\n", "\\.\nSELECT 1"),
}


@pytest.mark.parametrize("kind", LARGE)
def test_splitting_a_large_file_takes_no_more_than_a_few_times_its_size(kind: str, tmp_path: Path) -> None:
    line, end = LARGE[kind]
    begin = {"one statement": "INSERT INTO t VALUES\n", "rows behind COPY": "COPY t FROM stdin;\n"}.get(kind, "")
    rows = 20_000
    file = tmp_path / "up.sql"
    file.write_text(begin + "".join(line.format(number) for number in range(rows)) + end, encoding="utf-8")

    done = subprocess.run([sys.executable, "-c", PEAK, str(file)], check=True, capture_output=True, text=True)
    count, last_line, taken = map(int, done.stdout.split())

    assert count == {"many statements": rows + 1, "one statement": 1, "rows behind COPY": 2}[kind]
    assert last_line == {"many statements": rows + 1, "one statement": 1, "rows behind COPY": rows + 3}[kind]
    # The statements, and what one stretch costs; all tokens at once would be forty times the file.
    assert taken < 4 * file.stat().st_size + 12_000_000
