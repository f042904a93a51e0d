"""`keep_in_step` and `adopt` as their users see them: another process, exit codes, JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from squizzle.postgres.access import Connection
from tests.integration.cli.conftest import Squizzle
from tests.support.tools import TOOLS

pytestmark = pytest.mark.parametrize("address", ["embedded"], indirect=True)


@pytest.fixture
def project(squizzle: Squizzle) -> Squizzle:
    TOOLS["dbmate"].write(squizzle.place / "migrations")
    squizzle.configure('[project]\nlayout = "dbmate"\nkeep_in_step = true\n')
    return squizzle


def test_the_books_are_kept_by_apply_and_rollback_and_compared_by_verify(
    project: Squizzle, connection: Connection
) -> None:
    dbmate = TOOLS["dbmate"]
    assert project("apply", "--all", "--dry-run").code == 0
    assert connection.execute("SELECT to_regclass('schema_migrations')").fetchone() == (None,)  # only looked

    assert project("apply", "--all").code == 0
    assert len(dbmate.said(connection)) == 3
    assert project("rollback", "20240103120000").code == 0
    assert len(dbmate.said(connection)) == 2
    checks = {one["name"]: one["ok"] for one in project("verify", "--json").document["checks"]}
    assert checks["books of dbmate"] is True

    connection.execute("CREATE TABLE t3 (a int)")
    dbmate.apply(connection, 3)
    refused = project("apply", "--all", "--json")
    assert refused.error["code"] == 5
    assert "`squizzle adopt`" in refused.error["hint"]
    assert project("verify").code == 1
    adopted = project("adopt", "--json").document
    assert [one["version"] for one in adopted["adopted"]] == ["20240103120000"]
    assert project("apply", "--all").code == 0

    connection.execute("DELETE FROM schema_migrations")
    assert project("adopt", "--json").error["code"] == 5
    shown = project("adopt", "--trust", "history", "--dry-run", "--json").document
    assert [one["version"][-7:] for one in shown["written"]] == ["1120000", "2120000", "3120000"]
    assert "written into its books" in project("adopt", "--trust", "history").out
    assert len(dbmate.said(connection)) == 3


@pytest.mark.parametrize(
    ("layout", "file"), [("native", "1_users/up.sql"), ("numbered", "1_users.sql"), ("auto", "1_users.sql")]
)
def test_a_layout_without_books_cannot_keep_any(
    squizzle: Squizzle, connection: Connection, layout: str, file: str
) -> None:
    path: Path = squizzle.place / "migrations" / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("CREATE TABLE users (a int);")
    squizzle.configure(f'[project]\nlayout = "{layout}"\nkeep_in_step = true\n')

    refused = squizzle("apply", "--all", "--json")

    assert refused.error["code"] == 2
    assert "no books of another tool" in refused.error["message"]
    assert connection.execute("SELECT to_regclass('users')").fetchone() == (None,)
    assert squizzle("status").code == 0  # looking needs no books


def test_a_changed_repeatable_migration_is_shown_as_pending_again(squizzle: Squizzle, connection: Connection) -> None:
    view = squizzle.place / "migrations" / "R__v.sql"
    (squizzle.place / "migrations" / "V1__t.sql").write_text("CREATE TABLE t (a int);")
    view.write_text("CREATE OR REPLACE VIEW v AS SELECT a FROM t;")
    assert squizzle("apply", "--all").code == 0
    view.write_text("CREATE OR REPLACE VIEW v AS SELECT a, a AS b FROM t;")

    status = squizzle("status", "--json").document
    assert status["current"] == "1"
    assert [one["name"] for one in status["pending"]] == ["v"]
    assert [one["version"] for one in status["applied"]] == ["1"]
    assert "pending again: its text was changed" in squizzle("status").out
    assert squizzle("verify").code == 0

    repeatable = status["pending"][0]["version"]
    assert squizzle("rollback", repeatable, "--json").error["code"] == 7
    assert squizzle("apply", "--all").code == 0
    assert connection.execute("SELECT count(*) FROM squizzle_history WHERE name = 'v' AND success").fetchone() == (2,)
    assert squizzle("status", "--json").document["pending"] == []
