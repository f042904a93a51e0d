"""Flyway's names, its repeatable migrations, undo scripts, settings and placeholders."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from squizzle.errors import SquizzleError, VersionConflictError
from squizzle.migrations.layouts import detect_layout, read_migrations
from squizzle.migrations.layouts.files import checksum
from squizzle.migrations.layouts.flyway_settings import placeholders_of
from squizzle.migrations.versions import is_repeatable, version_key

MakeTree = Callable[[dict[str, str | bytes]], Path]
Refuse = Callable[..., SquizzleError]
LAST = "99999999999999999999"


def files(*names: str) -> dict[str, str | bytes]:
    return {name: f"SELECT '{name}';\n" for name in names}


def test_versions_are_numbers_with_dots_or_underscores_between_them(tree: MakeTree) -> None:
    names = [
        "V2__b.sql",
        "V10__c.sql",
        "V1_10__x.sql",
        "V1.2__y.sql",
        "V1__a.sql",
        "V1_2_1__z.sql",
        "V20240102030405__t.sql",
    ]

    migrations = read_migrations(tree(files(*names)))

    assert [one.version for one in migrations] == ["1", "1.2", "1.2.1", "1.10", "2", "10", "20240102030405"]


def test_the_name_is_everything_behind_the_first_two_underscores(tree: MakeTree) -> None:
    folder = tree(files("V1__add_users.sql", "V2__2_more__tables.sql", "V3.sql", "V4___x.sql"))

    assert [one.name for one in read_migrations(folder)] == ["add_users", "2_more__tables", "3", "_x"]


def test_folders_are_looked_into_and_named_in_labels(tree: MakeTree) -> None:
    folder = tree(files("old/2019/V1__a.sql", "V2__b.sql", "undo/U1__a.sql", ".git/V9__x.sql"))

    first, second = read_migrations(folder)

    assert (first.labels.up, first.labels.down) == ("old/2019/V1__a.sql", "undo/U1__a.sql")
    assert first.source == folder / "old" / "2019" / "V1__a.sql"
    assert first.down_sql == "SELECT 'undo/U1__a.sql';\n"
    assert (second.labels.up, second.down_sql) == ("V2__b.sql", None)


@pytest.mark.parametrize("second", ["V1__b.sql", "V1.0__b.sql", "V01__b.sql", "more/V1_0_0__a.sql", "more/V1__a.sql"])
def test_the_same_version_twice_is_refused_with_both_files(tree: MakeTree, refusal: Refuse, second: str) -> None:
    folder = tree(files("V1__a.sql", second))

    message = refusal(folder, kind=VersionConflictError).message

    assert str(folder / "V1__a.sql") in message
    assert str(folder / second) in message


def test_an_undo_script_belongs_to_its_version_whatever_its_description(tree: MakeTree) -> None:
    folder = tree(files("V1_0__a.sql", "U1__drop_a.sql"))

    assert read_migrations(folder)[0].labels.down == "U1__drop_a.sql"


def test_an_undo_script_that_fits_nothing_is_refused(tree: MakeTree, refusal: Refuse) -> None:
    assert "U2__b.sql undoes nothing" in refusal(tree(files("V1__a.sql", "U2__b.sql"))).message


# --- repeatable -----------------------------------------------------------------------------------------------------


def test_repeatable_migrations_come_last_in_the_order_of_their_descriptions(tree: MakeTree) -> None:
    names = [
        "R__views.sql",
        "R__a_view10.sql",
        "R__a_view2.sql",
        "R__a-view.sql",
        "R__Zones.sql",
        "V99999999999999__x.sql",
    ]

    migrations = read_migrations(tree(files(*names)))

    assert [one.name for one in migrations] == ["x", "Zones", "a_view10", "a_view2", "a-view", "views"]
    assert migrations[1].version == f"{LAST}-Zones"
    assert migrations[2].version == f"{LAST}-a+view.1.0"
    assert all(version_key(a.version) < version_key(b.version) for a, b in pairwise(migrations))
    assert [is_repeatable(one.version) for one in migrations] == [False, True, True, True, True, True]


def test_a_repeatable_migration_keeps_its_version_when_its_text_changes(tree: MakeTree) -> None:
    (before,) = read_migrations(tree({"R__v.sql": "CREATE OR REPLACE VIEW v AS SELECT 1;\n"}))
    (after,) = read_migrations(tree({"R__v.sql": "CREATE OR REPLACE VIEW v AS SELECT 2;\n"}))

    assert before.version == after.version
    assert before.checksum != after.checksum
    assert before.down_sql is None


@pytest.mark.parametrize("second", ["more/R__a_b.sql", "R__a b.sql"])
def test_the_same_description_twice_is_refused(tree: MakeTree, refusal: Refuse, second: str) -> None:
    message = refusal(tree(files("R__a_b.sql", second)), kind=VersionConflictError).message

    assert second in message


@pytest.mark.parametrize("name", ["R__größe.sql", "R__v1.2.sql", "R__a+b.sql"])
def test_a_description_that_cannot_be_a_version_is_refused(tree: MakeTree, refusal: Refuse, name: str) -> None:
    assert f"{name} cannot be a version" in refusal(tree(files("V1__a.sql", name))).message


def test_a_version_as_high_as_the_repeatable_ones_is_refused(tree: MakeTree, refusal: Refuse) -> None:
    folder = tree(files(f"V{LAST}0__a.sql", "R__b.sql"))

    assert f"Flyway runs V{LAST}0__a.sql before R__b.sql" in refusal(folder).message


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "V2_b.sql",
        "v2__b.sql",
        "V2b__c.sql",
        "V__b.sql",
        "R_b.sql",
        "V_2_b.sql",
        "R__b.sqll",
        "B_5__b.sql",
        "r__b.sql",
        "R1__b.sql",
        "2__b.sql",
        "V2__b.SQL",
        "V2.1.sql.sql",
    ],
)
@pytest.mark.parametrize("place", ["", "more/"])
def test_a_slip_in_a_name_is_refused(tree: MakeTree, refusal: Refuse, name: str, place: str) -> None:
    folder = tree(files("V1__a.sql", place + name))

    assert str(folder / (place + name)) in refusal(folder).message


@pytest.mark.parametrize("name", ["V1__a.md", "V1__a.sql.bak", "R__b.sql~", "grants.sql", "flyway.toml", "Helper.java"])
def test_what_is_no_migration_is_passed_over(tree: MakeTree, name: str) -> None:
    assert len(read_migrations(tree(files("V1__a.sql", name)))) == 1


@pytest.mark.parametrize("name", ["beforeMigrate.sql", "afterEachMigrate__grants.sql", "createSchema.sql"])
def test_a_callback_is_refused_and_not_passed_over(tree: MakeTree, refusal: Refuse, name: str) -> None:
    assert f"{name} is a callback of Flyway" in refusal(tree(files("V1__a.sql", name))).message


def test_a_baseline_is_refused(tree: MakeTree, refusal: Refuse) -> None:
    assert "B5__all.sql is a baseline" in refusal(tree(files("V6__a.sql", "B5__all.sql"))).message


def test_a_linked_folder_inside_is_read_once_and_one_outside_refused(
    tmp_path: Path, tree: MakeTree, refusal: Refuse
) -> None:
    folder = tree(files("2024/V1__a.sql"))
    (folder / "newest").symlink_to("2024")
    assert len(read_migrations(folder)) == 1

    (tmp_path / "elsewhere").mkdir()
    (folder / "shared").symlink_to(tmp_path / "elsewhere")
    assert f"{folder / 'shared'} is a link out of" in refusal(folder).message


# --- settings of a script -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "declared"),
    [
        ("executeInTransaction=false\n", False),
        ("# why\r\n\r\nexecuteInTransaction = TRUE\r\n", True),
        ("encoding=utf-8\nshouldExecute=true\n", None),
        ("", None),
    ],
)
def test_a_scripts_settings_declare_whether_there_is_a_transaction(
    tree: MakeTree, text: str, *, declared: bool | None
) -> None:
    folder = tree({**files("V1__a.sql", "V2__b.sql"), "V1__a.sql.conf": text})

    assert [one.in_transaction for one in read_migrations(folder)] == [declared, None]


def test_an_undo_script_has_settings_of_its_own(tree: MakeTree) -> None:
    scripts = files("V1__a.sql", "U1__a.sql", "V2__b.sql", "U2__b.sql")
    alone = "executeInTransaction=false\n"
    folder = tree({**scripts, "V1__a.sql.conf": alone, "U2__b.sql.conf": alone})

    migrations = read_migrations(folder)

    assert [(one.in_transaction, one.down_in_transaction) for one in migrations] == [(False, None), (None, False)]


@pytest.mark.parametrize(
    "line",
    ["shouldExecute=false", "encoding=latin1", "executeInTransaction=maybe", "executeInTransaction", "other=true"],
)
def test_a_setting_that_cannot_be_followed_is_refused_with_its_line(tree: MakeTree, refusal: Refuse, line: str) -> None:
    folder = tree({**files("V1__a.sql"), "V1__a.sql.conf": f"# settings\n{line}\n"})

    assert f"{folder / 'V1__a.sql.conf'}:2: Squizzle does not follow {line!r}" in refusal(folder).message


def test_settings_of_no_script_are_a_slip(tree: MakeTree, refusal: Refuse) -> None:
    folder = tree({**files("V1__a.sql"), "V1__b.sql.conf": "executeInTransaction=false"})

    assert "V1__b.sql.conf looks like a migration" in refusal(folder).message


# --- placeholders ---------------------------------------------------------------------------------------------------


def test_placeholders_are_replaced_wherever_they_stand(tree: MakeTree) -> None:
    text = "-- for ${App}\nCREATE ROLE ${app}_reader;\nSELECT '${schema-name}', $1, '$', '{x}';\n"
    folder = tree({"V1__a.sql": text, "U1__a.sql": "DROP ROLE ${app}_reader;"})

    (migration,) = read_migrations(folder, placeholders={"APP": "shop", "schema-name": "s"})

    assert migration.up_sql == "-- for shop\nCREATE ROLE shop_reader;\nSELECT 's', $1, '$', '{x}';\n"
    assert migration.down_sql == "DROP ROLE shop_reader;"
    assert migration.checksum == checksum(text)


def test_a_repeatable_migration_has_another_checksum_when_a_value_has_changed(tree: MakeTree) -> None:
    folder = tree({"R__v.sql": "CREATE OR REPLACE VIEW v AS SELECT ${x};"})

    (before,) = read_migrations(folder, placeholders={"x": "1"})
    (after,) = read_migrations(folder, placeholders={"x": "2"})

    assert before.checksum == checksum("CREATE OR REPLACE VIEW v AS SELECT 1;")
    assert before.checksum != after.checksum


@pytest.mark.parametrize("script", ["V1__a.sql", "U1__a.sql"])
@pytest.mark.parametrize("name", ["owner", "flyway:defaultSchema"])
def test_a_placeholder_without_a_value_is_refused_by_name(
    tree: MakeTree, refusal: Refuse, script: str, name: str
) -> None:
    folder = tree({**files("V1__a.sql", "U1__a.sql"), script: f"SELECT 1;\n\nSELECT '${{{name}}}';\n"})

    assert f"{script}:3: the placeholder ${{{name}}} has no value" in refusal(folder).message


def test_a_script_may_have_no_placeholders_at_all(tree: MakeTree) -> None:
    folder = tree({"V1__a.sql": "SELECT '${x}';", "V1__a.sql.conf": "placeholderReplacement=false"})

    assert read_migrations(folder)[0].up_sql == "SELECT '${x}';"


def test_values_are_taken_from_the_environment_as_flyway_takes_them() -> None:
    environ = {"FLYWAY_PLACEHOLDERS_APP_NAME": "shop", "FLYWAY_URL": "jdbc:postgresql:x", "PATH": "/bin"}

    assert placeholders_of(environ) == {"app_name": "shop"}


@pytest.mark.parametrize("name", ["V1__a.sql", "R__a.sql", "db/migration/V1_2__a.sql"])
def test_it_is_known_by_its_names(tree: MakeTree, name: str) -> None:
    assert detect_layout(tree(files(name))) == "flyway"
