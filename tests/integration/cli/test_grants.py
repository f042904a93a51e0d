"""With exactly the rights that are printed each job is done, and one that is taken away is named."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import pytest
from psycopg import sql

from squizzle.postgres.access import Connection, ServerAccess, connect
from tests.integration.cli.conftest import Done, Squizzle, url_of
from tests.support.scratch import drop_databases

pytestmark = [pytest.mark.usefixtures("shop_folder"), pytest.mark.one_server]


class Given(NamedTuple):
    """A statement, and where it is carried out."""

    database: str
    sql: str


@dataclass(frozen=True, kw_only=True)
class Granted:
    """An account with the rights of one job, in a database that others own and where nobody may do anything else."""

    squizzle: Squizzle
    access: ServerAccess
    database: str
    role: str

    def __call__(self, *verb: str) -> Done:
        return self.squizzle(*verb, "--json", "--url", url_of(self.access, self.database, user=self.role))

    def give(self, job: str) -> list[Given]:
        done = self.squizzle(
            "grants",
            job,
            "--role",
            self.role,
            "--database",
            self.database,
            "--owner",
            f"{self.database}_owner",
            "--json",
        )
        assert done.code == 0, done.err
        rights = [Given(one["database"], one["sql"]) for one in done.document["rights"]]
        for one in (*rights, *rights):
            self.run(one.database, one.sql)
        return rights

    def run(self, database: str, statement: str) -> None:
        with connect(self.access, database, purpose="test") as session:
            session.execute(statement.encode())

    def lacking(self, job: str) -> list[str]:
        done = self("grants", job, "--check")
        missing = [one["sql"] for one in done.document["rights"] if one["held"] is False]
        assert done.code == bool(missing), done.err
        return missing


@pytest.fixture
def granted(offline: Squizzle, access: ServerAccess, control: Connection) -> Iterator[Granted]:
    name = f"granted_{secrets.token_hex(3)}"
    owner, role, database = (sql.Identifier(f"{name}{end}") for end in ("_owner", "_role", ""))
    control.execute(sql.SQL("CREATE ROLE {}; CREATE ROLE {} LOGIN").format(owner, role))
    control.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE template0 OWNER {} STRATEGY file_copy").format(database, owner)
    )
    control.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    try:
        made = Granted(squizzle=offline, access=access, database=name, role=f"{name}_role")
        made.run(
            name,
            f"REVOKE ALL ON SCHEMA public FROM PUBLIC; ALTER SCHEMA public OWNER TO {owner.as_string()};"
            f" CREATE TABLE old AS SELECT 1 AS id; ALTER TABLE old OWNER TO {owner.as_string()}",
        )
        yield made
    finally:
        drop_databases(control, name)
        for one in (role, owner):
            control.execute(
                sql.SQL("REASSIGN OWNED BY {0} TO CURRENT_USER; DROP OWNED BY {0}; DROP ROLE {0}").format(one)
            )


def taken_away(statement: str) -> str:
    """The opposite of a statement that gives a right."""
    if statement.startswith("GRANT"):
        return re.sub(r" TO (?=\S+$)", " FROM ", statement.replace("GRANT", "REVOKE", 1))
    return re.sub(r" (CREATEDB|REPLICATION)$", r" NO\1", statement)


def test_an_operator_migrates_and_backs_up_restores_and_switches_over_and_so_does_the_owner(
    granted: Granted, tmp_path: Path
) -> None:
    granted.give("operator")
    store = ["--store", f"file://{tmp_path / 'store'}"]
    for verb in (["apply", "--all"], ["rollback", "0003"], ["apply", "--all"], ["digest"], ["backup", "full", *store]):
        done = granted(*verb)
        assert done.code == 0, done.err

    owner = replace(granted, role=f"{granted.database}_owner")
    owner.run(owner.database, f"ALTER ROLE {owner.role} LOGIN; REASSIGN OWNED BY {granted.role} TO {owner.role}")
    owner.give("operator")
    for account in (granted, owner):
        saved = owner("backup", "full", *store)
        assert saved.code == 0, saved.err
        into = ["--into", f"{granted.database}_new", "--switch-over", "--yes"]
        restored = account("restore", saved.document["id"], *store, *into)
        assert restored.code == 0, restored.document
        assert (restored.document["verified"], bool(restored.document["kept_as"])) == (True, True)
    assert owner("fence", "--yes").code == 0


def test_whose_objects_an_account_may_not_hand_on_is_said_with_the_grant_before_anything_is_restored(
    granted: Granted, tmp_path: Path
) -> None:
    granted.give("operator")
    owner = f"{granted.database}_owner"
    granted.run(granted.database, "ALTER SCHEMA public OWNER TO pg_database_owner")  # as in every new database
    granted.run(granted.database, f"SET ROLE {owner}; CREATE TABLE ledger AS SELECT 1 AS n")
    store = ["--store", f"file://{tmp_path / 'store'}"]
    saved = granted("backup", "full", *store)
    assert saved.code == 0, saved.err
    granted.run("postgres", f"REVOKE {owner} FROM {granted.role}")

    refused = granted("restore", saved.document["id"], *store, "--into", f"{granted.database}_new")

    assert refused.code == 7
    error = refused.document["error"]
    assert f"to its owners: {owner}; nothing was restored" in error["message"]
    assert error["hint"].startswith(f'GRANT "{owner}" TO "{granted.role}"')
    granted.run("postgres", error["hint"].split(";")[0])
    restored = granted("restore", saved.document["id"], *store, "--into", f"{granted.database}_new")
    assert (restored.code, restored.document["verified"]) == (0, True), restored.document


@pytest.mark.parametrize(
    ("job", "verbs"),
    [
        ("sweeper", [["health"], ["status"]]),
        ("approver", [["status"], ["plan", "--all"]]),
        ("backup", [["backup", "full"], ["backup", "schema"], ["backup", "globals"], ["digest"]]),
        ("cluster-backup", [["backup", "physical"], ["restore-point", "before"]]),
    ],
)
def test_a_job_is_done_with_its_rights_and_one_that_is_taken_away_is_named(
    granted: Granted, tmp_path: Path, job: str, verbs: list[list[str]]
) -> None:
    applied = granted.squizzle("apply", "--to", "0002", "--url", url_of(granted.access, granted.database))
    assert applied.code == 0, applied.err
    rights = granted.give(job)
    assert granted.lacking(job) == []

    for verb in verbs:
        done = granted(*verb, *(["--store", f"file://{tmp_path / 'store'}"] if verb[0] == "backup" else []))
        assert done.code == 0, done.err
    named = {}
    for database, right in rights:
        # Without it nobody can ask; with it nothing that is missing stays so.
        if "CONNECT" in right or right.startswith("CREATE SCHEMA"):
            continue
        granted.run(database, taken_away(right))
        named[right] = granted.lacking(job)
        granted.run(database, right)
    assert named == {right: [right] for right in named}


@pytest.mark.one_server
def test_every_right_of_an_operator_is_named_when_it_is_missing(granted: Granted) -> None:
    granted.run(granted.database, f"GRANT CONNECT ON DATABASE {granted.database} TO {granted.role}")
    missing = granted.lacking("operator")
    given = [one.sql for one in granted.give("operator")]

    # What is in the database `postgres` is not asked from here.
    not_asked = ("CONNECT ON", "CREATE SCHEMA", "CREATE ON SCHEMA squizzle", "squizzle.fence")
    assert set(given) - set(missing) == {
        one for one in given if 'CREATE ON SCHEMA "squizzle"' in one or any(words in one for words in not_asked)
    }
