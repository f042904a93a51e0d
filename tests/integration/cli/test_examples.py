"""What the examples' pages tell people to type does what the pages say."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import click
import pytest
import yaml
from psycopg import sql

from squizzle.cli.main import app
from squizzle.postgres.access import Connection
from tests.integration.cli.conftest import Done, Squizzle
from tests.integration.migrations.conftest import relations

TENANTS = ("tenant_internal", *(f"tenant_{name}" for name in ("acme", "bolt", "cafe", "dune")))


def commands_of(text: str) -> list[list[str]]:
    """Every call of the command in a page or a workflow, without what the shell does with its output."""
    found = re.findall(r"^\s*(?:- )?(?:run: )?(squizzle .*)$", text, re.MULTILINE)
    return [shlex.split(re.sub(r">>? \S+", "", one), comments=True)[1:] for one in found]


def play(squizzle: Squizzle, example: Path, **environment: str) -> list[Done]:
    """Every command of an example's page, in a copy of its folder."""
    shutil.copytree(example, squizzle.place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    commands = commands_of((example / "README.md").read_text(encoding="utf-8"))
    assert commands
    return [squizzle(*arguments, **environment) for arguments in commands]


@pytest.mark.one_server
def test_a_project_of_alembic_is_linted_applied_and_taken_back(
    squizzle: Squizzle, connection: Connection, project_root: Path
) -> None:
    done = play(squizzle, project_root / "examples" / "alembic")
    assert [one.code for one in done] == [0] * 5, [one.err for one in done]
    assert "books" in done[1].out
    assert "0002-9a3e4417c0de" in done[3].out
    assert relations(connection) >= {"books"}
    assert "9a3e4417c0de" not in squizzle("status", "--json").document["current"]


@pytest.mark.one_server
def test_a_fleet_of_tenants_is_those_that_are_meant_and_begins_with_the_one_that_is_pinned(
    squizzle: Squizzle, connection: Connection, project_root: Path, url: str
) -> None:
    for tenant in (*TENANTS, "tenant_frozen_1", "other"):
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(tenant)))
    page = project_root / "examples" / "tenants"
    fleet, dry_run, rolled_out, _ = (one for one in commands_of((page / "README.md").read_text(encoding="utf-8")))
    assert dry_run == [*rolled_out, "--dry-run"]
    shutil.copytree(page, squizzle.place, dirs_exist_ok=True)
    settings = squizzle.place / "squizzle.toml"
    database = connection.info.dbname
    settings.write_text(settings.read_text(encoding="utf-8").replace('database = "app"', f'database = "{database}"'))
    ended = squizzle(*fleet, "--json", TENANTS_URL=url)
    assert ended.code == 0, ended.err
    seen = ended.document
    assert {one["schema"] for one in seen["targets"]} == set(TENANTS)
    assert [one["schema"] for one in seen["targets"] if one["stage"] == "canary"] == ["tenant_internal"]


@pytest.mark.parametrize("page", ["tenants/README.md", "alembic/README.md", "github/squizzle.yml"])
def test_every_command_of_an_example_is_one_that_there_is(page: str, project_root: Path) -> None:
    commands = commands_of((project_root / "examples" / page).read_text(encoding="utf-8"))
    assert commands
    for verb, *arguments in commands:
        command = app.get_command(click.Context(app), verb)
        assert command is not None, verb
        command.make_parser(click.Context(command)).parse_args(args=arguments)


def test_the_workflow_asks_for_no_more_rights_than_it_needs(project_root: Path) -> None:
    workflow = yaml.safe_load((project_root / "examples" / "github" / "squizzle.yml").read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read", "pull-requests": "write"}
    steps = workflow["jobs"]["squizzle"]["steps"]
    # A comment says what failed, too; and what failed fails the check.
    assert [one.get("if") for one in steps] == [None] * (len(steps) - 1) + ["always()"]
    assert not [one for one in steps if "continue-on-error" in one]
