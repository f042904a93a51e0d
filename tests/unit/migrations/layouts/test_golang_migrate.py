"""`.up.sql` and `.down.sql`: whose way back is whose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from squizzle.errors import SquizzleError, VersionConflictError
from squizzle.migrations.layouts import detect_layout, read_migrations
from squizzle.migrations.layouts.files import checksum

MakeTree = Callable[[dict[str, str | bytes]], Path]
Refuse = Callable[..., SquizzleError]
LAYOUT = "golang-migrate"


def files(*names: str) -> dict[str, str | bytes]:
    """Each with a script that says whose it is."""
    return {name: f"SELECT '{name}';\n" for name in names}


def test_numbers_count_as_numbers(tree: MakeTree) -> None:
    folder = tree(files("10_c.up.sql", "2_b.up.sql", "1_a.up.sql", "0009_x.up.sql"))

    assert [one.version for one in read_migrations(folder)] == ["1", "2", "0009", "10"]


def test_both_directions_come_from_their_files(tree: MakeTree) -> None:
    folder = tree(files("1_add_users.up.sql", "1_add_users.down.sql"))

    (migration,) = read_migrations(folder)

    assert (migration.version, migration.name) == ("1", "add_users")
    assert migration.up_sql == "SELECT '1_add_users.up.sql';\n"
    assert migration.down_sql == "SELECT '1_add_users.down.sql';\n"
    assert migration.verify_sql is None
    assert migration.checksum == checksum(migration.up_sql)
    assert migration.source == folder / "1_add_users.up.sql"
    assert (migration.labels.up, migration.labels.down) == ("1_add_users.up.sql", "1_add_users.down.sql")


def test_a_missing_way_back_is_none_and_an_empty_one_is_empty(tree: MakeTree) -> None:
    folder = tree({"1_a.up.sql": "", "2_b.up.sql": "SELECT 1;", "2_b.down.sql": ""})

    first, second = read_migrations(folder)

    assert (first.up_sql, first.down_sql) == ("", None)
    assert second.down_sql == ""


def test_both_spellings_of_up_and_down_may_be_mixed(tree: MakeTree) -> None:
    folder = tree(files("1_a.up.sql", "1_a_down.sql", "2_b_up.sql", "2_b_down.sql", "3_c_up.sql", "3_c.down.sql"))

    migrations = read_migrations(folder)

    assert [(one.version, one.name) for one in migrations] == [("1", "a"), ("2", "b"), ("3", "c")]
    assert [one.labels.down for one in migrations] == ["1_a_down.sql", "2_b_down.sql", "3_c.down.sql"]
    assert all(one.down_sql == f"SELECT '{one.labels.down}';\n" for one in migrations)


def test_a_bare_file_among_them_has_a_way_forward_only(tree: MakeTree) -> None:
    folder = tree(files("1_a.up.sql", "1_a.down.sql", "2_fix_prices.sql", "3_c.up.sql"))

    _first, bare, _last = read_migrations(folder)

    assert (bare.version, bare.name, bare.down_sql) == ("2", "fix_prices", None)


def test_words_before_the_direction_belong_to_the_name(tree: MakeTree) -> None:
    folder = tree(files("1_sign_up.up.sql", "1_sign_up.down.sql", "2_v1.2.up.sql", "3_up.sql", "3_down.sql"))

    migrations = read_migrations(folder)

    assert [one.name for one in migrations] == ["sign_up", "v1.2", "3"]
    assert migrations[2].labels.down == "3_down.sql"


# --- a way back under another number --------------------------------------------------------------------------------


def test_a_way_back_with_another_number_is_found_by_its_name(tree: MakeTree) -> None:
    folder = tree(files("1_a.up.sql", "1_a.down.sql", "3_b.up.sql", "2_b.down.sql"))

    _first, second = read_migrations(folder)

    assert second.labels.down == "2_b.down.sql"


def test_the_number_decides_where_it_fits_and_the_name_does_not(tree: MakeTree) -> None:
    folder = tree(files("1_a.up.sql", "0001_undo_a.down.sql"))

    (migration,) = read_migrations(folder)

    assert migration.labels.down == "0001_undo_a.down.sql"


def test_names_that_come_again_are_told_apart_by_their_numbers(tree: MakeTree) -> None:
    folder = tree(files("1_seed.up.sql", "1_seed.down.sql", "2_seed.up.sql", "2_seed.down.sql", "3_seed.up.sql"))

    assert [one.labels.down for one in read_migrations(folder)] == ["1_seed.down.sql", "2_seed.down.sql", ""]


def test_a_way_back_is_looked_for_among_those_that_have_none(tree: MakeTree) -> None:
    folder = tree(files("1_seed.up.sql", "1_seed.down.sql", "2_seed.up.sql", "5_seed.down.sql"))

    assert [one.labels.down for one in read_migrations(folder)] == ["1_seed.down.sql", "5_seed.down.sql"]


def test_a_name_that_two_have_does_not_say_whose_way_back_it_is(tree: MakeTree, refusal: Refuse) -> None:
    folder = tree(files("1_seed.up.sql", "2_seed.up.sql", "5_seed.down.sql"))

    message = refusal(folder, LAYOUT).message

    assert str(folder / "5_seed.down.sql") in message
    assert "1_seed.up.sql and 2_seed.up.sql" in message


def test_a_number_and_a_name_that_lead_to_two_files_are_refused_with_both(tree: MakeTree, refusal: Refuse) -> None:
    folder = tree(files("3_b.up.sql", "4_a.up.sql", "3_a.down.sql"))

    message = refusal(folder, LAYOUT).message

    assert "3_a.down.sql has the number of 3_b.up.sql and the name of 4_a.up.sql" in message


def test_two_ways_back_for_one_way_forward_are_refused_with_both(tree: MakeTree, refusal: Refuse) -> None:
    folder = tree(files("1_a.up.sql", "1_a.down.sql", "01_a_down.sql"))

    message = refusal(folder, LAYOUT).message

    assert "01_a_down.sql" in message
    assert "1_a.down.sql" in message
    assert "both undo 1_a.up.sql" in message


def test_a_way_back_without_a_way_forward_is_refused(tree: MakeTree, refusal: Refuse) -> None:
    folder = tree(files("1_a.up.sql", "2_b.down.sql"))

    assert "2_b.down.sql undoes nothing" in refusal(folder).message


@pytest.mark.parametrize("second", ["1_b.up.sql", "01_a.up.sql", "1_a_up.sql", "1_b.sql"])
def test_the_same_number_twice_is_refused_with_both_files(tree: MakeTree, refusal: Refuse, second: str) -> None:
    folder = tree(files("1_a.up.sql", second))

    message = refusal(folder, kind=VersionConflictError).message

    assert str(folder / "1_a.up.sql") in message
    assert str(folder / second) in message


def test_the_same_number_twice_is_a_conflict_of_versions_even_when_each_has_a_way_back(
    tree: MakeTree, refusal: Refuse
) -> None:
    folder = tree(files("1_a.up.sql", "1_a.down.sql", "1_b.up.sql", "1_b.down.sql"))

    assert "version 1 is there twice" in refusal(folder, kind=VersionConflictError).message


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["3-x.sql", "3_x.upp.sql", "3.up.sql", "3x.up.sql", "3_x.UP.sql", "3_x.up.sql.sql", "3"]
)
def test_a_slip_in_a_name_is_refused(tree: MakeTree, refusal: Refuse, name: str) -> None:
    folder = tree(files("0001_x.up.sql", name))

    assert str(folder / name) in refusal(folder, LAYOUT).message
    assert str(folder / name) in refusal(folder).message


@pytest.mark.parametrize(
    "names",
    [
        ("1_a.up.sql",),
        ("1_a.sql", "1_a.down.sql"),
        ("1_a_up.sql", "1_a_down.sql"),
        ("1_a_up.sql", "2_a_down.sql"),
        ("1_a.sql", "1_a_down.sql"),
    ],
)
def test_it_is_known_by_a_direction_that_has_its_counterpart(tree: MakeTree, names: tuple[str, ...]) -> None:
    assert detect_layout(tree(files(*names))) == LAYOUT


@pytest.mark.parametrize("names", [("1_a.sql", "5_sign_up.sql"), ("1_a.sql", "6_tear_down.sql"), ("5_sign_up.sql",)])
def test_names_that_end_with_up_or_down_alone_do_not_make_it(tree: MakeTree, names: tuple[str, ...]) -> None:
    folder = tree(files(*names))

    assert detect_layout(folder) == "numbered"
    assert [one.source.name for one in read_migrations(folder)] == list(names)


# --- transactions ---------------------------------------------------------------------------------------------------


def test_sqlxs_first_line_declares_that_there_is_no_transaction(tree: MakeTree) -> None:
    statement = "CREATE INDEX CONCURRENTLY i ON t (x);\n"
    folder = tree(
        {
            "1_a.up.sql": f"-- no-transaction\n{statement}",
            "1_a.down.sql": "DROP INDEX i;\n",
            "2_b.up.sql": f"-- x\n-- no-transaction\n{statement}",
            "2_b.down.sql": "-- no-transaction\nDROP INDEX CONCURRENTLY i;\n",
        }
    )

    migrations = read_migrations(folder)

    assert [(one.in_transaction, one.down_in_transaction) for one in migrations] == [(False, None), (None, False)]
