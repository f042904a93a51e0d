"""What the verbs print: one JSON document with the promised keys, or something for a person."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from squizzle import __version__
from squizzle.migrations.approvals import Approval, Approvals
from squizzle.migrations.history import read_history
from squizzle.migrations.operations import apply_versions
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Target
from squizzle.proof.digests import digest_database
from tests.integration.cli.conftest import PATIENCE_S, Squizzle
from tests.integration.migrations.conftest import Folder

Tables = Callable[[], set[str]]

STATUS = {"environment", "database", "current", "applied", "pending", "failed", "running"}


def everything(connection: Connection) -> object:
    """The whole content, our own bookkeeping included, and whether that is there at all."""
    found = connection.execute("SELECT to_regclass('squizzle.identity'), to_regclass('squizzle_history')").fetchone()
    return digest_database(connection, bookkeeping=True), found


# --- plan ----------------------------------------------------------------------------------------------------------


def test_the_plan_says_what_each_statement_locks_how_long_it_may_wait_and_what_takes_it_back(
    squizzle: Squizzle, shop_folder: Folder, connection: Connection, database: str
) -> None:
    squizzle("apply", "--to", "0001")
    shop_folder.write(
        "0002",
        "SET LOCAL work_mem = '8MB';\nALTER TABLE t ADD COLUMN n int CHECK (n > 0);\n"
        "CREATE TABLE fresh (a int);\nCREATE INDEX ON fresh (a);\nINSERT INTO t (a) VALUES (1);",
    )
    shop_folder.write("0003", "CREATE INDEX CONCURRENTLY ON t (a);\nSET lock_timeout = '1s';", down="SELECT 1")
    before = everything(connection)

    done = squizzle("plan", "--json")

    assert (done.code, done.err) == (0, "")
    assert set(done.document) == {"target", "schema_digest", "statements", "forecast"}
    assert done.document["target"] == {"database": database, "schema": "public", "environment": None}
    keys = ("version", "lock", "lock_timeout_ms", "statement_timeout_ms", "transactional", "hazards", "reversal")
    hour = 3_600_000
    assert [tuple(one[key] for key in keys) for one in done.document["statements"]] == [
        ("0002", None, 50, hour, True, [], None),
        ("0002", "ACCESS EXCLUSIVE", 50, hour, True, ["blocks reads and writes of t", "reads all of t"], None),
        ("0002", None, 50, hour, True, [], None),
        ("0002", None, 50, hour, True, [], None),
        ("0002", "ROW EXCLUSIVE", 5000, hour, True, [], None),
        ("0003", "SHARE UPDATE EXCLUSIVE", hour - 1000, hour, False, ["reads all of t"], "0003_change/down.sql"),
        ("0003", None, 50, hour, True, [], "0003_change/down.sql"),
    ]
    only = squizzle("plan", "0002")
    assert "--   locks   t ACCESS EXCLUSIVE; waits for them 50 ms at a time" in only.out
    assert "there is no way back on disk" in only.out
    assert "CONCURRENTLY" not in only.out
    assert everything(connection) == before


# --- status --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("shop_folder")
@pytest.mark.one_server
def test_the_status_of_a_database_that_never_saw_us_is_empty_and_changes_nothing(
    squizzle: Squizzle, connection: Connection, database: str
) -> None:
    before = everything(connection)

    done = squizzle("status", "--json")

    assert (done.code, done.err) == (0, "")
    assert done.document == {
        "environment": None,
        "database": database,
        "current": None,
        "applied": [],
        "pending": [{"version": f"000{number}", "name": "change"} for number in (1, 2, 3)],
        "failed": [],
        "running": [],
    }
    assert everything(connection) == before


@pytest.mark.one_server
def test_the_status_has_the_keys_of_the_contract(
    squizzle: Squizzle, shop_folder: Folder, connection: Connection
) -> None:
    squizzle("apply", "0001")
    squizzle("apply", "0002")
    shop_folder.write("0001", "CREATE TABLE t (a bigint)")
    shop_folder.write("0003", "SELECT 1 / 0")
    (shop_folder.path / "0002_change").rename(shop_folder.path / ".0002_change")
    connection.execute(
        "INSERT INTO squizzle_history (version, name, direction, success, error) VALUES"
        " ('0003', 'change', 'apply', false, 'division by zero'), ('0004', 'change', 'apply', NULL, NULL)"
    )
    shop_folder.write("0004", "SELECT 1")

    document = squizzle("status", "--json").document

    assert set(document) == STATUS
    assert document["current"] == "0002"
    assert [set(one) for one in document["applied"]] == [
        {"version", "name", "applied_at", "applied_by", "checksum_ok"}
    ] * 2
    assert [(one["version"], one["checksum_ok"]) for one in document["applied"]] == [("0001", False), ("0002", None)]
    assert all(datetime.fromisoformat(one["applied_at"]).tzinfo for one in document["applied"])
    assert [one["version"] for one in document["pending"]] == ["0003", "0004"]
    (failed,) = document["failed"]
    assert set(failed) == {"version", "error", "applied_at"}
    assert (failed["version"], failed["error"]) == ("0003", "division by zero")
    assert [one["version"] for one in document["running"]] == ["0004"]


@pytest.mark.one_server
def test_the_status_for_a_person_has_a_line_for_every_version(
    squizzle: Squizzle, shop_folder: Folder, database: str
) -> None:
    shop_folder.write("0002", "SELECT 1 / 0")
    squizzle("apply", "--all")

    done = squizzle("status")

    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == f"{database} (environment not named): current version 0001"
    assert lines[2].split() == ["version", "name", "state", "at", "by"]
    assert lines[3].split()[:3] == ["0001", "change", "applied"]
    assert lines[4].startswith("0002     change  pending, last try FAILED: could not apply 0002")
    assert lines[5].split() == ["0003", "change", "pending"]


@pytest.mark.one_server
def test_a_version_of_which_a_share_is_done_is_neither_failed_nor_running(
    squizzle: Squizzle, shop_folder: Folder, connection: Connection, database: str
) -> None:
    shop_folder.write("0002", "-- squizzle: batch key=a pause=0ms\nUPDATE t SET b = a")
    squizzle("apply", "0001")
    connection.execute("ALTER TABLE t ADD PRIMARY KEY (a), ADD b int; INSERT INTO t SELECT generate_series(1, 40)")
    approvals = Approvals(by_version={"0002": Approval(rollout_id="shops-1")})
    apply_versions(
        connection, Target(database=database), shop_folder.read(), to="0002", until_pct=25, approvals=approvals
    )

    document = squizzle("status", "--json").document
    assert (document["failed"], document["running"]) == ([], [])
    (partly,) = document["partly"]
    wanted = {"version": "0002", "pct": 25, "rows": 10, "of": 40, "rollout_id": "shops-1"}
    assert {name: partly[name] for name in wanted} == wanted
    line = squizzle("status").out.splitlines()[4]
    assert "a share of its rows is done, as was meant: 25 % of 40 rows up to a = 10, 10 changed, since" in line
    assert line.rstrip().endswith("rollout shops-1 goes on")


# --- apply and rollback --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("shop_folder")
@pytest.mark.one_server
def test_apply_says_what_was_applied(squizzle: Squizzle, tables: Tables) -> None:
    done = squizzle("apply", "--all", "--json")

    assert done.code == 0
    document = done.document
    assert set(document) == {"applied", "current", "analyzed", "warnings"}
    assert document["current"] == "0003"
    assert [one["version"] for one in document["applied"]] == ["0001", "0002", "0003"]
    keys = {"version", "duration_ms", "lock_wait_ms", "attempts", "locks"}
    assert [set(one) for one in document["applied"]] == [keys] * 3
    assert [set(one["locks"]) for one in document["applied"]] == [{"predicted", "complete", "observed"}] * 3
    assert all(one["duration_ms"] >= 0 and one["attempts"] == 1 for one in document["applied"])
    assert [line.split(" in ")[0] for line in done.err.splitlines()] == [f"applied 000{number}" for number in (1, 2, 3)]
    assert tables() == {"t", "u"}
    nothing: dict[str, object] = {"applied": [], "analyzed": [], "warnings": []}
    assert squizzle("apply", "--all", "--json").document == {**nothing, "current": "0003"}


@pytest.mark.parametrize(
    ("arguments", "applied", "summary"),
    [
        (["--all"], {"t", "u"}, "3 versions done; current version 0003"),
        (["--to", "0002"], {"t"}, "2 versions done; current version 0002"),
        (["0001"], {"t"}, "1 version done; current version 0001"),
    ],
)
@pytest.mark.usefixtures("shop_folder")
@pytest.mark.one_server
def test_apply_goes_as_far_as_it_is_told(
    squizzle: Squizzle, tables: Tables, arguments: list[str], applied: set[str], summary: str
) -> None:
    done = squizzle("apply", *arguments)

    assert (done.code, done.out) == (0, f"{summary}\n")
    assert "applied 0001 in" in done.err
    assert tables() == applied


@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.one_server
def test_a_dry_run_changes_nothing(
    squizzle: Squizzle, shop_folder: Folder, connection: Connection, form: list[str]
) -> None:
    shop_folder.write("0002", "CREATE INDEX CONCURRENTLY i ON t (a);")
    before = everything(connection)

    done = squizzle("apply", "--all", "--dry-run", *form)

    assert (done.code, done.err) == (0, "")
    assert everything(connection) == before
    squizzle("apply", "0001")
    between = everything(connection), read_history(connection, "public")
    squizzle("apply", "--all", "--dry-run", *form)
    assert (everything(connection), read_history(connection, "public")) == between


@pytest.mark.one_server
def test_a_dry_run_shows_what_would_run(squizzle: Squizzle, shop_folder: Folder) -> None:
    shop_folder.write("0002", "-- why\nCREATE INDEX CONCURRENTLY i ON t (a);")

    document = squizzle("apply", "--to", "0002", "--dry-run", "--json").document
    human = squizzle("apply", "--to", "0002", "--dry-run").out

    assert {"applied", "current"} <= set(document)
    assert (document["applied"], document["current"], document["dry_run"]) == ([], None, True)
    assert document["would_apply"] == [
        {"version": "0001", "transactional": True, "statements": [{"line": 1, "sql": "CREATE TABLE t (a int)"}]},
        {
            "version": "0002",
            "transactional": False,
            "statements": [{"line": 2, "sql": "CREATE INDEX CONCURRENTLY i ON t (a)"}],
        },
    ]
    assert "-- 0001_change/up.sql:1\nCREATE TABLE t (a int);" in human
    assert "-- 0002_change/up.sql:2 (outside a transaction)\nCREATE INDEX CONCURRENTLY i ON t (a);" in human


@pytest.mark.one_server
def test_what_runs_in_batches_is_said_before_and_after(squizzle: Squizzle, shop_folder: Folder) -> None:
    statement = "INSERT INTO u SELECT a FROM t"
    shop_folder.write("0001", "CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 250)")
    shop_folder.write("0002", f"CREATE TABLE u (a int);\n-- squizzle: batch key=t.a size=100 pause=0ms\n{statement}")
    shop_folder.write("0003", "SELECT 1")
    (squizzle.place / "squizzle.toml").write_text('[batches]\ntarget = "2s"\n', encoding="utf-8")

    would = squizzle("apply", "--to", "0002", "--dry-run", "--json").document["would_apply"][1]
    human = squizzle("apply", "--to", "0002", "--dry-run").out
    plan = squizzle("plan", "0002", "--json").document if squizzle("apply", "0001").code == 0 else {}
    done = squizzle("apply", "--all", "--json")

    assert plan["statements"][1]["batch"] == would["statements"][1]["batch"]
    assert plan["statements"][1]["lock_timeout_ms"] == 2000
    assert would["statements"][1] == {
        "line": 3,
        "sql": statement,
        "batch": {
            "key": ["a"],
            "size": 100,
            "pause_ms": 0,
            "target_ms": 2000,
            "max_replication_lag_ms": 10_000,
            "automatic": False,
        },
    }
    assert f"-- 0002_change/up.sql:3 (in batches by a, 100 rows at first, a transaction each)\n{statement};" in human
    assert done.code == 0
    assert [one.get("batched") for one in done.document["applied"]] == [
        [{"line": 3, "table": "public.t", "key": ["a"], "rows": 250, "batches": 2}],
        None,
    ]
    assert "  line 3: 250 rows in 2 batches of public.t by a" in done.err.splitlines()


@pytest.mark.one_server
def test_a_dry_run_is_refused_for_what_apply_would_refuse(squizzle: Squizzle, shop_folder: Folder) -> None:
    squizzle("apply", "0001")
    shop_folder.write("0001", "CREATE TABLE t (a bigint)")

    assert squizzle("apply", "--all", "--dry-run").code == 6


@pytest.mark.usefixtures("shop_folder")
@pytest.mark.one_server
def test_a_dry_run_of_a_rollback_shows_the_scripts_newest_first_and_changes_nothing(
    squizzle: Squizzle, connection: Connection
) -> None:
    squizzle("apply", "--all")
    before = everything(connection)

    done = squizzle("rollback", "--to", "0001", "--dry-run", "--json")

    assert done.code == 0
    assert (done.document["rolled_back"], done.document["current"]) == ([], "0003")
    assert [
        (one["version"], [two["sql"] for two in one["statements"]]) for one in done.document["would_roll_back"]
    ] == [
        ("0003", ["DROP TABLE u"]),
        ("0002", ["ALTER TABLE t DROP COLUMN b"]),
    ]
    assert "-- 0003_change/down.sql:1\nDROP TABLE u;" in squizzle("rollback", "0003", "--dry-run").out
    assert everything(connection) == before


@pytest.mark.usefixtures("shop_folder")
@pytest.mark.one_server
def test_rollback_says_what_was_rolled_back(squizzle: Squizzle, tables: Tables) -> None:
    squizzle("apply", "--all")

    done = squizzle("rollback", "--to", "0001", "--json")

    assert done.code == 0
    document = done.document
    assert set(document) == {"rolled_back", "current", "analyzed", "warnings"}
    assert document["current"] == "0001"
    assert [one["version"] for one in document["rolled_back"]] == ["0003", "0002"]
    assert all({"version", "duration_ms"} <= set(one) for one in document["rolled_back"])
    assert tables() == {"t"}

    last = squizzle("rollback", "0001")
    assert (last.code, last.out) == (0, "1 version done; current version none\n")
    assert "rolled back 0001 in" in last.err
    assert tables() == set()


# --- verify and digest ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("shop_folder")
@pytest.mark.one_server
def test_verify_has_a_check_for_every_file_every_script_and_the_drift(
    squizzle: Squizzle, connection: Connection
) -> None:
    squizzle("apply", "--all")
    before = everything(connection)

    done = squizzle("verify", "--json")

    assert done.code == 0
    document = done.document
    assert set(document) == {"ok", "checks"}
    assert document["ok"] is True
    assert [set(check) for check in document["checks"]] == [{"name", "ok", "detail"}] * 9
    assert {check["name"] for check in document["checks"]} == {
        "drift",
        "invalid indexes",
        "constraints not validated",
        *(f"000{number} {what}" for number in (1, 2, 3) for what in ("file", "verify.sql")),
    }
    assert everything(connection) == before
    assert len(squizzle("verify", "0001", "--json").document["checks"]) == 2


@pytest.mark.usefixtures("shop_folder")
@pytest.mark.one_server
def test_verify_says_what_does_not_hold(squizzle: Squizzle, connection: Connection) -> None:
    squizzle("apply", "--all")
    connection.execute("ALTER TABLE t ADD COLUMN by_hand int")

    done = squizzle("verify", "--json")
    human = squizzle("verify")

    assert done.code == human.code == 1
    assert done.document["ok"] is False
    assert [check["name"] for check in done.document["checks"] if not check["ok"]] == ["drift"]
    assert [line.split()[:2] for line in human.out.splitlines() if "FAIL" in line] == [["FAIL", "drift"]]


@pytest.mark.one_server
def test_a_digest_covers_schema_rows_and_sequences(squizzle: Squizzle, connection: Connection) -> None:
    connection.execute(
        'CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2); CREATE TABLE "o|d\'d" (a int);'
        " CREATE SEQUENCE s; SELECT nextval('s'); CREATE SCHEMA app; CREATE TABLE app.x (a int)"
    )
    before = everything(connection)

    document = squizzle("digest", "--json").document

    assert {"schema", "tables", "sequences", "covers"} <= set(document)
    assert set(document["schema"]) == {"strict", "logical"}
    assert set(document["tables"]) == {"public.t", 'public."o|d\'d"', "app.x"}
    assert document["tables"]["public.t"]["rows"] == 2
    assert all(set(table) == {"rows", "digest"} for table in document["tables"].values())
    assert document["sequences"] == {"public.s": 1}
    assert document["covers"]
    assert everything(connection) == before
    assert squizzle("digest", "--json").document == document

    connection.execute("UPDATE t SET a = 3 WHERE a = 2")
    changed = squizzle("digest", "--json").document
    assert changed["schema"] == document["schema"]
    assert changed["tables"]["public.t"] != document["tables"]["public.t"]
    assert changed["tables"]["app.x"] == document["tables"]["app.x"]


@pytest.mark.one_server
def test_a_digest_of_the_schema_alone_reads_no_table(squizzle: Squizzle, connection: Connection) -> None:
    connection.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")

    document = squizzle("digest", "--schema-only", "--json").document
    connection.execute("INSERT INTO t VALUES (2)")

    assert document["tables"] == {}
    assert squizzle("digest", "--schema-only", "--json").document == document
    assert not any("rows" in line for line in document["covers"])
    connection.execute("CREATE TABLE u (a int)")
    assert squizzle("digest", "--schema-only", "--json").document["schema"] != document["schema"]


@pytest.mark.one_server
def test_a_digest_of_one_schema_leaves_the_others_out(squizzle: Squizzle, connection: Connection) -> None:
    connection.execute("CREATE TABLE t (a int); CREATE SCHEMA app; CREATE TABLE app.x (a int)")

    assert set(squizzle("digest", "--schema", "app", "--json").document["tables"]) == {"app.x"}


@pytest.mark.one_server
def test_a_digest_for_a_person_has_a_line_for_every_table(squizzle: Squizzle, connection: Connection) -> None:
    connection.execute("CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 1234)")

    lines = squizzle("digest").out.splitlines()

    assert lines[0].startswith("schema  strict ")
    assert lines[3].split() == ["table", "rows", "digest"]
    assert lines[4].split()[:2] == ["public.t", "1,234"]


# --- init, new and help: no database -------------------------------------------------------------------------------


def test_a_new_project_has_a_configuration_and_a_folder(offline: Squizzle) -> None:
    done = offline("init", "My Shop")

    assert (done.code, done.out) == (0, "")
    assert "My Shop/squizzle.toml" in done.err
    project = offline.place / "My Shop"
    assert (project / "migrations").is_dir()
    assert 'name = "my_shop"' in (project / "squizzle.toml").read_text()
    # What it wrote is a configuration that works.
    assert offline("status", "--env", "nowhere", "--config", "My Shop/squizzle.toml").err.startswith(
        "error: there is no environment 'nowhere'; known: staging"
    )


def test_init_says_in_json_what_it_wrote(offline: Squizzle) -> None:
    done = offline("init", "--json", "shop")

    assert done.code == 0
    assert done.document == {"config": "shop/squizzle.toml", "migrations": "shop/migrations"}


def test_init_leaves_alone_what_exists(offline: Squizzle) -> None:
    offline.configure("# mine\n")

    done = offline("init", "--json")

    assert done.code == 2
    assert "squizzle.toml exists already" in done.error["message"]
    assert (offline.place / "squizzle.toml").read_text() == "# mine\n"


@pytest.mark.parametrize("arguments", [["init", "file"], ["init", "file/below"]])
def test_init_where_a_file_is_in_the_way_is_refused(offline: Squizzle, arguments: list[str]) -> None:
    (offline.place / "file").write_text("")

    done = offline(*arguments, "--json")

    assert done.code == 2
    assert "file" in done.error["message"]


@pytest.mark.one_server
def test_a_new_version_has_three_scripts_and_can_be_applied(squizzle: Squizzle, folder: Folder) -> None:
    first = squizzle("new", "create_users", "--json")
    second = squizzle("new", "addIndex2")

    assert first.code == second.code == 0
    assert set(first.document) == {"version", "path"}
    assert first.document["version"] == "0001"
    assert first.document["path"].endswith("migrations/0001_create_users")
    assert second.out.strip().endswith("migrations/0002_addIndex2")
    for name in ("0001_create_users", "0002_addIndex2"):
        assert sorted(path.name for path in (folder.path / name).iterdir()) == ["down.sql", "up.sql", "verify.sql"]
    assert squizzle("apply", "--all", "--json").document["current"] == "0002"
    assert squizzle("verify").code == 0
    assert squizzle("rollback", "0002").code == 0


@pytest.mark.parametrize("name", ["two words", "../up", "1st", "", "a/b", "é", "a.b", "--all"])
def test_a_name_that_could_not_be_a_folder_of_ours_is_refused(offline: Squizzle, folder: Folder, name: str) -> None:
    done = offline("new", name, "--json")

    assert done.code == 2
    assert done.error
    assert list(folder.path.iterdir()) == []


def test_help_and_version_go_to_standard_output(offline: Squizzle) -> None:
    plain = offline.anew()
    assert (plain.code, plain.err) == (0, "")
    assert all(
        f"\n  {verb} " in plain.out for verb in ("apply", "digest", "drill", "init", "new", "rollback", "status")
    )
    assert offline("--help").out == offline("-h").out == plain.out
    assert offline("--version").out == f"squizzle, version {__version__}\n"
    for verb in ("apply", "digest", "init", "new", "rollback", "status", "verify"):
        done = offline.anew(verb, "--help") if verb == "apply" else offline(verb, "--help")
        assert (done.code, done.err) == (0, "")
        assert "--json" in done.out


@pytest.mark.one_server
def test_a_reader_that_has_seen_enough_is_no_error_to_talk_about(squizzle: Squizzle) -> None:
    with squizzle.started("digest", "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read().decode()
        code = process.wait(PATIENCE_S)

    assert code != 0
    assert err == ""


@pytest.mark.one_server
def test_json_keeps_text_as_it_is(squizzle: Squizzle, connection: Connection) -> None:
    connection.execute('CREATE TABLE "größe 🎉" (a int)')

    done = squizzle("digest", "--json")

    assert 'public.\\"größe 🎉\\"' in done.out
    found: dict[str, Any] = json.loads(done.out)
    assert set(found["tables"]) == {'public."größe 🎉"'}
