"""Plain numbered files, which have a way forward only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from squizzle.errors import SquizzleError, VersionConflictError
from squizzle.migrations.layouts import detect_layout, read_migrations
from squizzle.migrations.layouts.files import checksum

MakeTree = Callable[[dict[str, str | bytes]], Path]
Refuse = Callable[..., SquizzleError]


def test_numbers_count_as_numbers_and_there_is_no_way_back(tree: MakeTree) -> None:
    folder = tree({"10_c.sql": "SELECT 10;\n", "2_b.sql": "SELECT 2;\n", "1_a_first_one.sql": ""})

    migrations = read_migrations(folder)

    assert [(one.version, one.name) for one in migrations] == [("1", "a_first_one"), ("2", "b"), ("10", "c")]
    assert [one.up_sql for one in migrations] == ["", "SELECT 2;\n", "SELECT 10;\n"]
    assert {one.down_sql for one in migrations} == {None}
    assert migrations[2].checksum == checksum("SELECT 10;\n")
    assert migrations[2].labels.up == "10_c.sql"


def test_the_number_may_stand_alone(tree: MakeTree) -> None:
    assert [(one.version, one.name) for one in read_migrations(tree({"001.sql": ""}))] == [("001", "001")]


def test_a_hyphen_divides_number_and_name_where_all_files_have_one(tree: MakeTree) -> None:
    folder = tree({"0001-initial.sql": "", "0002-add-owner.sql": ""})

    assert [(one.version, one.name) for one in read_migrations(folder)] == [("0001", "initial"), ("0002", "add-owner")]


def test_a_hyphen_among_underscores_is_a_slip(tree: MakeTree, refusal: Refuse) -> None:
    folder = tree({"1_a.sql": "", "2_b.sql": "", "3-c.sql": ""})

    assert "3-c.sql looks like a migration" in refusal(folder).message


def test_where_files_share_a_number_the_whole_name_is_the_version(tree: MakeTree) -> None:
    names = ["3_users.sql", "3_orders_open.sql", "3_orders.sql", "2_x.sql", "4_y.sql", "3_Zones.sql", "3.sql"]
    folder = tree(dict.fromkeys(names, ""))

    versions = [one.version for one in read_migrations(folder)]

    assert versions == ["2", "3", "3.-Zones", "3.orders", "3.orders.open", "3.users", "4"]


def test_a_name_that_cannot_be_a_version_is_refused_only_where_it_must_be_one(tree: MakeTree, refusal: Refuse) -> None:
    folder = tree({"3_größe.sql": ""})
    assert [one.version for one in read_migrations(folder)] == ["3"]

    tree({"3_a.sql": ""})
    assert f"{folder / '3_größe.sql'} shares its number" in refusal(folder).message


def test_the_same_number_and_name_twice_is_refused(tree: MakeTree, refusal: Refuse) -> None:
    message = refusal(tree({"3_a.sql": "", "03_a.sql": ""}), kind=VersionConflictError).message

    assert "03_a.sql" in message
    assert "/3_a.sql" in message


# --- what would run a way back as a way forward --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forward", "back"),
    [
        ("7_users.sql", "7_users_undo.sql"),
        ("7_users.sql", "7_users-rollback.sql"),
        ("7_users.sql", "8_users_revert.sql"),
        ("7_users.sql", "8_users_down.sql"),
        ("7.sql", "7_down.sql"),
        ("7.sql", "7_users_down.sql"),
        ("7_users.sql", "7_rollback.sql"),
        ("7_users.sql", "007_people_down.sql"),
        ("7_users_up.sql", "8_users_down.sql"),
    ],
)
def test_a_file_that_looks_like_the_way_back_of_another_is_refused_with_both(
    tree: MakeTree, refusal: Refuse, forward: str, back: str
) -> None:
    folder = tree({forward: "CREATE TABLE users ();", back: "DROP TABLE users;"})

    message = refusal(folder, "numbered").message

    assert f"{folder / back} looks like the way back of {forward}" in message


@pytest.mark.parametrize("name", ["7_users.down.sql", "7_users.rollback.sql"])
def test_a_direction_behind_a_dot_is_refused(tree: MakeTree, refusal: Refuse, name: str) -> None:
    folder = tree({"7_users.sql": "", name: ""})

    assert f"{name} looks like a migration" in refusal(folder, "numbered").message


@pytest.mark.parametrize(
    "divider",
    [
        "---- create above / drop below ----",
        "-- !Downs",
        "# --- !Downs",
        "-- //@UNDO",
        "-- Down Migration",
        "-- +micrate Down",
        "-- down",
        "--- ROLLBACK ---",
        "-- migrate:down",
        "-- +goose Down",
        "-- +migrate Down",
    ],
)
def test_a_file_that_seems_to_hold_a_way_back_is_refused_with_its_line(
    tree: MakeTree, refusal: Refuse, divider: str
) -> None:
    folder = tree({"1_users.sql": f"CREATE TABLE users ();\n\n{divider}\nDROP TABLE users;\n"})

    message = refusal(folder, "numbered").message

    assert f"{folder / '1_users.sql'}:3:" in message
    assert divider in message


@pytest.mark.parametrize(
    "comment", ["-- roll back by hand", "-- the way down", "  -- down", "-- undone", "--", "-- downs it"]
)
def test_a_comment_about_the_way_back_is_a_comment(tree: MakeTree, comment: str) -> None:
    folder = tree({"1_users.sql": f"CREATE TABLE users ();\n{comment}\n"})

    assert len(read_migrations(folder)) == 1


def test_words_at_the_end_of_a_name_mean_nothing_alone(tree: MakeTree) -> None:
    folder = tree({"5_sign_up.sql": "", "6_tear_down.sql": "", "7_add_rollback.sql": ""})

    assert detect_layout(folder) == "numbered"
    assert [one.name for one in read_migrations(folder)] == ["sign_up", "tear_down", "add_rollback"]


def test_sqlxs_first_line_declares_that_there_is_no_transaction(tree: MakeTree) -> None:
    folder = tree({"1_a.sql": "-- no-transaction\nVACUUM;\n", "2_b.sql": "VACUUM;\n"})

    assert [one.in_transaction for one in read_migrations(folder)] == [False, None]
