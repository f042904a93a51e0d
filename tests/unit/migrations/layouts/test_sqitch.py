"""Sqitch: the plan's order, tags, and changes that were reworked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from squizzle.analysis.statements import split_statements
from squizzle.errors import SquizzleError
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.layouts.sqitch_plan import Change, Plan, Planned, Tag, parse_plan

MakeTree = Callable[[dict[str, str | bytes]], Path]
Refuse = Callable[..., SquizzleError]

HEAD = "%syntax-version=1.0.0\n%project=flipr\n%uri=https://flipr.example/\n\n"
WHEN = "2024-01-02T03:04:05Z Ann Example <ann@flipr.example>"


def plan(*lines: str) -> str:
    """A plan with time and planner behind every line; `#` begins a note."""
    return HEAD + "".join(f"{line.partition('#')[0].strip()} {WHEN} # {line.partition('#')[2]}\n" for line in lines)


def scripts(*names: str) -> dict[str, str | bytes]:
    return {
        f"{kind}/{name}.sql": f"SELECT '{kind} {name}';\n" for name in names for kind in ("deploy", "revert", "verify")
    }


def test_the_order_is_the_plans(tree: MakeTree) -> None:
    folder = tree({"sqitch.plan": plan("zebra", "apple [zebra]", "apple_2"), **scripts("apple", "zebra", "apple_2")})

    migrations = read_migrations(folder)

    assert [(one.version, one.name) for one in migrations] == [
        ("0001-zebra", "zebra"),
        ("0002-apple", "apple"),
        ("0003-apple-2", "apple_2"),
    ]


def test_the_three_scripts_come_from_their_folders(tree: MakeTree) -> None:
    folder = tree({"sqitch.plan": plan("users"), **scripts("users")})

    (migration,) = read_migrations(folder)

    assert migration.up_sql == "SELECT 'deploy users';\n"
    assert migration.down_sql == "SELECT 'revert users';\n"
    assert migration.verify_sql == "SELECT 'verify users';\n"
    assert migration.source == folder / "deploy" / "users.sql"
    labels = migration.labels
    assert (labels.up, labels.down, labels.verify) == ("deploy/users.sql", "revert/users.sql", "verify/users.sql")


def test_only_the_deploy_script_must_be_there(tree: MakeTree, refusal: Refuse) -> None:
    folder = tree({"sqitch.plan": plan("users"), "deploy/users.sql": ""})

    (migration,) = read_migrations(folder)
    assert (migration.up_sql, migration.down_sql, migration.verify_sql) == ("", None, None)

    (folder / "deploy" / "users.sql").unlink()
    assert f"there is no {folder / 'deploy' / 'users.sql'}" in refusal(folder).message


def test_the_earlier_of_two_has_the_tag_in_its_scripts_names(tree: MakeTree) -> None:
    # As sqitch 1.3.1 writes them with `sqitch rework`.
    text = plan("users", "lists", "@v1.0", "flips", "@v1.1", "users [users@v1.1]", "tail", "@v2", "users [users@v2]")
    names = ("users@v1.1", "users@v2", "users", "lists", "flips", "tail")
    folder = tree({"sqitch.plan": text, **scripts(*names)})

    migrations = read_migrations(folder)

    assert [(one.version, one.labels.up) for one in migrations] == [
        ("0001-users", "deploy/users@v1.1.sql"),
        ("0002-lists", "deploy/lists.sql"),
        ("0003-flips", "deploy/flips.sql"),
        ("0004-users", "deploy/users@v2.sql"),
        ("0005-tail", "deploy/tail.sql"),
        ("0006-users", "deploy/users.sql"),
    ]
    assert [one.name for one in migrations if "users" in one.version] == ["users@v1.1", "users@v2", "users"]
    assert migrations[0].down_sql == "SELECT 'revert users@v1.1';\n"


@pytest.mark.parametrize("tag", ["a", "b", "c"])
def test_of_several_tags_the_one_that_has_a_script_counts(tree: MakeTree, tag: str) -> None:
    text = plan("users", "@a", "lists", "@b", "@c", "users")
    folder = tree({"sqitch.plan": text, **scripts(f"users@{tag}", "users", "lists")})

    assert read_migrations(folder)[0].labels.up == f"deploy/users@{tag}.sql"


def test_of_several_tags_with_scripts_the_newest_change_counts_and_then_the_first_tag(tree: MakeTree) -> None:
    # Read off sqitch 1.3.1: it goes back change by change, and takes the tags of each from the first on.
    text = plan("users", "@a", "lists", "@b", "@c", "users")
    folder = tree({"sqitch.plan": text, **scripts("users@a", "users@b", "users@c", "users", "lists")})

    assert read_migrations(folder)[0].labels.up == "deploy/users@b.sql"


def test_a_reworked_change_without_its_earlier_script_is_refused(tree: MakeTree, refusal: Refuse) -> None:
    folder = tree({"sqitch.plan": plan("users", "@v1", "users"), **scripts("users")})

    assert "deploy/users@v1.sql" in refusal(folder).message


def test_names_may_hold_folders_and_other_letters(tree: MakeTree) -> None:
    folder = tree(
        {"sqitch.plan": plan("functions/add-user", "größe", "v1.2"), **scripts("functions/add-user", "größe", "v1.2")}
    )

    migrations = read_migrations(folder)

    assert [one.version for one in migrations] == ["0001-functions-add-user", "0002-gr-e", "0003-v1.2"]
    assert migrations[0].labels.down == "revert/functions/add-user.sql"


def test_a_name_cannot_lead_out_of_the_folder(tmp_path: Path, tree: MakeTree, refusal: Refuse) -> None:
    folder = tree({"sqitch.plan": plan("a/../../../x"), "deploy/a/x.sql": ""})
    (tmp_path / "x.sql").write_text("DROP TABLE users;")

    assert "is a link out of" in refusal(folder).message


def test_scripts_that_the_plan_does_not_name_are_passed_over(tree: MakeTree) -> None:
    folder = tree({"sqitch.plan": plan("users"), **scripts("users", "later")})

    assert len(read_migrations(folder)) == 1


def test_a_change_that_moves_does_not_take_the_version_of_another(tree: MakeTree) -> None:
    files = scripts("a", "b", "c")
    before = {one.version for one in read_migrations(tree({"sqitch.plan": plan("a", "b"), **files}))}
    after = {one.version for one in read_migrations(tree({"sqitch.plan": plan("a", "c", "b"), **files}))}

    assert before - after == {"0002-b"}


# --- the transaction of a verify script -------------------------------------------------------------------------------


def test_a_verify_script_loses_the_transaction_around_it_and_keeps_its_lines(tree: MakeTree) -> None:
    text = "-- Verify\n\nBEGIN;\n\nSELECT id\n  FROM users WHERE false;\n\nROLLBACK;\n"
    folder = tree({"sqitch.plan": plan("users"), **scripts("users"), "verify/users.sql": text})

    verify_sql = read_migrations(folder)[0].verify_sql or ""

    (statement,) = split_statements(verify_sql, source="")
    assert (statement.line, statement.words[0]) == (5, "SELECT")
    assert verify_sql.count("\n") == text.count("\n")


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1;\n",
        "BEGIN;\nSELECT 1;\nCOMMIT;\n",
        "BEGIN; SELECT 1;\nROLLBACK;\n",
        "SELECT 1;\nROLLBACK;\n",
        "BEGIN;\nSELECT 'open;\nROLLBACK;\n",
        "",
    ],
)
def test_any_other_verify_script_stays_as_it_is(tree: MakeTree, text: str) -> None:
    folder = tree({"sqitch.plan": plan("users"), **scripts("users"), "verify/users.sql": text})

    assert read_migrations(folder)[0].verify_sql == text


# --- the plan's lines -------------------------------------------------------------------------------------------------


def test_a_plan_as_people_edit_it_is_read() -> None:
    text = (
        "# made by hand\n%syntax-version=1.0.0-b2 # old\n % project = flipr\n\n"
        f"\t+ users {WHEN} # a \\n note # with @tags and [x]\n"
        "   # nothing\n\n"
        f"lists [users :other:base !old @v0] {WHEN}\n"
        f"@v1.0 {WHEN}# tagged\n"
        f"\t@v1.0-beta\t{WHEN}   \n"
        f"_last [users@v1.0]\t{WHEN}"
    )

    planned = Planned(at="2024-01-02T03:04:05Z", planner="Ann Example", email="ann@flipr.example")
    tags = (Tag(name="v1.0", planned=replace(planned, note="tagged")), Tag(name="v1.0-beta", planned=planned))
    needs = {"requires": ("users", ":other:base", "@v0"), "conflicts": ("old",)}
    assert parse_plan(text, source="sqitch.plan") == Plan(
        project="flipr",
        uri=None,
        changes=(
            Change(name="users", line=5, planned=replace(planned, note="a \n note # with @tags and [x]")),
            Change(name="lists", line=8, planned=planned, tags=tags, **needs),
            Change(name="_last", line=11, planned=planned, requires=("users@v1.0",)),
        ),
    )


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["users"], "'users' is no line of a plan"),
        ([f"two words {WHEN}"], "is no line of a plan"),
        ([f":users {WHEN}"], "is no line of a plan"),
        (["users 2024-01-02T03:04:05Z"], "is no line of a plan"),
        (["users 2024-01-02 Ann <a@x>"], "is no line of a plan"),
        ([f"-users {WHEN}"], "users is planned to be reverted"),
        ([f"@v1 {WHEN}"], "the tag @v1 stands before the first change"),
        ([f"a {WHEN}", f"@v1 {WHEN}", f"b {WHEN}", f"@v1 {WHEN}"], "the tag @v1 is there already, in line 6"),
        ([f"a {WHEN}", f"b {WHEN}", f"a {WHEN}"], "a is there already, in line 5, and no tag stands between"),
        ([f"a {WHEN}", "%project=late"], "'%project=late' is no line of a plan"),
    ],
)
def test_a_line_that_sqitch_refuses_is_refused_with_its_number(
    tree: MakeTree, refusal: Refuse, lines: list[str], problem: str
) -> None:
    folder = tree({"sqitch.plan": HEAD + "\n".join(lines) + "\n", **scripts("a", "b", "users")})

    message = refusal(folder).message

    assert f"{folder / 'sqitch.plan'}:{4 + len(lines)}: " in message
    assert problem in message


def test_a_plan_without_its_projects_name_is_refused(tree: MakeTree, refusal: Refuse) -> None:
    folder = tree({"sqitch.plan": f"users {WHEN}\n", **scripts("users")})

    assert "does not name its project" in refusal(folder).message


def test_a_missing_plan_is_refused(tree: MakeTree, refusal: Refuse) -> None:
    folder = tree(scripts("users"))

    assert f"there is no {folder / 'sqitch.plan'}" in refusal(folder, "sqitch").message
