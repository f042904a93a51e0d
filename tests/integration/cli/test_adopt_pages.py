"""What the pages about other tools tell people to type takes over a project of that tool, and runs no script twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from squizzle.config import load_config
from squizzle.postgres.access import Connection
from tests.integration.cli.conftest import Squizzle
from tests.integration.migrations.conftest import relations
from tests.support.alembic_project import Project, alembic_heads, alembic_upgrade
from tests.support.pages import calls_in_code, settings_of
from tests.support.tools import TOOLS

# The pages differ by names alone; how each table is read is tried in `migrations/test_adoption.py`. So three of them are
# typed in `make test`: a row for each version, the newest version only, no table that we write. The others: exhaustive.
ALWAYS = ("dbmate", "golang-migrate", "alembic")
TYPED = [pytest.param(one, marks=() if one in ALWAYS else pytest.mark.exhaustive) for one in (*TOOLS, "alembic")]


def a_project_of(name: str, folder: Path, connection: Connection) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    TOOLS[name].used(folder, connection)


def a_project_of_alembic(folder: Path, connection: Connection) -> None:
    project = Project(folder)
    for number in (1, 2, 3):
        project.revision(
            f"{number}a2b3c4d5e6f",
            f'op.execute("CREATE TABLE t{number} (a int)")',
            down=f'op.execute("DROP TABLE t{number}")',
            after=f"{number - 1}a2b3c4d5e6f" if number > 1 else None,
        )
    alembic_upgrade(project, connection, "2a2b3c4d5e6f")


def test_every_tool_whose_table_is_read_has_a_page(project_root: Path) -> None:
    pages = {page.stem.removeprefix("adopt-") for page in (project_root / "docs").glob("adopt-*.md")}
    assert pages == {*TOOLS, "alembic"}


# What is typed does not depend on the server's version; what is read and written is tried on all of them elsewhere.
@pytest.mark.parametrize("address", ["embedded"], indirect=True)
@pytest.mark.parametrize("tool", TYPED)
def test_the_commands_of_a_page_take_over_what_the_tool_applied(
    squizzle: Squizzle, connection: Connection, project_root: Path, tool: str
) -> None:
    page = (project_root / "docs" / f"adopt-{tool}.md").read_text(encoding="utf-8")
    (settings,) = settings_of(page)
    squizzle.configure(settings)
    folder = load_config(squizzle.place / "squizzle.toml").migrations
    if tool == "alembic":
        a_project_of_alembic(folder, connection)
    else:
        a_project_of(tool, folder, connection)
    typed = list(calls_in_code(page))
    assert [one.arguments[0] for one in typed] == ["status", "adopt", "adopt", "verify", "plan", "apply"]

    for call in typed[:5]:
        done = squizzle(*call.arguments)
        assert done.code == 0, f"{call}: {done.err}"
    status = squizzle("status", "--json").document
    assert [len(status[key]) for key in ("applied", "pending")] == [2, 1]
    assert "t3" not in relations(connection)  # no script has run

    assert squizzle(*typed[5].arguments).code == 0
    assert relations(connection) >= {"t1", "t2", "t3"}
    if tool == "alembic":
        assert alembic_heads(connection) == {"3a2b3c4d5e6f"}
    else:
        assert len(TOOLS[tool].books(folder).entries(connection, "public")) == 3
