"""What holds for every layout alike."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from squizzle.analysis.statements import split_statements
from squizzle.config import LAYOUTS
from squizzle.errors import InvalidInputError, SquizzleError
from squizzle.migrations.history import History
from squizzle.migrations.layouts import READERS, detect_layout, read_migrations
from squizzle.migrations.layouts.files import checksum
from squizzle.migrations.planning import plan_apply
from squizzle.migrations.records import Migration
from squizzle.migrations.versions import is_version, version_key

Examples = dict[str, dict[str, str]]
MakeTree = Callable[[dict[str, str | bytes]], Path]
Refuse = Callable[..., SquizzleError]

NAMES = tuple(READERS)

EXPECTED = {
    "native": [("0001", "users"), ("0002", "orders")],
    "golang-migrate": [("000001", "users"), ("000002", "orders")],
    "diesel": [
        ("00000000000000", "diesel_initial_setup"),
        ("20170308120000", "users"),
        ("20170923123456", "orders"),
    ],
    "dbmate": [("20240102030405", "users"), ("20240203040506", "orders")],
    "goose": [("00001", "users"), ("00002", "orders")],
    "sql-migrate": [("20170426134008", "users"), ("20170428154209", "orders")],
    "flyway": [("1", "users"), ("1.2", "orders"), ("99999999999999999999-recent+orders", "recent_orders")],
    "sqitch": [("0001-users", "users"), ("0002-orders", "orders")],
    "numbered": [("1", "users"), ("2", "orders"), ("10", "carts")],
    "alembic": [("0001-1a2b3c", "users"), ("0002-0f9e8d", "orders")],
}


@pytest.mark.parametrize("layout", NAMES)
def test_a_folder_is_read_in_its_tools_order(tree: MakeTree, examples: Examples, layout: str) -> None:
    folder = tree({**examples[layout]})

    migrations = read_migrations(folder, layout)

    assert [(one.version, one.name) for one in migrations] == EXPECTED[layout]


@pytest.mark.parametrize("layout", NAMES)
def test_the_layout_is_detected_and_read_the_same(tree: MakeTree, examples: Examples, layout: str) -> None:
    folder = tree({**examples[layout]})

    assert detect_layout(folder) == layout
    assert read_migrations(folder) == read_migrations(folder, layout)


@pytest.mark.parametrize("layout", NAMES)
def test_versions_can_be_versions_and_sort_as_the_tool_does(tree: MakeTree, examples: Examples, layout: str) -> None:
    migrations = read_migrations(tree({**examples[layout]}), layout)

    assert all(is_version(one.version) for one in migrations)
    assert all(version_key(older.version) < version_key(newer.version) for older, newer in pairwise(migrations))


@pytest.mark.parametrize("layout", NAMES)
def test_everything_that_was_read_can_be_planned(tree: MakeTree, examples: Examples, layout: str) -> None:
    migrations = read_migrations(tree({**examples[layout]}), layout)

    steps = plan_apply(migrations, History())

    assert [step.migration.version for step in steps] == [version for version, _name in EXPECTED[layout]]
    assert all(unit.statements or step.migration.program for step in steps for unit in step.units)


@pytest.mark.parametrize("layout", NAMES)
def test_labels_and_lines_lead_to_the_statement_in_its_file(tree: MakeTree, examples: Examples, layout: str) -> None:
    folder = tree({**examples[layout]})

    for migration in read_migrations(folder, layout):
        scripts = (
            (migration.up_sql, migration.labels.up),
            (migration.down_sql, migration.labels.down),
            (migration.verify_sql, migration.labels.verify),
        )
        for text, label in scripts:
            for statement in split_statements(text or "", source=label):
                lines = (folder / label).read_text().split("\n")
                assert lines[statement.line - 1].startswith(statement.sql.split("\n")[0])


@pytest.mark.parametrize("layout", NAMES)
@pytest.mark.parametrize(
    "rewrite",
    [
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(),
    ],
    ids=["windows line ends", "byte order mark", "both"],
)
def test_line_ends_and_byte_order_marks_change_only_the_line_ends_of_what_is_run(
    tmp_path: Path, tree: MakeTree, examples: Examples, layout: str, rewrite: Callable[[str], bytes]
) -> None:
    unix = read_migrations(tree({**examples[layout]}), layout)
    folder = tmp_path / "migrations"
    for name, text in examples[layout].items():
        (folder / name).write_bytes(rewrite(text))

    assert tuple(map(with_unix_line_ends, read_migrations(folder))) == unix


def with_unix_line_ends(migration: Migration) -> Migration:
    texts = {"up_sql": migration.up_sql, "down_sql": migration.down_sql, "verify_sql": migration.verify_sql}
    changed = {name: text.replace("\r\n", "\n") for name, text in texts.items() if text is not None}
    return replace(migration, **changed)


# A revision of Alembic's has both ways in one file.
@pytest.mark.parametrize("layout", [name for name in NAMES if name != "alembic"])
def test_the_checksum_changes_with_the_way_forward_alone(tree: MakeTree, examples: Examples, layout: str) -> None:
    before = read_migrations(tree({**examples[layout]}), layout)
    folder = tree({name: text.replace("DROP", "DROP  ") for name, text in examples[layout].items()})
    after_down = read_migrations(folder, layout)
    tree({name: text.replace("bigint", "integer") for name, text in examples[layout].items()})
    after_up = read_migrations(folder, layout)

    assert [one.checksum for one in after_down] == [one.checksum for one in before]
    assert {one.checksum for one in after_up}.isdisjoint(one.checksum for one in before if "bigint" in one.up_sql)
    assert all(len(one.checksum) == len(checksum("")) for one in before)


@pytest.mark.parametrize("layout", NAMES)
def test_nothing_is_declared_about_transactions_when_nothing_was_said(
    tree: MakeTree, examples: Examples, layout: str
) -> None:
    migrations = read_migrations(tree({**examples[layout]}), layout)
    assert {(one.in_transaction, one.down_in_transaction) for one in migrations} == {(None, None)}


@pytest.mark.parametrize("layout", [name for name in NAMES if name not in {"sqitch", "alembic"}])
def test_an_empty_folder_has_no_migrations(tree: MakeTree, layout: str) -> None:
    folder = tree({"README.md": "soon", ".gitkeep": ""})

    assert read_migrations(folder, layout) == ()
    assert read_migrations(folder) == ()


def test_a_plan_without_changes_has_no_migrations(tree: MakeTree) -> None:
    folder = tree({"sqitch.plan": "%syntax-version=1.0.0\n%project=shop\n\n"})

    assert detect_layout(folder) == "sqitch"
    assert read_migrations(folder) == ()


def test_an_empty_folder_is_native(tree: MakeTree) -> None:
    assert detect_layout(tree({})) == "native"


@pytest.mark.parametrize("layout", ["auto", *NAMES])
def test_a_missing_folder_is_refused(tmp_path: Path, refusal: Refuse, layout: str) -> None:
    assert str(tmp_path / "nowhere") in refusal(tmp_path / "nowhere", layout).message


@pytest.mark.parametrize("layout", ["auto", *NAMES])
def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path, refusal: Refuse, layout: str) -> None:
    (tmp_path / "migrations").write_text("")

    assert "cannot be read" in refusal(tmp_path / "migrations", layout).message


UP_FILES = {
    "native": "0001_users/up.sql",
    "golang-migrate": "000001_users.up.sql",
    "diesel": "20170308120000_users/up.sql",
    "dbmate": "20240102030405_users.sql",
    "goose": "00001_users.sql",
    "sql-migrate": "20170426134008-users.sql",
    "flyway": "V1__users.sql",
    "sqitch": "deploy/users.sql",
    "numbered": "1_users.sql",
}
DOWN_FILES = {
    "native": "0001_users/down.sql",
    "golang-migrate": "000001_users.down.sql",
    "diesel": "20170308120000_users/down.sql",
    "flyway": "U1__users.sql",
    "sqitch": "revert/users.sql",
}
SCRIPTS = [*UP_FILES.items(), *DOWN_FILES.items()]


@pytest.mark.parametrize(("layout", "file"), SCRIPTS)
def test_a_script_that_is_not_utf8_is_refused_with_the_byte(
    tree: MakeTree, examples: Examples, refusal: Refuse, layout: str, file: str
) -> None:
    folder = tree({**examples[layout], file: "SELECT 'größe'".encode("latin-1")})

    assert f"{file} is not UTF-8 (byte 10 is 0xf6)" in refusal(folder, layout).message


@pytest.mark.parametrize(("layout", "file"), SCRIPTS)
def test_a_link_out_of_the_folder_is_refused(
    tmp_path: Path, tree: MakeTree, examples: Examples, refusal: Refuse, layout: str, file: str
) -> None:
    folder = tree({**examples[layout]})
    (tmp_path / "outside.sql").write_text("DROP TABLE users;")
    (folder / file).unlink()
    (folder / file).symlink_to(tmp_path / "outside.sql")

    for way in (layout, "auto"):
        assert f"{file} is a link out of {folder}" in refusal(folder, way).message


@pytest.mark.parametrize(("layout", "file"), SCRIPTS)
def test_a_link_to_nothing_is_refused_and_not_taken_for_a_missing_file(
    tree: MakeTree, examples: Examples, refusal: Refuse, layout: str, file: str
) -> None:
    folder = tree({**examples[layout]})
    (folder / file).unlink()
    (folder / file).symlink_to("moved_away.sql")

    assert f"{file} cannot be read" in refusal(folder, layout).message


@pytest.mark.parametrize(("layout", "file"), SCRIPTS)
def test_a_folder_in_place_of_a_script_is_refused(
    tree: MakeTree, examples: Examples, refusal: Refuse, layout: str, file: str
) -> None:
    folder = tree({**examples[layout]})
    (folder / file).unlink()
    (folder / file).mkdir()

    assert f"{file} cannot be read: Is a directory" in refusal(folder, layout).message


@pytest.mark.parametrize(("layout", "file"), SCRIPTS)
def test_a_pipe_is_refused_and_not_waited_for(
    tree: MakeTree, examples: Examples, refusal: Refuse, layout: str, file: str
) -> None:
    folder = tree({**examples[layout]})
    (folder / file).unlink()
    os.mkfifo(folder / file)

    assert f"{file} is no file but a pipe or a device" in refusal(folder, layout).message
    assert str(folder / file) in refusal(folder).message


@pytest.mark.parametrize(("layout", "file"), SCRIPTS)
def test_a_link_to_itself_is_refused(
    tree: MakeTree, examples: Examples, refusal: Refuse, layout: str, file: str
) -> None:
    folder = tree({**examples[layout]})
    (folder / file).unlink()
    (folder / file).symlink_to(folder / file)

    assert f"{file} cannot be read" in refusal(folder, layout).message


UNSHOWABLE = {
    "not UTF-8": b"0009_\xff",
    "a line end": b"0009_a\nb",
    "an escape sequence": b"0009_\x1b[31m",
    "a tabulator": b"0009_a\tb",
}


@pytest.mark.parametrize("layout", [name for name in NAMES if name != "sqitch"])
@pytest.mark.parametrize("name", UNSHOWABLE.values(), ids=UNSHOWABLE.keys())
def test_a_name_that_cannot_be_shown_is_refused_and_shown_escaped(
    tree: MakeTree, examples: Examples, refusal: Refuse, layout: str, name: bytes
) -> None:
    folder = tree({**examples[layout]})
    os.mkdir(os.fsencode(folder) + b"/" + name)  # noqa: PTH102 - a Path holds no bytes

    message = refusal(folder, layout).message

    assert f"holds a name that cannot be shown: {os.fsdecode(name)!a}" in message
    assert message.isascii()
    assert message.isprintable()


CODE = [
    ("golang-migrate", "000003_fill.up.go"),
    ("dbmate", "20240303030303_fill.py"),
    ("goose", "00003_fill.go"),
    ("sql-migrate", "20170501000000-fill.js"),
    ("flyway", "V2__fill.java"),
    ("flyway", "2024/R__fill.kt"),
    ("numbered", "3_fill.py"),
    ("native", "0003_fill/up.py"),
    ("diesel", "2018-01-01-000000_fill/up.rs"),
]


@pytest.mark.parametrize(("layout", "file"), CODE)
def test_a_step_that_is_a_program_is_refused_by_name(
    tree: MakeTree, examples: Examples, refusal: Refuse, layout: str, file: str
) -> None:
    folder = tree({**examples[layout], file: "def upgrade(): ..."})

    for error in (refusal(folder, layout), refusal(folder)):
        assert str(folder / file) in error.message
        assert "Squizzle cannot run" in error.message
        assert "adopted" in error.hint


@pytest.mark.parametrize("layout", ["golang-migrate", "goose", "numbered"])
def test_programs_that_are_no_steps_are_passed_over(tree: MakeTree, examples: Examples, layout: str) -> None:
    files = {"main.go": "", "0005_users_test.go": "", "conftest.py": "", "Makefile": "", "sub/0007_later.up.sql": ""}
    folder = tree({**examples[layout], **files})

    assert [one.version for one in read_migrations(folder)] == [version for version, _name in EXPECTED[layout]]


SLIPS = ["0003_x.upp.sql", "0003_x.sqll", " 0003_x.sql.sql", "0003_x.SQL", "V3_x.sql", "O003_x.sql", "x.up.sql"]
# With marks in it, `0003_x.upp.sql` is a name like any other.
MARKED = {"dbmate", "goose", "sql-migrate"}


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        (layout, name)
        for layout in NAMES
        if layout not in {"native", "diesel", "sqitch", "alembic"}
        for name in SLIPS[layout in MARKED :]
    ],
)
def test_a_name_with_a_slip_is_refused_and_not_passed_over(
    tree: MakeTree, examples: Examples, refusal: Refuse, layout: str, name: str
) -> None:
    folder = tree({**examples[layout], name: "SELECT 1;"})

    for error in (refusal(folder, layout), refusal(folder)):
        assert str(folder / name) in error.message
        assert "looks like a migration" in error.message


@pytest.mark.parametrize("layout", ["native", "diesel", "sqitch"])
def test_a_file_that_looks_like_a_step_beside_folders_is_refused_when_nobody_said_what_they_are(
    tree: MakeTree, examples: Examples, refusal: Refuse, layout: str
) -> None:
    folder = tree({**examples[layout], "0003_x.upp.sql": "SELECT 1;"})

    assert "0003_x.upp.sql looks like a migration" in refusal(folder).message
    assert len(read_migrations(folder, layout)) == len(EXPECTED[layout])


@pytest.mark.parametrize("layout", NAMES)
def test_notes_and_dumps_are_passed_over(tree: MakeTree, examples: Examples, layout: str) -> None:
    notes = ["README.md", "0001_why.md", "1_users.png", "2024-report.csv", "1_users.sql.bak", "1_users.sql~"]
    folder = tree(
        {**examples[layout], **dict.fromkeys(notes, "x"), "schema.sql": b"\xff", "structure.sql": "SELECT 1;"}
    )

    assert [one.version for one in read_migrations(folder)] == [version for version, _name in EXPECTED[layout]]


def test_the_command_offers_every_layout() -> None:
    assert ("auto", *READERS) == LAYOUTS


def test_an_unknown_layout_is_refused_with_those_there_are(tree: MakeTree, refusal: Refuse) -> None:
    error = refusal(tree({}), "liquibase")

    assert "there is no layout 'liquibase'" in error.message
    assert all(name in error.hint for name in LAYOUTS)
    assert isinstance(error, InvalidInputError)
