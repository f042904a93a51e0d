"""What a script says to Squizzle in comments: read where it belongs, refused where it belongs nowhere."""

from __future__ import annotations

from datetime import timedelta

import pytest

from squizzle.analysis.records import BatchOptions
from squizzle.analysis.statements import split_statements
from squizzle.errors import DatabaseState, InvalidInputError

UPDATE = "UPDATE t SET a = 1"


def batch_of(mark: str, statement: str = UPDATE) -> BatchOptions | None:
    (found,) = split_statements(f"-- squizzle: {mark}\n{statement};", source="up.sql")
    return found.batch


def refusal(script: str) -> str:
    with pytest.raises(InvalidInputError) as caught:
        split_statements(script, source="0007_x/up.sql")
    assert caught.value.hint
    assert caught.value.database_state is DatabaseState.UNTOUCHED
    return caught.value.message


# --- what is read --------------------------------------------------------------------------------------------------


def test_a_mark_belongs_to_the_statement_after_it_and_to_no_other() -> None:
    script = f"SELECT 1;\n-- why\n-- squizzle: batch key=id\n-- because\n{UPDATE};\n{UPDATE};\n-- squizzle: batch key=x\n{UPDATE}"

    batches = [one.batch for one in split_statements(script, source="up.sql")]

    assert batches == [None, BatchOptions(key=("id",), line=3), None, BatchOptions(key=("x",), line=7)]


def test_every_setting_is_read() -> None:
    mark = "batch key=id size=5000 pause=50ms target=2s max_replication_lag=1m reads_own_table=yes"

    assert batch_of(mark) == BatchOptions(
        key=("id",),
        size=5000,
        pause=timedelta(milliseconds=50),
        target=timedelta(seconds=2),
        max_replication_lag=timedelta(minutes=1),
        reads_own_table=True,
        line=1,
    )


@pytest.mark.parametrize(
    ("text", "qualifier", "key"),
    [
        ("id", "", ("id",)),
        ("ID", "", ("id",)),
        ('"ID"', "", ("ID",)),
        ('"a""b,c.d e"', "", ('a"b,c.d e',)),
        ("t.id", "t", ("id",)),
        ('T."Id"', "t", ("Id",)),
        ("tenant_id,id", "", ("tenant_id", "id")),
        ("t.tenant_id,t.id", "t", ("tenant_id", "id")),
        ("größe", "", ("größe",)),
    ],
)
def test_a_key_is_read_as_postgresql_reads_names(text: str, qualifier: str, key: tuple[str, ...]) -> None:
    options = batch_of(f"batch key={text}")

    assert options is not None
    assert (options.qualifier, options.key) == (qualifier, key)


@pytest.mark.parametrize("front", ["--squizzle:batch", "--   SQUIZZLE:   Batch", "-- squizzle : batch"])
def test_blanks_and_capitals_do_not_matter(front: str) -> None:
    (found,) = split_statements(f"  {front}\tkey=id  \r\n{UPDATE}", source="up.sql")

    assert found.batch is not None
    assert found.batch.key == ("id",)


@pytest.mark.parametrize(
    "comment", ["-- squizzle is a tool", "-- squizzle batches this", "-- see squizzle: batch", "/* squizzle */", "--"]
)
def test_prose_about_us_says_nothing(comment: str) -> None:
    (found,) = split_statements(f"{comment}\n{UPDATE}", source="up.sql")

    assert found.batch is None


def test_what_only_looks_like_a_mark_is_none() -> None:
    script = "INSERT INTO t VALUES ('\n-- squizzle: batch key=id\n');\nCOPY t FROM stdin;\n-- squizzle: bitch\n\\.\nSELECT 1;"

    assert [one.batch for one in split_statements(script, source="up.sql")] == [None, None, None]


# --- what is refused -----------------------------------------------------------------------------------------------

MISPLACED = {
    "at the end of the file": (f"{UPDATE};\n\n-- squizzle: batch key=id\n", 3, "before nothing"),
    "before a lone semicolon": (f"-- squizzle: batch key=id\n;{UPDATE}", 1, "before nothing"),
    "behind a statement on its line": (f"{UPDATE}; -- squizzle: batch key=id\n{UPDATE}", 1, "behind something else"),
    "inside a statement": ("UPDATE t\n-- squizzle: batch key=id\nSET a = 1", 2, "inside a statement"),
    "before the semicolon": (f"{UPDATE}\n-- squizzle: batch key=id\n;\n{UPDATE}", 2, "inside a statement"),
    "in a rule": (
        "CREATE RULE r AS ON INSERT TO t DO ALSO (UPDATE u SET a = 1;\n-- squizzle: batch key=id\nUPDATE v SET a = 1)",
        2,
        "inside a statement",
    ),
    "twice": (f"-- squizzle: batch key=id\n-- squizzle: batch size=3\n{UPDATE}", 2, "marked twice"),
    "in a block comment": (f"/* squizzle: batch key=id */\n{UPDATE}", 1, "a comment of one line"),
    "without its colon": (f"-- squizzle batch key=id\n{UPDATE}", 1, "a colon is missing"),
}


@pytest.mark.parametrize(("script", "line", "what"), MISPLACED.values(), ids=MISPLACED.keys())
def test_a_mark_that_belongs_to_no_statement_is_refused_with_its_line(script: str, line: int, what: str) -> None:
    message = refusal(script)

    assert message.startswith(f"0007_x/up.sql:{line}: ")
    assert what in message


WRONG = {
    "an unknown word": ("bach key=id", "unknown annotation 'bach'"),
    "no word": ("", "unknown annotation"),
    "no key": ("batch size=5", "needs a key"),
    "an unknown setting": ("batch key=id rows=5", "no setting rows"),
    "no value": ("batch key=", "'key=' is not name=value"),
    "a comma": ("batch key=id, size=5", "key=id, is no column"),
    "a word alone": ("batch key=id fast", "'fast' is not name=value"),
    "a setting twice": ("batch key=id size=1 SIZE=2", "given twice"),
    "an expression": ("batch key=lower(id)", "key=lower(id) is no column"),
    "three names": ("batch key=a.b.c", "key=a.b.c is no column"),
    "a column twice": ("batch key=id,ID", "names a column twice"),
    "columns of two tables": ("batch key=a.id,b.id", "several tables"),
    "an open quote": ('batch key="id', "is not name=value"),
    "a size of nothing": ("batch key=id size=0", "size=0 is no number of rows"),
    "a size that is no number": ("batch key=id size=5k", "size=5k is no number of rows"),
    "a size beyond reason": ("batch key=id size=" + "9" * 5000, "is no number of rows"),
    "a negative size": ("batch key=id size=-5", "size=-5 is no number of rows"),
    "a pause without a unit": ("batch key=id pause=50", "pause=50 is no duration"),
    "a target of nothing": ("batch key=id target=0ms", "target=0ms is too short"),
    "a pause of a day": ("batch key=id pause=1d", "pause=1d is too short or too long"),
    "a lag that is a word": ("batch key=id max_replication_lag=much", "max_replication_lag=much is no duration"),
    "an answer that is none": ("batch key=id reads_own_table=perhaps", "neither yes nor no"),
}


@pytest.mark.parametrize(("mark", "what"), WRONG.values(), ids=WRONG.keys())
def test_a_mark_that_nobody_understands_is_refused_with_its_line(mark: str, what: str) -> None:
    message = refusal(f"SELECT 1;\n\n-- squizzle: {mark}\n{UPDATE}")

    assert message.startswith("0007_x/up.sql:3: ")
    assert what in message


# --- require -------------------------------------------------------------------------------------------------------


def test_what_is_required_is_one_query_before_the_statement() -> None:
    (statement,) = split_statements(
        "-- squizzle: require SELECT count(*) = 0 FROM t WHERE a = 'x y';\nDELETE FROM t", source="x"
    )
    assert [note.arguments for note in statement.requires] == [("SELECT count(*) = 0 FROM t WHERE a = 'x y';",)]


@pytest.mark.parametrize("query", ["", "DELETE FROM t", "SELECT 1; SELECT 2", "true"])
def test_a_requirement_that_is_no_query_is_refused(query: str) -> None:
    with pytest.raises(InvalidInputError, match="x:1: require wants one query on the same line"):
        split_statements(f"-- squizzle: require {query}\nDELETE FROM t", source="x")
