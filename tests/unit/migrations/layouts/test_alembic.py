"""Alembic's layout: versions from the graph of revisions, and where a project's files are looked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from squizzle.errors import SquizzleError
from squizzle.migrations.layouts import detect_layout, read_migrations

MakeTree = Callable[[dict[str, str | bytes]], Path]
Refuse = Callable[..., SquizzleError]


def revision(name: str, after: object = None, needs: object = None, body: str = "") -> str:
    return f"revision = {name!r}\ndown_revision = {after!r}\ndepends_on = {needs!r}\n{body}\ndef upgrade(): pass\n"


HOME: dict[str, str | bytes] = {"env.py": "", "script.py.mako": ""}


def test_the_version_is_the_longest_way_from_a_base_and_stays_when_others_are_added(tree: MakeTree) -> None:
    files = {
        "versions/a.py": revision("root"),
        "versions/b.py": revision("left", "root"),
        "versions/c.py": revision("right", "root", needs="left"),
    }
    before = read_migrations(tree({**HOME, **files}))
    more = {"versions/d.py": revision("other"), "versions/e.py": revision("late", "left")}
    after = read_migrations(tree({**more, "versions/f.py": revision("both", ("right", "late"))}))

    assert [one.version for one in before] == ["0001-root", "0002-left", "0003-right"]
    assert {one.version for one in before} < {one.version for one in after}
    requires = {one.version: one.requires for one in after}
    assert requires["0003-right"] == ("0001-root", "0002-left")
    assert requires["0004-both"] == ("0003-right", "0003-late")
    assert requires["0001-other"] == ()


def test_every_identifier_becomes_a_version(tree: MakeTree) -> None:
    names = ["add_users", "1.5", "größe x"]
    files = {f"versions/{number}.py": revision(name) for number, name in enumerate(names)}

    versions = {one.alias: one.version for one in read_migrations(tree({**HOME, **files}))}

    assert versions == {
        "add_users": "0001-add-users",
        "1.5": "0001-1.5",
        "größe x": "0001-gr+f6++df+e+20+x",
    }


INI = "[alembic]\nscript_location = {0}\n"
PLACES: dict[str, tuple[dict[str, str | bytes], str]] = {
    "alembic.ini with a folder beside it": ({"alembic.ini": INI.format("db")}, "."),
    "alembic.ini with here": ({"alembic.ini": INI.format("%(here)s/db")}, "."),
    "pyproject.toml": ({"pyproject.toml": '[tool.alembic]\nscript_location = "%(here)s/db"\n'}, "."),
    "the folder of env.py": ({}, "db"),
    "the folder of revisions": ({}, "db/versions"),
    "the folder of revisions with settings above": ({"alembic.ini": INI.format("db")}, "db/versions"),
    "alembic.ini beside env.py, as Flask-Migrate has it": ({"db/alembic.ini": "[alembic]\n"}, "db"),
}


@pytest.mark.parametrize(("files", "where"), PLACES.values(), ids=PLACES.keys())
def test_a_project_is_found_from_each_of_its_folders(tree: MakeTree, files: dict[str, str | bytes], where: str) -> None:
    folder = tree({"db/env.py": "", "db/script.py.mako": "", "db/versions/a.py": revision("aaaa1"), **files})

    assert detect_layout(folder / where) == "alembic"
    assert [one.version for one in read_migrations(folder / where)] == ["0001-aaaa1"]


def test_settings_that_say_where_revisions_are_count(tree: MakeTree) -> None:
    ini = INI.format("db") + "version_locations = one:two\npath_separator = :\nprepend_sys_path = lib\n"
    files = {"one/a.py": revision("aaaa1"), "two/b.py": revision("bbbb2", "aaaa1", body="import a_module_of_theirs")}

    migrations = read_migrations(tree({"alembic.ini": ini, "db/env.py": "", "lib/a_module_of_theirs.py": "", **files}))

    assert [(one.alias, one.labels.up) for one in migrations] == [("aaaa1", "a.py"), ("bbbb2", "b.py")]


UNREADABLE: dict[str, tuple[dict[str, str | bytes], str]] = {
    "an import that is missing": (
        {"versions/a.py": revision("aaaa1", body="import a_module_that_nobody_has")},
        "versions/a.py:4 cannot be imported: ModuleNotFoundError",
    ),
    "no Python": ({"versions/a.py": "revision = \n"}, "versions/a.py:1 cannot be imported: SyntaxError"),
    "an exit": ({"versions/a.py": "raise SystemExit(0)\n"}, "versions/a.py:1 cannot be imported: SystemExit: 0"),
    "the same identifier twice": (
        {"versions/a.py": revision("aaaa1"), "versions/b.py": revision("aaaa1")},
        "Revision aaaa1 is present more than once",
    ),
    "a parent that is missing": ({"versions/a.py": revision("aaaa1", "gone")}, "gone"),
    "a circle": ({"versions/a.py": revision("a", "b"), "versions/b.py": revision("b", "a")}, "Cycle"),
    "no revision at all": ({"versions/readme.txt": ""}, "has no revisions"),
    "a file that is none": ({"versions/a.py": "x = 1"}, "has no attribute 'down_revision'"),
}


@pytest.mark.parametrize(("files", "words"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_project_that_cannot_be_loaded_is_refused_with_what_is_to_blame(
    tree: MakeTree, refusal: Refuse, files: dict[str, str | bytes], words: str
) -> None:
    assert words in refusal(tree({**HOME, **files}), "alembic").message


def test_a_folder_without_a_project_is_refused(tree: MakeTree, refusal: Refuse) -> None:
    assert "is no Alembic project" in refusal(tree({"a.py": ""}), "alembic").message


def test_without_the_package_the_error_names_the_extra(tree: MakeTree, refusal: Refuse) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "alembic", None)
        error = refusal(tree({**HOME, "versions/a.py": revision("aaaa1")}))

    assert "needs the package alembic, which is not installed" in error.message
    assert error.hint == "pip install 'squizzle[alembic]'"
