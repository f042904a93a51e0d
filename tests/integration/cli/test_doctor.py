"""What is not ready is said, with what to do; what cannot be looked at does not hide the rest."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from psycopg import sql

from squizzle.doctor.database import judge_checksums, judge_clock
from squizzle.doctor.examine import examine
from squizzle.doctor.findings import Finding, State
from squizzle.postgres.access import Connection, ServerAccess
from tests.integration.cli.conftest import Squizzle, url_of

SETTINGS = """\
[backups]
store = "file://{store}"

[environments.staging]
url = "{url}"

[environments.production]
url = "{url}"

[environments.away]
url = "postgresql://nobody@127.0.0.1:1/gone"

[environments.unknown]
url_env = "NOBODY_SETS_THIS"
"""


def checks(place: Path, **environment: str) -> dict[str, Finding]:
    """What is found in a project, by name, without the start of a command."""
    file = place / "squizzle.toml"
    return {one.name: one for one in examine(file if file.exists() else None, (), {**os.environ, **environment})}


@pytest.mark.one_server
def test_each_database_has_its_own_findings_and_one_that_is_down_hides_nothing(
    squizzle: Squizzle, url: str, connection: Connection, tmp_path: Path
) -> None:
    squizzle.configure(SETTINGS.format(store=tmp_path / "store", url=url))
    connection.execute("CREATE SCHEMA squizzle")
    assert squizzle("apply", "--all", "--env", "staging", "--yes").code == 0

    found = checks(squizzle.place)
    for fine in (
        "staging: answers",
        "staging: clock",
        "staging: client programs",
        "staging: can be migrated",
        "staging: checksums of pages",
    ):
        assert found[fine].state is State.OK, found[fine]
    assert found["staging: identity"].detail.startswith("staging ")
    # The same database under another name.
    assert found["production"].state is State.PROBLEM
    assert "is not the database that was meant" in found["production"].detail
    assert found["production: answers"].state is State.OK
    assert "check that the server runs" in found["away"].hint
    assert "NOBODY_SETS_THIS" in found["unknown"].detail
    assert found["store: can be written"].state is State.OK
    assert not list((tmp_path / "store").rglob("doctor/*"))

    one = squizzle("doctor", "--env", "production", "--json")
    assert one.code == 1
    assert one.document["ready"] is False
    states = {check["name"]: check["state"] for check in one.document["checks"]}
    assert states["production"] == "problem"
    assert not [name for name in states if name.startswith("staging")]
    assert states["Prefect"] == "not looked"


@pytest.mark.one_server
def test_an_account_is_told_what_it_lacks_and_what_that_is_for(
    access: ServerAccess, database: str, connection: Connection, role: str, tmp_path: Path
) -> None:
    connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    url = url_of(access, database, user=role)
    rights = checks(tmp_path, DATABASE_URL=url)["DATABASE_URL: rights"]
    assert rights.state is State.WARNING
    for lack in ("(CREATE)", "(CREATEDB)", "(pg_monitor)", "(pg_signal_backend)"):
        assert lack in rights.detail

    connection.execute(sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(sql.Identifier(role)))
    connection.execute(sql.SQL("GRANT pg_monitor TO {}").format(sql.Identifier(role)))
    rights = checks(tmp_path, DATABASE_URL=url)["DATABASE_URL: rights"]
    assert "(CREATE)" not in rights.detail
    assert "(pg_monitor)" not in rights.detail
    assert "(pg_signal_backend)" in rights.detail


def test_a_server_without_checksums_is_told_what_it_does_not_see() -> None:
    found = judge_checksums("staging", "off")
    assert found.state is State.WARNING
    assert "pg_checksums --enable" in found.hint


def test_without_a_project_it_says_what_to_write(
    offline: Squizzle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(offline.place)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    found = checks(offline.place)
    assert found["databases"].state is State.NOT_LOOKED
    assert found["store"].state is found["squizzle.toml"].state is State.WARNING

    (tmp_path / "file").write_text("no folder")
    offline.configure(f'[backups]\nstore = "file://{tmp_path}/file/store"\n')
    assert checks(offline.place)["store"].state is State.PROBLEM
    offline.configure("[backups\n")
    broken = offline("doctor")
    assert broken.code == 1
    assert "✗ squizzle.toml" in broken.out
    assert "→ " in broken.out


@pytest.mark.parametrize(
    ("ahead", "state", "words"),
    [(0.5, State.OK, "0.50 s"), (-30, State.WARNING, "behind"), (90, State.PROBLEM, "ahead of")],
)
def test_clocks_that_differ_are_told_with_which_one_is_ahead(ahead: float, state: State, words: str) -> None:
    found = judge_clock("staging", timedelta(seconds=ahead))
    assert found.state is state
    assert words in found.detail
