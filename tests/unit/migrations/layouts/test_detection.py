"""Telling layouts apart by what lies in the folder; doubts are errors."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest

from squizzle.errors import InvalidInputError, SquizzleError
from squizzle.migrations.layouts import READERS, detect_layout, read_migrations

Examples = dict[str, dict[str, str]]
MakeTree = Callable[[dict[str, str | bytes]], Path]
Refuse = Callable[..., SquizzleError]

# Numbered files among those of a tool that judges every file are its own slips, and native and diesel's are one kind.
JUDGES = {"dbmate", "goose", "sql-migrate", "golang-migrate", "flyway"}
DOUBTS = [
    pair
    for pair in combinations(READERS, 2)
    if set(pair) != {"native", "diesel"} and not ("numbered" in pair and JUDGES.intersection(pair))
]


@pytest.mark.parametrize(("one", "other"), DOUBTS)
def test_two_layouts_in_one_folder_are_refused_with_both_names(
    tree: MakeTree, examples: Examples, refusal: Refuse, one: str, other: str
) -> None:
    folder = tree({**examples[one], **examples[other]})

    error = refusal(folder)

    assert str(folder) in error.message
    assert one in error.message
    assert other in error.message
    assert "--layout" in error.hint


@pytest.mark.parametrize("judge", sorted(JUDGES - {"golang-migrate"}))
def test_a_plain_file_among_those_of_a_tool_is_no_second_layout_but_a_slip(
    tree: MakeTree, examples: Examples, refusal: Refuse, judge: str
) -> None:
    folder = tree({**examples[judge], "77777777777777_plain.sql": "SELECT 1;"})

    assert detect_layout(folder) == judge
    assert "77777777777777_plain.sql" in refusal(folder).message


def test_diesels_signs_decide_where_native_folders_lie_beside(tree: MakeTree, examples: Examples) -> None:
    assert detect_layout(tree({**examples["native"], **examples["diesel"]})) == "diesel"


def test_saying_the_layout_settles_a_doubt(tree: MakeTree, examples: Examples) -> None:
    folder = tree({**examples["native"], **examples["numbered"]})

    assert [one.version for one in read_migrations(folder, "native")] == ["0001", "0002"]
    assert [one.version for one in read_migrations(folder, "numbered")] == ["1", "2", "10"]


@pytest.mark.parametrize("name", ["0001_x.upp.sql", "0001_x", "x.up.sql", "0001_x.psql"])
def test_a_folder_with_nothing_but_a_slip_is_not_taken_for_an_empty_one(
    tree: MakeTree, refusal: Refuse, name: str
) -> None:
    folder = tree({name: "SELECT 1;"})

    assert f"{folder / name} looks like a migration" in refusal(folder).message


def test_a_folder_with_nothing_but_programs_is_not_taken_for_an_empty_one(tree: MakeTree, refusal: Refuse) -> None:
    folder = tree({"0001_initial.py": "", "0002_more.py": "", "__init__.py": ""})

    assert "0001_initial.py is a step in another language" in refusal(folder).message


def test_a_folder_without_an_up_script_alone_is_not_taken_for_an_empty_one(tree: MakeTree, refusal: Refuse) -> None:
    folder = tree({"0001_x/migration.sql": ""})

    assert "0001_x has no up.sql" in refusal(folder).message


def test_folders_beside_files_are_no_second_layout_without_scripts(tree: MakeTree) -> None:
    folder = tree({"1_a.sql": "", "archive/notes.md": "", "meta/0001_snapshot.json": ""})

    assert detect_layout(folder) == "numbered"


def test_marks_in_files_that_have_directions_in_their_names_are_a_doubt(tree: MakeTree, refusal: Refuse) -> None:
    folder = tree({"1_a.up.sql": "-- +goose Up\nSELECT 1;\n", "2_b.up.sql": "SELECT 1;\n"})

    message = refusal(folder).message

    assert "goose or golang-migrate" in message or "golang-migrate or goose" in message


def test_two_tools_marks_in_one_file_are_a_doubt(tree: MakeTree, refusal: Refuse) -> None:
    folder = tree({"1_a.sql": "-- migrate:up\n-- +goose Up\nSELECT 1;\n-- migrate:down\n-- +goose Down\n"})

    assert "dbmate or goose" in refusal(folder).message


def test_a_dump_with_marks_and_without_a_number_says_nothing(tree: MakeTree) -> None:
    folder = tree({"1_a.sql": "SELECT 1;\n", "dump.sql": b"-- +goose Up\n\xff\xfe"})

    assert detect_layout(folder) == "numbered"


def test_a_version_that_is_a_link_to_nothing_is_refused(tree: MakeTree, examples: Examples) -> None:
    folder = tree({**examples["native"]})
    (folder / "0003_gone").symlink_to("moved_away")

    with pytest.raises(InvalidInputError, match="0003_gone"):
        read_migrations(folder)


def test_a_version_whose_script_is_a_link_to_nothing_still_makes_a_doubt(tree: MakeTree, refusal: Refuse) -> None:
    folder = tree({"1_a.sql": "", "0003_x/down.sql": ""})
    (folder / "0003_x" / "up.sql").symlink_to("moved_away.sql")

    assert "native or numbered" in refusal(folder).message


def test_hidden_folders_say_nothing(tree: MakeTree, examples: Examples) -> None:
    folder = tree({**examples["native"], ".git/V1__x.sql": "", ".old/1_a.up.sql": "", "__pycache__/up.sql": ""})

    assert detect_layout(folder) == "native"


def test_the_examples_are_native(shop: Path) -> None:
    assert detect_layout(shop / "migrations") == "native"
