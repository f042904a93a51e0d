"""`generate-rollback` and `rollback --generated`, as a user runs them."""

from __future__ import annotations

import pytest

from squizzle.postgres.access import Connection, ServerAccess
from squizzle.postgres.embedded import find_runtime
from squizzle.proof.digests import digest_schema
from tests.integration.cli.conftest import Squizzle, url_of
from tests.integration.migrations.conftest import Folder

TABLE = "CREATE TABLE t (id int PRIMARY KEY, a varchar(10) DEFAULT 'x'); COMMENT ON COLUMN t.a IS 'old'"


@pytest.fixture
def scratch(access: ServerAccess) -> tuple[str, str]:
    """The tests' own server for scratch databases, too; to start another one takes a second."""
    return ("--scratch", url_of(access, "postgres"))


def test_a_pending_version_is_reversed_by_what_the_database_holds(
    squizzle: Squizzle, folder: Folder, scratch: tuple[str, str], connection: Connection
) -> None:
    folder.write("0001", TABLE)
    folder.write("0002", "ALTER TABLE t ALTER a TYPE text;\nCOMMENT ON COLUMN t.a IS 'new';\nCREATE INDEX ON t (a)")
    squizzle("apply", "0001")
    before = digest_schema(connection).strict

    done = squizzle("generate-rollback", "0002", "--json", *scratch)

    assert done.code == 0, done.err
    document = done.document
    assert (document["reversibility"], document["schema"]) == ("exact", "strict")
    assert [one["reversibility"] for one in document["statements"]] == ["exact"] * 3
    assert [one["reverse"] for one in document["statements"]][1:] == [
        "COMMENT ON COLUMN t.a IS 'old';",
        "DROP INDEX public.t_a_idx;",
    ]
    assert digest_schema(connection).strict == before
    squizzle("apply", "0002")
    connection.execute(document["sql"].encode())
    assert digest_schema(connection).strict == before


def test_an_applied_version_without_a_down_script_is_rolled_back(
    squizzle: Squizzle, folder: Folder, scratch: tuple[str, str], connection: Connection
) -> None:
    folder.write("0001", TABLE)
    folder.write(
        "0002", "DROP INDEX IF EXISTS nothing; ALTER TABLE t ALTER a DROP DEFAULT; CREATE VIEW v AS SELECT a FROM t"
    )
    squizzle("apply", "0001")
    before = digest_schema(connection).strict
    squizzle("apply", "0002")

    assert squizzle("rollback", "0002").code == 7
    done = squizzle("rollback", "0002", "--generated", "--json", *scratch)

    assert done.code == 0, done.err
    assert [one["version"] for one in done.document["rolled_back"]] == ["0002"]
    assert digest_schema(connection).strict == before


def test_a_lossy_way_back_wants_to_be_accepted_and_one_that_is_none_is_refused(
    squizzle: Squizzle, folder: Folder, scratch: tuple[str, str], connection: Connection
) -> None:
    folder.write("0001", TABLE)
    folder.write("0002", "ALTER TABLE t DROP COLUMN a")
    folder.write("0003", "UPDATE t SET id = id + 1")
    squizzle("apply", "--all")
    after = digest_schema(connection).strict

    none = squizzle("rollback", "0003", "--generated", "--accept-loss", "--json", *scratch)

    assert none.code == 7
    assert "id" in none.error["message"]
    assert digest_schema(connection).strict == after
    folder.write("0003", "UPDATE t SET id = id + 1", down="SELECT 1")
    refused = squizzle("rollback", "--to", "0001", "--generated", "--json", *scratch)
    assert refused.code == 9
    assert "t.a" in refused.error["message"]
    accepted = squizzle("rollback", "--to", "0001", "--generated", "--accept-loss", "--json", *scratch)
    assert accepted.code == 0, accepted.err
    assert connection.execute("SELECT a FROM t").fetchall() == []


def test_drift_makes_the_way_back_of_an_applied_version_lossy(
    squizzle: Squizzle, folder: Folder, scratch: tuple[str, str], connection: Connection
) -> None:
    folder.write("0001", TABLE)
    folder.write("0002", "CREATE INDEX i ON t (a)")
    squizzle("apply", "--all")
    connection.execute("ALTER TABLE t ADD COLUMN by_hand int")

    document = squizzle("generate-rollback", "0002", "--json", *scratch).document

    assert document["reversibility"] == "lossy"
    assert "column public.t.by_hand" in document["drift"]


def test_any_file_is_reversed_without_a_database_as_far_as_its_text_goes(offline: Squizzle) -> None:
    (offline.place / "up.sql").write_text("CREATE TABLE t (a int);\nDROP TABLE u;\n", encoding="utf-8")

    document = offline("generate-rollback", "--file", "up.sql", "--json").document

    assert document["reversibility"] == "none"
    assert [(one["reverse"], one["reversibility"]) for one in document["statements"]] == [
        ("DROP TABLE t;", "exact"),
        ("", "none"),
    ]


def test_a_scratch_server_that_cannot_be_reached_is_an_error(squizzle: Squizzle) -> None:
    (squizzle.place / "up.sql").write_text("DROP TABLE t", encoding="utf-8")

    done = squizzle("generate-rollback", "--file", "up.sql", "--json", "--scratch", "postgresql:///x?host=/nowhere")

    assert done.error["code"] == 3


def test_a_server_of_our_own_proves_it_where_none_is_named(
    squizzle: Squizzle, folder: Folder, connection: Connection
) -> None:
    if connection.info.server_version // 10000 != find_runtime().major:
        pytest.skip("the embedded server is of another major version")
    connection.execute("CREATE TABLE t (a int); CREATE MATERIALIZED VIEW m AS SELECT a FROM t")
    folder.write("0001", "DROP MATERIALIZED VIEW m")

    document = squizzle("generate-rollback", "0001", "--json").document

    assert (document["reversibility"], document["schema"]) == ("exact", "strict")
    assert "embedded" in document["proof"]


@pytest.mark.parametrize(
    "arguments",
    [(), ("0001", "--file", "up.sql"), ("--file", "nothing.sql"), ("0009",)],
)
def test_what_to_reverse_must_be_said(offline: Squizzle, folder: Folder, arguments: tuple[str, ...]) -> None:
    folder.write("0001", "SELECT 1")

    assert offline("generate-rollback", *arguments, "--json").error["code"] in {2, 5}
