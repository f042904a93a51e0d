"""dbmate, goose and sql-migrate: both directions in one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from squizzle.analysis.statements import split_statements
from squizzle.errors import SquizzleError, VersionConflictError
from squizzle.migrations.layouts import detect_layout, read_migrations
from squizzle.migrations.layouts.files import checksum

MakeTree = Callable[[dict[str, str | bytes]], Path]
Refuse = Callable[..., SquizzleError]

MARKS = {
    "dbmate": ("-- migrate:up", "-- migrate:down"),
    "goose": ("-- +goose Up", "-- +goose Down"),
    "sql-migrate": ("-- +migrate Up", "-- +migrate Down"),
}
TOOLS = tuple(MARKS)
FILE = "20240102030405_users.sql"
FUNCTION = """\
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1;
    RETURN NEW;
END;
$$;
"""


def script(tool: str, text: str) -> str:
    """The text with the tool's marks in place of UP and DOWN at the beginning of a line."""
    up, down = MARKS[tool]
    lines = (up + line[2:] if line.startswith("UP") else line for line in text.split("\n"))
    return "\n".join(down + line[4:] if line.startswith("DOWN") else line for line in lines)


@pytest.mark.parametrize("tool", TOOLS)
def test_the_parts_keep_the_lines_of_their_file(tree: MakeTree, tool: str) -> None:
    text = script(tool, "-- what for\n\nUP\n\nSELECT 1;\nSELECT\n  2;\n\nDOWN\nSELECT 3;\n\n\nSELECT 4;\n")
    folder = tree({FILE: text})

    (migration,) = read_migrations(folder)

    lines = text.split("\n")
    for part, expected in ((migration.up_sql, [5, 6]), (migration.down_sql or "", [10, 13])):
        statements = split_statements(part, source=FILE)
        assert [statement.line for statement in statements] == expected
        assert all(lines[one.line - 1].startswith("SELECT") for one in statements)
    assert migration.labels.up == migration.labels.down == FILE


@pytest.mark.parametrize("tool", TOOLS)
def test_the_checksum_is_of_the_way_forward_without_what_is_around_it(tree: MakeTree, tool: str) -> None:
    layouts = [
        "UP\nSELECT 1;\n",
        "UP\nSELECT 1;",
        "-- note\nUP\n\nSELECT 1;\n\nDOWN\nSELECT 2;\n",
        "UP\nSELECT 1;\nDOWN\n",
    ]

    checksums = set()
    for text in layouts:
        (migration,) = read_migrations(tree({FILE: script(tool, text)}))
        checksums.add(migration.checksum)

    assert checksums == {checksum("SELECT 1;")}


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(
    ("text", "down"),
    [("UP\nSELECT 1;\n", None), ("UP\nSELECT 1;\nDOWN", ""), ("UP\nSELECT 1;\nDOWN\n\n  \n", "")],
)
def test_a_missing_way_back_is_none_and_a_blank_one_is_empty(
    tree: MakeTree, tool: str, text: str, down: str | None
) -> None:
    (migration,) = read_migrations(tree({FILE: script(tool, text)}))

    assert migration.down_sql == down


@pytest.mark.parametrize("tool", TOOLS)
def test_a_way_back_of_comments_alone_is_kept(tree: MakeTree, tool: str) -> None:
    (migration,) = read_migrations(tree({FILE: script(tool, "UP\nSELECT 1;\nDOWN\n-- nothing to undo\n")}))

    assert (migration.down_sql or "").strip() == "-- nothing to undo"


@pytest.mark.parametrize("tool", TOOLS)
def test_a_blank_way_forward_is_empty(tree: MakeTree, tool: str) -> None:
    (migration,) = read_migrations(tree({FILE: script(tool, "UP\n\nDOWN\nSELECT 1;\n")}))

    assert (migration.up_sql, migration.checksum) == ("", checksum(""))


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "nowhere where its way forward begins"),
        ("SELECT 1;\n", "nowhere where its way forward begins"),
        ("DOWN\nSELECT 1;\n", "nowhere where its way forward begins"),
        ("\n-- note\nSELECT 0;\nUP\nSELECT 1;\n", ":3: a statement before the first mark"),
    ],
)
def test_a_file_that_cannot_be_divided_is_refused(
    tree: MakeTree, refusal: Refuse, tool: str, text: str, problem: str
) -> None:
    folder = tree({FILE: script(tool, text)})

    message = refusal(folder, tool).message

    assert FILE in message
    assert problem in message


@pytest.mark.parametrize("tool", ["dbmate", "goose"])
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("UP\nSELECT 1;\nUP\nSELECT 2;\n", ":3: the mark 'up' is there already, in line 1"),
        ("UP\nSELECT 1;\nDOWN\nDOWN\n", ":4: the mark 'down' is there already, in line 3"),
    ],
)
def test_a_direction_twice_is_refused(tree: MakeTree, refusal: Refuse, tool: str, text: str, problem: str) -> None:
    assert problem in refusal(tree({FILE: script(tool, text)})).message


def test_in_sql_migrate_a_direction_may_come_again(tree: MakeTree) -> None:
    text = "UP\nSELECT 1;\nDOWN\nSELECT -1;\nUP notransaction\nSELECT 2;\n\nDOWN\n\nSELECT -2;"

    (migration,) = read_migrations(tree({FILE: script("sql-migrate", text)}))
    (other,) = read_migrations(tree({FILE: script("sql-migrate", text.replace("-1;", "-1;\nSELECT 0;"))}))

    for part, expected in ((migration.up_sql, [2, 6]), (migration.down_sql or "", [4, 10])):
        assert [one.line for one in split_statements(part, source=FILE)] == expected
    assert migration.in_transaction is False
    assert migration.checksum == other.checksum == checksum("SELECT 1;\nSELECT 2;")


@pytest.mark.parametrize("tool", TOOLS)
def test_comments_may_stand_before_the_first_mark(tree: MakeTree, tool: str) -> None:
    text = "-- SPDX; a licence\n/* of\n   several; lines */\nUP\nSELECT 1;\n"

    (migration,) = read_migrations(tree({FILE: script(tool, text)}))

    assert [one.line for one in split_statements(migration.up_sql, source=FILE)] == [5]


@pytest.mark.parametrize("tool", ["dbmate", "goose"])
def test_the_way_back_may_not_stand_first(tree: MakeTree, refusal: Refuse, tool: str) -> None:
    folder = tree({FILE: script(tool, "DOWN\nSELECT 2;\nUP\nSELECT 1;\n")})

    assert ":1: the way back stands before the way forward" in refusal(folder).message


def test_in_sql_migrate_the_way_back_may_stand_first(tree: MakeTree) -> None:
    (migration,) = read_migrations(tree({FILE: script("sql-migrate", "DOWN\nSELECT 2;\nUP\nSELECT 1;\n")}))

    assert migration.up_sql == "\n\n\nSELECT 1;\n"
    assert migration.down_sql == "\nSELECT 2;\n"


@pytest.mark.parametrize("tool", TOOLS)
def test_a_file_without_marks_among_others_is_refused_by_name(tree: MakeTree, refusal: Refuse, tool: str) -> None:
    folder = tree({FILE: script(tool, "UP\nSELECT 1;\n"), "20240202030405_orders.sql": "SELECT 1;"})

    assert "20240202030405_orders.sql says nowhere where its way forward begins" in refusal(folder).message


@pytest.mark.parametrize("tool", TOOLS)
def test_marks_in_a_file_without_a_number_are_refused(tree: MakeTree, refusal: Refuse, tool: str) -> None:
    text = script(tool, "UP\nSELECT 1;\n")
    folder = tree({FILE: text, "orders.sql": text})

    assert f"{folder / 'orders.sql'} holds marks of {tool}" in refusal(folder).message


@pytest.mark.parametrize("tool", TOOLS)
def test_a_mark_behind_a_byte_order_mark_is_seen(tree: MakeTree, tool: str) -> None:
    folder = tree({FILE: b"\xef\xbb\xbf" + script(tool, "UP\nSELECT 1;\n").encode()})

    assert detect_layout(folder) == tool
    assert read_migrations(folder)[0].up_sql == "\nSELECT 1;\n"


# --- marks with a slip ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "mark"),
    [
        ("dbmate", " -- migrate:down"),
        ("dbmate", "-- MIGRATE:DOWN"),
        ("dbmate", "-- migrate: down"),
        ("dbmate", "-- migrate:dwon"),
        ("dbmate", "-- migrate:downs"),
        ("goose", "  -- +goose Down"),
        ("goose", "-- +goose Donw"),
        ("goose", "-- + goose Down"),
        ("goose", "-- +goose Down here"),
        ("sql-migrate", "-- +migrate down"),
        ("sql-migrate", "--+migrate Down"),
        ("sql-migrate", " -- +migrate Down"),
        ("sql-migrate", "-- +migrate Donw"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_mark_that_the_tool_does_not_see_is_refused_with_its_line(
    tree: MakeTree, refusal: Refuse, tool: str, mark: str, end: str
) -> None:
    text = script(tool, f"UP\nSELECT 1;\n{mark}\nDROP TABLE users;\n")
    folder = tree({FILE: text.replace("\n", end)})

    message = refusal(folder, tool).message

    assert f"{FILE}:3: {mark.strip()!r} is no mark to {tool}" in message


@pytest.mark.parametrize(
    ("tool", "mark"),
    [
        ("dbmate", "--migrate:down"),
        ("dbmate", "-- migrate:down  "),
        ("dbmate", "--\tmigrate:down and what it undoes"),
        ("goose", "--+goose down"),
        ("goose", "-- +goose DOWN\t"),
        ("sql-migrate", "-- +migrate   Down  "),
    ],
)
def test_a_mark_may_be_written_in_every_way_that_the_tool_knows(tree: MakeTree, tool: str, mark: str) -> None:
    (migration,) = read_migrations(tree({FILE: script(tool, f"UP\nSELECT 1;\n{mark}\nSELECT 2;\n")}))

    assert migration.up_sql == "\nSELECT 1;\n"
    assert migration.down_sql == "\n\n\nSELECT 2;\n"


def test_a_comment_about_migrating_is_no_mark(tree: MakeTree) -> None:
    folder = tree({"1_users.sql": "-- Migrate: users to accounts, see the goose page\n-- migrate users\nSELECT 1;\n"})

    assert detect_layout(folder) == "numbered"


# --- transactions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "text", "declared"),
    [
        ("dbmate", "UP transaction:false\nSELECT 1;\nDOWN\n", (False, None)),
        ("dbmate", "UP transaction:true\nSELECT 1;\nDOWN transaction:false\n", (True, False)),
        ("dbmate", "UP because of the transactions\nSELECT 1;\n", (None, None)),
        ("dbmate", "UP\nSELECT 1;\nDOWN transaction:false\n", (None, False)),
        ("goose", "-- +goose NO TRANSACTION\nUP\nSELECT 1;\n", (False, False)),
        ("goose", "UP\n-- +goose no transaction\nSELECT 1;\n", (False, False)),
        ("goose", "UP\nSELECT 1;\n", (None, None)),
        ("sql-migrate", "UP notransaction\nSELECT 1;\nDOWN\n", (False, None)),
        ("sql-migrate", "UP\nSELECT 1;\nDOWN notransaction\n", (None, False)),
    ],
)
def test_each_direction_declares_its_own_transaction_where_the_tool_lets_it(
    tree: MakeTree, tool: str, text: str, declared: tuple[bool | None, bool | None]
) -> None:
    (migration,) = read_migrations(tree({FILE: script(tool, text)}))

    assert (migration.in_transaction, migration.down_in_transaction) == declared


@pytest.mark.parametrize(
    ("tool", "text"),
    [
        ("dbmate", "UP transaction: false\nSELECT 1;\n"),
        ("dbmate", "UP transaction=false\nSELECT 1;\n"),
        ("dbmate", "UP\nSELECT 1;\nDOWN Transaction:false\n"),
        ("sql-migrate", "UP noTransaction\nSELECT 1;\n"),
        ("sql-migrate", "UP no-transaction\nSELECT 1;\n"),
    ],
)
def test_a_declaration_that_the_tool_does_not_understand_is_refused(
    tree: MakeTree, refusal: Refuse, tool: str, text: str
) -> None:
    assert f"says nothing to {tool}" in refusal(tree({FILE: script(tool, text)})).message


# --- blocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tool", "word"), [("goose", "goose"), ("sql-migrate", "migrate")])
def test_blocks_stay_in_the_script_as_comments(tree: MakeTree, tool: str, word: str) -> None:
    text = script(tool, f"UP\n-- +{word} StatementBegin\n{FUNCTION}-- +{word} StatementEnd\nSELECT 1;\nDOWN\n")

    (migration,) = read_migrations(tree({FILE: text}))

    assert [one.line for one in split_statements(migration.up_sql, source=FILE)] == [3, 10]


@pytest.mark.parametrize(("tool", "word"), [("goose", "goose"), ("sql-migrate", "migrate")])
@pytest.mark.parametrize(
    "text",
    [
        "UP\n-- +{word} StatementBegin\nSELECT 1;\n",
        "UP\n-- +{word} StatementBegin\nSELECT 1;\nDOWN\n-- +{word} StatementEnd\n",
    ],
)
def test_a_block_that_does_not_end_in_its_direction_is_refused(
    tree: MakeTree, refusal: Refuse, tool: str, word: str, text: str
) -> None:
    folder = tree({FILE: script(tool, text.format(word=word))})

    assert f"{FILE}:2: a StatementBegin without its StatementEnd" in refusal(folder).message


def test_gooses_variables_of_the_environment_are_refused(tree: MakeTree, refusal: Refuse) -> None:
    folder = tree({FILE: "-- +goose Up\n-- +goose ENVSUB ON\nCREATE ROLE ${ROLE};\n-- +goose ENVSUB OFF\n"})

    assert f"{FILE}:2: ENVSUB" in refusal(folder).message


# --- names and order --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", ["goose", "sql-migrate"])
def test_numbers_count_as_numbers(tree: MakeTree, tool: str) -> None:
    text = script(tool, "UP\nSELECT 1;\n")
    folder = tree(dict.fromkeys(["10_c.sql", "2_b.sql", "1_a.sql", "20240101000000_d.sql"], text))

    assert [one.version for one in read_migrations(folder)] == ["1", "2", "10", "20240101000000"]


@pytest.mark.parametrize(
    "name", ["0001.sql", "0001-users.sql", "0001users.sql", "0001_users.up.sql", "0001_Users v1.2.sql"]
)
def test_to_dbmate_everything_behind_the_digits_is_the_name(tree: MakeTree, name: str) -> None:
    (migration,) = read_migrations(tree({name: "-- migrate:up\n-- migrate:down\n"}), "dbmate")

    assert migration.version == "0001"
    assert migration.name == (name.removeprefix("0001").removesuffix(".sql").lstrip("_-") or "0001")


@pytest.mark.parametrize(
    ("first", "second"),
    [("10_b.sql", "2_a.sql"), ("10_b.sql", "1_a.sql"), ("20221231235959_y.sql", "20230101_x.sql")],
)
def test_numbers_that_dbmate_orders_as_text_are_refused_and_not_reordered(
    tree: MakeTree, refusal: Refuse, first: str, second: str
) -> None:
    # Checked with dbmate 2.37: it runs them as `ls` with the C locale lists them.
    folder = tree(dict.fromkeys([first, second], "-- migrate:up\n-- migrate:down\n"))

    message = refusal(folder).message

    assert f"dbmate runs {first} before {second}" in message


@pytest.mark.parametrize(
    ("tool", "first", "second"),
    [
        ("dbmate", "1_a.sql", "1_b.sql"),
        ("dbmate", "01_a.sql", "1_b.sql"),
        ("goose", "1_a.sql", "00001_b.sql"),
        ("sql-migrate", "1_a.sql", "01_a.sql"),
    ],
)
def test_the_same_version_twice_is_refused_with_both_files(
    tree: MakeTree, refusal: Refuse, tool: str, first: str, second: str
) -> None:
    folder = tree(dict.fromkeys([first, second], script(tool, "UP\nSELECT 1;\n")))

    message = refusal(folder, kind=VersionConflictError).message

    assert first in message
    assert second in message


@pytest.mark.parametrize("name", ["0_zero.sql", "00001-users.sql", "00001.sql"])
def test_goose_wants_a_number_from_one_on_and_an_underscore(tree: MakeTree, refusal: Refuse, name: str) -> None:
    folder = tree({"1_a.sql": "-- +goose Up\n", name: "-- +goose Up\n"})

    assert f"{name} looks like a migration" in refusal(folder).message


def test_to_sql_migrate_the_whole_name_is_the_version_where_a_number_is_shared(tree: MakeTree) -> None:
    names = ["3-users.sql", "3-orders.sql", "3-users2.sql", "3-users10.sql", "2-a.sql", "4-b.sql"]
    folder = tree(dict.fromkeys(names, "-- +migrate Up\n"))

    migrations = read_migrations(folder)

    # In the order of the names as text, in which 10 comes before 2.
    assert [one.version for one in migrations] == ["2", "3+orders", "3+users", "3+users-1-0", "3+users-2", "4"]


def test_an_order_that_no_versions_can_have_is_refused(tree: MakeTree, refusal: Refuse) -> None:
    # As whole names "3_a-b.sql" comes before "3_a.sql", and "3_a" before "3_a-b" without the suffix.
    folder = tree(dict.fromkeys(["3_a.sql", "3_a-b.sql"], "-- +migrate Up\n"))

    assert "sql-migrate runs 3_a-b.sql before 3_a.sql" in refusal(folder).message
