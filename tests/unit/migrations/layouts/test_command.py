"""How the command is told the layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from squizzle.cli.main import run
from squizzle.cli.options import Invocation
from squizzle.config import Config
from squizzle.errors import InvalidInputError

Examples = dict[str, dict[str, str]]
MakeTree = Callable[[dict[str, str | bytes]], Path]


def invocation(folder: Path, *, said: str | None = None, configured: str = "auto") -> Invocation:
    return Invocation(
        environment=None,
        url=None,
        config=Config(migrations=folder, layout=configured),
        migrations_folder=None,
        layout=said,
        schema=None,
        as_json=False,
        yes=False,
    )


def test_nothing_said_means_what_is_detected(tree: MakeTree, examples: Examples) -> None:
    called = invocation(tree({**examples["goose"]}))

    assert called.folder_layout() == "goose"
    assert [one.version for one in called.migrations()] == ["00001", "00002"]


def test_the_configuration_settles_a_doubt_and_the_option_overrules_it(tree: MakeTree, examples: Examples) -> None:
    folder = tree({**examples["native"], **examples["numbered"]})

    with pytest.raises(InvalidInputError, match="more than one way"):
        invocation(folder).migrations()
    assert len(invocation(folder, configured="numbered").migrations()) == 3
    assert len(invocation(folder, configured="numbered", said="native").migrations()) == 2
    with pytest.raises(InvalidInputError, match="more than one way"):
        invocation(folder, configured="numbered", said="auto").migrations()


def test_the_option_for_the_folder_overrules_the_configuration(tree: MakeTree, examples: Examples) -> None:
    folder = tree({**examples["goose"]})

    assert replace(invocation(folder / "nowhere"), migrations_folder=folder).folder_layout() == "goose"


def test_placeholders_come_from_the_environment(tree: MakeTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWAY_PLACEHOLDERS_APP", "shop")

    (migration,) = invocation(tree({"V1__a.sql": "CREATE ROLE ${app};"})).migrations()

    assert migration.up_sql == "CREATE ROLE shop;"


@pytest.mark.parametrize(("layout", "version"), [("native", "0003"), ("diesel", "20170923123457")])
def test_new_makes_the_next_folder_where_versions_are_folders(
    tree: MakeTree, examples: Examples, capsys: pytest.CaptureFixture[str], layout: str, version: str
) -> None:
    folder = tree({**examples[layout]})

    assert run(["new", "carts", "--migrations", str(folder), "--json"]) == 0

    assert json.loads(capsys.readouterr().out) == {"version": version, "path": str(folder / f"{version}_carts")}
    assert invocation(folder).migrations()[-1].version == version


@pytest.mark.parametrize("layout", ["golang-migrate", "goose", "flyway", "sqitch", "numbered", "alembic"])
def test_new_makes_nothing_in_a_folder_of_another_kind(
    tree: MakeTree, examples: Examples, capsys: pytest.CaptureFixture[str], layout: str
) -> None:
    folder = tree({**examples[layout]})
    before = sorted(folder.rglob("*"))

    assert run(["new", "carts", "--migrations", str(folder)]) == InvalidInputError.code

    assert f"laid out for {layout}" in capsys.readouterr().err
    assert sorted(folder.rglob("*")) == before


def test_an_unknown_layout_is_refused_with_those_there_are(tree: MakeTree, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["new", "carts", "--migrations", str(tree({})), "--layout", "liquibase"]) == InvalidInputError.code

    assert "golang-migrate" in capsys.readouterr().err
