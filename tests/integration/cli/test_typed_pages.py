"""What the README tells a newcomer to type, and the page for three in the morning whoever was woken, is typed here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from squizzle.postgres.access import Connection
from tests.integration.cli.conftest import Squizzle
from tests.integration.migrations.conftest import relations
from tests.support.pages import Call, calls_in_code

pytestmark = pytest.mark.parametrize("address", ["embedded"], indirect=True)


def section(page: Path, title: str) -> str:
    """What stands under a title of the second order."""
    return page.read_text(encoding="utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def written(text: str) -> Iterator[tuple[str, str]]:
    """The files that a shell would write by `echo WORDS > FILE`."""
    for line in re.findall(r"^echo .*$", text.replace("\\\n", " "), re.MULTILINE):
        _, words, _, file = shlex.split(line)
        yield file, f"{words}\n"


def test_a_first_migration_goes_as_the_readme_says(
    squizzle: Squizzle, connection: Connection, project_root: Path
) -> None:
    text = section(project_root / "README.md", "A first migration in five minutes")
    typed = [call for call in calls_in_code(text) if call.program == "squizzle"]
    verbs = [call.arguments[0] for call in typed]
    assert verbs == ["init", "new", "lint", "plan", "rehearse", "apply", "status", "rollback", "verify"]

    def type_in(call: Call) -> None:
        done = squizzle(*call.arguments)
        assert done.code == 0, f"{call}: {done.err}"

    for call in typed[:2]:
        type_in(call)
    files = list(written(text))
    assert [Path(file).name for file, _ in files] == ["up.sql", "down.sql", "verify.sql"]
    for file, words in files:
        (squizzle.place / file).write_text(words, encoding="utf-8")
    for call in typed[2:]:
        if call.arguments[0] == "rollback":
            assert "users" in relations(connection)
        if call.arguments[0] != "rehearse":  # a flow, which takes its time: tests/flows/test_rehearse.py has it
            type_in(call)
    assert "users" not in relations(connection)


def test_the_first_five_commands_at_three_in_the_morning_look_and_change_nothing(
    squizzle: Squizzle, connection: Connection, project_root: Path, url: str, tmp_path: Path
) -> None:
    squizzle.configure(
        f'[environments.production]\nurl_env = "PRODUCTION_URL"\n[backups]\nstore = "file://{tmp_path / "store"}"\n'
    )
    connection.execute("CREATE TABLE orders (id int PRIMARY KEY)")
    assert squizzle("backup", "full", "--env", "production", PRODUCTION_URL=url).code == 0
    typed = list(calls_in_code(section(project_root / "docs" / "three-a-m.md", "The first five commands")))
    assert [call.arguments[0] for call in typed] == ["doctor", "status", "locks", "assess", "runbook"]
    for call in typed:
        done = squizzle(*call.arguments, PRODUCTION_URL=url)
        assert done.code == 0, f"{call}: {done.out}{done.err}"
        assert done.out
    assert relations(connection) == {"orders", "orders_pkey"}
