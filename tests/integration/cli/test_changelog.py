"""`squizzle changelog` as a user runs it: all tables at once, what is logged, and no longer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from squizzle.postgres.access import Connection, ServerAccess
from squizzle.postgres.embedded import ServerAddress
from tests.integration.cli.conftest import Squizzle
from tests.integration.conftest import access_to

TABLES = """
    CREATE TABLE goods (id int PRIMARY KEY, name text);
    CREATE TABLE "Odd Name" (id int PRIMARY KEY) PARTITION BY RANGE (id);
    CREATE TABLE part PARTITION OF "Odd Name" FOR VALUES FROM (1) TO (9);
    CREATE TABLE keyless (n int)
"""


@pytest.fixture(scope="module")
def access(servers: Callable[[str], ServerAddress]) -> ServerAccess:
    """One server: triggers are tested on both elsewhere."""
    return access_to(servers("embedded"))


def test_all_tables_are_logged_that_can_be_shown_and_no_longer(squizzle: Squizzle, connection: Connection) -> None:
    assert squizzle("changelog", "status").out.startswith("no table is logged")
    assert squizzle("changelog", "enable", "--all", "--yes", "--json").error["message"].startswith("no table of public")
    connection.execute(TABLES.encode())
    for wrong in ((), ("--all", "--table", "goods")):
        assert squizzle("changelog", "enable", "--yes", "--json", *wrong).error["code"] == 2
    enabled = squizzle("changelog", "enable", "--all", "--yes", "--json")
    assert [one["table"] for one in enabled.document["tables"]] == ["Odd Name", "goods"]
    assert "not logged: public.keyless has no primary key" in enabled.err
    connection.execute('INSERT INTO goods VALUES (1); INSERT INTO "Odd Name" VALUES (1)')
    connection.execute("ALTER TABLE goods DISABLE TRIGGER squizzle_log_row")
    status = squizzle("changelog", "status", "--json").document
    assert [(one["table"], one["until"], len(one["gaps"])) for one in status["tables"]] == [
        ("Odd Name", None, 0),
        ("goods", None, 1),
    ]
    assert status["size_bytes"] > 0
    assert status["oldest"]
    assert "public.goods: its trigger is disabled: changes are not logged now" in squizzle("changelog", "status").out
    assert squizzle("changelog", "disable", "--all", "--json").error["code"] == 9  # nobody is there to answer
    disabled = squizzle("changelog", "disable", "--all", "--yes")
    assert [line.partition(" since")[0] for line in disabled.out.splitlines()] == [
        "public.Odd Name: no longer logged",
        "public.goods: no longer logged",
    ]
    triggers = "SELECT count(*) FROM pg_trigger WHERE starts_with(tgname, 'squizzle')"
    assert connection.execute(triggers).fetchone() == (0,)
    assert squizzle("changelog", "disable", "--all", "--yes", "--json").error["message"] == "no table is logged"
    assert squizzle("changelog", "disable", "--table", "goods", "--yes", "--json").error["code"] == 2
