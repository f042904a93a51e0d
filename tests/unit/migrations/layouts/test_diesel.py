"""Diesel's folders: versions without their hyphens, in the order of text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from squizzle.errors import SquizzleError, VersionConflictError
from squizzle.migrations.layouts import detect_layout, read_migrations

MakeTree = Callable[[dict[str, str | bytes]], Path]
Refuse = Callable[..., SquizzleError]


def folders(*names: str) -> dict[str, str | bytes]:
    return {f"{name}/up.sql": "SELECT 1;\n" for name in names}


def test_dates_with_and_without_hyphens_are_one_order(tree: MakeTree) -> None:
    folder = tree(folders("20170308140000_b", "2017-09-23-123456_d", "20170308120000_a", "2016-12-31-235959_first"))

    migrations = read_migrations(folder)

    assert [one.name for one in migrations] == ["first", "a", "b", "d"]
    assert [one.version for one in migrations] == [
        "20161231235959",
        "20170308120000",
        "20170308140000",
        "20170923123456",
    ]


def test_the_scripts_come_from_the_folder(tree: MakeTree) -> None:
    folder = tree({"2017-09-23-123456_add_users/up.sql": "", "2017-09-23-123456_add_users/down.sql": ""})

    (migration,) = read_migrations(folder)

    assert (migration.name, migration.up_sql, migration.down_sql) == ("add_users", "", "")
    assert migration.source == folder / "2017-09-23-123456_add_users"
    assert migration.labels.up == "2017-09-23-123456_add_users/up.sql"


def test_a_missing_way_back_is_none(tree: MakeTree) -> None:
    assert read_migrations(tree(folders("2017-09-23-123456_a")))[0].down_sql is None


@pytest.mark.parametrize(
    ("text", "declared"),
    [
        ("run_in_transaction = false\n", False),
        ("# why\r\nrun_in_transaction = true\r\n", True),
        ("", None),
        ("owner = 'shop'\n[more]\nx = 1\n", None),
    ],
)
def test_the_settings_declare_whether_there_is_a_transaction(
    tree: MakeTree, text: str, *, declared: bool | None
) -> None:
    folder = tree({**folders("0001_a"), "0001_a/metadata.toml": text})

    assert detect_layout(folder) == "diesel"
    (migration,) = read_migrations(folder)
    assert (migration.in_transaction, migration.down_in_transaction) == (declared, declared)


@pytest.mark.parametrize("text", ["run_in_transaction = no", "run_in_transaction = 'false'", "run_in_transaction = 0"])
def test_settings_that_cannot_be_understood_are_refused(tree: MakeTree, refusal: Refuse, text: str) -> None:
    folder = tree({**folders("0001_a"), "0001_a/metadata.toml": text})

    assert str(folder / "0001_a" / "metadata.toml") in refusal(folder).message


@pytest.mark.parametrize("name", ["create_users", "v1_users", "_users", "2017-_x", "-1_x", "2017.1_x", "\uff12017_x"])
def test_a_folder_without_a_version_is_refused(tree: MakeTree, refusal: Refuse, name: str) -> None:
    folder = tree(folders("2017-09-23-123456_a", name))

    assert f"{folder / name} is not named <version>_<name>" in refusal(folder).message


def test_a_folder_without_an_up_script_is_refused(tree: MakeTree, refusal: Refuse) -> None:
    folder = tree({**folders("2017-09-23-123456_a"), "2017-10-01-000000_b/down.sql": ""})

    assert "2017-10-01-000000_b has no up.sql" in refusal(folder).message


@pytest.mark.parametrize("second", ["20170923123456_b", "2017-09-23-123456_b"])
def test_the_same_version_twice_is_refused_with_both_folders(tree: MakeTree, refusal: Refuse, second: str) -> None:
    message = refusal(tree(folders("2017-09-23-123456_a", second)), "diesel", VersionConflictError).message

    assert "2017-09-23-123456_a" in message
    assert second in message


def test_versions_that_diesel_orders_as_text_are_refused_and_not_reordered(tree: MakeTree, refusal: Refuse) -> None:
    folder = tree(folders("10_b", "2_a"))

    assert "diesel runs 10_b/up.sql before 2_a/up.sql" in refusal(folder, "diesel").message


def test_longer_versions_of_newer_tools_follow_the_older_ones(tree: MakeTree) -> None:
    folder = tree(folders("2025-04-08-181212-0000_new", "2024-04-08-181212_old"))

    assert [one.name for one in read_migrations(folder)] == ["old", "new"]


@pytest.mark.parametrize(
    ("names", "layout"),
    [
        (["2017-09-23-123456_a"], "diesel"),
        (["00000000000000_diesel_initial_setup", "20170308120000_a"], "diesel"),
        (["20170308120000_a", "1.2-rc1_b"], "native"),
        (["20170308120000_a"], "native"),
    ],
)
def test_only_diesels_own_signs_make_a_folder_diesels(tree: MakeTree, names: list[str], layout: str) -> None:
    assert detect_layout(tree(folders(*names))) == layout


def test_read_either_way_a_folder_that_could_be_both_is_the_same(tree: MakeTree) -> None:
    folder = tree({**folders("20170308120000_a", "20180308120000_b"), "20180308120000_b/down.sql": "SELECT 2;"})

    assert read_migrations(folder, "native") == read_migrations(folder, "diesel")
