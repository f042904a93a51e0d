"""What sqitch calls changes and tags, compared with what sqitch 1.3.1 wrote for the same plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from squizzle.errors import InvalidInputError
from squizzle.migrations.bookkeeping import open_books
from squizzle.migrations.bookkeeping.sqitch_ids import canonical_uri, find_dependency, identify, local_name
from squizzle.migrations.bookkeeping.sqitch_settings import SqitchSettings, read_settings
from squizzle.migrations.layouts.sqitch_plan import parse_plan
from tests.support.tools import SQITCH_IDS, SQITCH_PLAN, SQITCH_TAG_IDS, TOOLS

PLAN = parse_plan(SQITCH_PLAN, source="sqitch.plan")


def test_ids_are_those_that_sqitch_wrote() -> None:
    changes = identify(PLAN)

    assert tuple(one.id for one in changes) == SQITCH_IDS
    assert tuple(tag.id for one in changes for tag in one.tags) == SQITCH_TAG_IDS


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Who buys", "Who sells"),
        ("orders [users]", "orders"),
        ("Bob Größe", "Bob Grosse"),
        ("T12", "T13"),
        ("shop", "s"),
    ],
)
def test_whatever_the_plan_says_of_a_change_is_part_of_its_id(before: str, after: str) -> None:
    edited = parse_plan(SQITCH_PLAN.replace(before, after), source="sqitch.plan")

    assert identify(edited)[-1].id != SQITCH_IDS[-1]  # which covers all that come before it


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("users", 0),
        ("users@v1.0", 0),
        ("users@v1.1", 2),
        ("orders@v1.1", 1),
        ("@v1.0", 1),
        ("@v1.1", 2),
        (SQITCH_IDS[1], 1),
        ("orders@v9", None),
        ("@v9", None),
        ("nobody", None),
        ("other:users", None),
        ("0" * 40, None),
    ],
)
def test_a_dependency_is_the_change_that_sqitch_finds(name: str, place: int | None) -> None:
    assert find_dependency(identify(PLAN), name) == (None if place is None else SQITCH_IDS[place])


def test_the_name_of_the_plans_own_project_is_left_out() -> None:
    assert local_name(PLAN, "shop:users@v1.0") == "users@v1.0"
    assert local_name(PLAN, "other:users") == "other:users"


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("https://Shop.Example", "https://shop.example/"),
        ("HTTP://me@Shop.Example:80/A%7eb%2f", "http://me@shop.example/A~b%2F"),
        ("https://shop.example:8443/x?Q#F", "https://shop.example:8443/x?Q#F"),
        ("urn:Example:a", "urn:Example:a"),
    ],
)
def test_a_uri_is_compared_in_its_canonical_form(written: str, canonical: str) -> None:
    assert canonical_uri(written) == canonical


def test_settings_come_from_variables_then_the_project_then_the_person(tmp_path: Path) -> None:
    (tmp_path / ".sqitch").mkdir()
    (tmp_path / ".sqitch" / "sqitch.conf").write_text("[user]\nname = Home\nemail = home@x\n")
    project = tmp_path / "project"
    project.mkdir()
    environ = {"HOME": str(tmp_path)}

    assert read_settings(project, environ=environ) == SqitchSettings(
        registry="sqitch", committer="Home", email="home@x"
    )

    text = '[core]\n\tengine = pg\n[engine "pg"]\n\tregistry = books # ours\n[user]\n\tName = "A Person" ; me\n'
    (project / "sqitch.conf").write_text(text)
    assert read_settings(project, environ=environ) == SqitchSettings(
        registry="books", committer="A Person", email="home@x"
    )

    environ |= {"SQITCH_FULLNAME": "Variable", "SQITCH_EMAIL": "v@x"}
    assert read_settings(project, environ=environ) == SqitchSettings(
        registry="books", committer="Variable", email="v@x"
    )
    assert "@" in read_settings(tmp_path, environ={}).email


def test_each_of_two_changes_of_one_name_has_a_key_of_its_own(tmp_path: Path) -> None:
    TOOLS["sqitch"].write(tmp_path)
    books = TOOLS["sqitch"].books(tmp_path)

    assert [books.key(one) for one in books.migrations] == list(SQITCH_IDS)


def test_a_plan_that_grew_meanwhile_is_refused(tmp_path: Path) -> None:
    TOOLS["sqitch"].write(tmp_path)
    migrations = TOOLS["sqitch"].read(tmp_path)

    with pytest.raises(InvalidInputError, match="was changed while it was read"):
        open_books(tmp_path, "sqitch", migrations[:2])
