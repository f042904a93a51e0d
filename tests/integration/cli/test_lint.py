"""The verb lint: what it looks at, how it says what it found, and what a database adds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from squizzle.postgres.access import Connection
from tests.integration.cli.conftest import Done, Squizzle
from tests.integration.migrations.conftest import Folder


def by_rule(done: Done, rule: str) -> dict[str, Any]:
    """The one finding of a rule."""
    (found,) = (one for one in done.document["findings"] if one["rule"] == rule)
    assert isinstance(found, dict)
    return found


INDEX = "CREATE INDEX CONCURRENTLY i ON t (a);\nCREATE INDEX j ON t (a);\n"
DELETE = "DELETE FROM t;"


def test_lint_needs_no_database_and_ends_with_one_only_for_errors(offline: Squizzle, folder: Folder) -> None:
    folder.write("1", INDEX, down="DROP INDEX i")
    warned = offline("lint", "--json")
    folder.write("2", "SELECT 1", down=DELETE)
    failed = offline("lint", "--json")

    assert (warned.code, failed.code) == (0, 1)
    assert (warned.err, failed.err) == ("", "")
    keys = {"file", "line", "column", "rule", "severity", "message", "lock", "relation", "hint"}
    found = {(Path(one["file"]).name, one["rule"]): one for one in failed.document["findings"]}
    assert all(keys <= set(one) for one in found.values())
    index = found["up.sql", "L101"]
    assert (index["line"], index["column"], index["lock"], index["relation"]) == (2, 19, "SHARE", "t")
    assert ("down.sql", "D101") in found
    assert failed.document["summary"]["files"] == 4
    assert failed.document["summary"]["error"] == 1


@pytest.mark.parametrize("name", ["x.sql", "deep/er/x.sql"])
def test_files_and_folders_without_a_layout_are_read_as_they_are(offline: Squizzle, tmp_path: Path, name: str) -> None:
    file = tmp_path / "plain" / name
    file.parent.mkdir(parents=True)
    file.write_text(DELETE, encoding="utf-8")

    for path in (file, tmp_path / "plain"):
        done = offline("lint", str(path))
        assert done.code == 1
        assert f"--> {file}:1:13" in done.out


def test_a_file_that_holds_both_ways_is_read_by_its_tool(offline: Squizzle, tmp_path: Path) -> None:
    file = tmp_path / "20240101120000_x.sql"
    file.write_text("-- migrate:up\nSELECT 1;\n\n-- migrate:down\nDELETE FROM t;\n", encoding="utf-8")
    finding = by_rule(offline("lint", str(file), "--json"), "D101")
    assert (finding["file"], finding["line"]) == (str(file), 5)


def test_a_path_that_is_not_there_is_a_usage_error(offline: Squizzle, tmp_path: Path) -> None:
    done = offline("lint", str(tmp_path / "nowhere"))
    assert done.code == 2
    assert "nowhere is not there" in done.err


def test_other_forms_go_to_pipelines(offline: Squizzle, folder: Folder) -> None:
    folder.write("1", DELETE)
    sarif = json.loads(offline("lint", "--format", "sarif").out)
    assert "D101" in [one["ruleId"] for one in sarif["runs"][0]["results"]]
    github = offline("lint", "--format", "github")
    assert "::error file=" in github.out
    assert github.code == 1


def test_with_a_database_the_severity_follows_the_real_table(
    squizzle: Squizzle, folder: Folder, connection: Connection, url: str
) -> None:
    connection.execute("CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 100) g")
    connection.execute("ANALYZE t")
    folder.write("1", "CREATE INDEX j ON t (a)")

    small = by_rule(squizzle("lint", "--json", "--url", url), "L101")
    connection.execute("INSERT INTO t SELECT g FROM generate_series(1, 300000) g")
    connection.execute("ANALYZE t")
    connection.execute("SELECT pg_stat_reset()")  # or so many rows in so few seconds count as traffic
    medium = by_rule(squizzle("lint", "--json", "--url", url), "L101")

    assert (small["severity"], medium["severity"]) == ("info", "warning")
    assert ", 100 rows," in small["message"]
    assert "MB, 300,100 rows," in medium["message"]


def test_with_a_database_lint_and_plan_tell_what_is_locked_besides(
    squizzle: Squizzle, folder: Folder, connection: Connection, url: str
) -> None:
    connection.execute("CREATE TABLE users (id int PRIMARY KEY); CREATE TABLE orders (user_id int REFERENCES users)")
    connection.execute("CREATE VIEW who AS SELECT user_id FROM orders")
    folder.write("1", "ALTER TABLE orders DROP CONSTRAINT orders_user_id_fkey;\nDROP TABLE orders CASCADE;", down="")
    key = {"relation": "public.users", "lock": "ACCESS EXCLUSIVE", "because": "foreign key orders_user_id_fkey"}
    view = {"relation": "public.who", "lock": "ACCESS EXCLUSIVE", "because": "the view goes with it"}

    linted = squizzle("lint", "--json", "--url", url).document["findings"]
    assert [one["also_locks"] for one in linted if one["rule"] == "L139"] == [[key]]
    assert [key, view] in [one["also_locks"] for one in linted if one["line"] == 2]

    planned = squizzle("plan", "--json").document["statements"]
    assert [one["also_locks"] for one in planned] == [[key], [key, view]]
    assert [one["locks_complete"] for one in planned] == [True, True]
    assert "blocks reads and writes of public.users" in planned[0]["hazards"]
    shown = squizzle("plan").out
    assert "--   locks   orders ACCESS EXCLUSIVE; waits" in shown
    assert "--   also    public.users ACCESS EXCLUSIVE (foreign key orders_user_id_fkey)" in shown

    # Nothing of the scripts was run.
    assert connection.execute(
        "SELECT count(*) FROM pg_constraint WHERE conname = 'orders_user_id_fkey'"
    ).fetchone() == (1,)


def test_squawk_is_heard_and_decides_nothing(offline: Squizzle, folder: Folder) -> None:
    folder.write("1", "SELECT 1;\nALTER TABLE t ADD COLUMN b varchar(9);\nCREATE INDEX i ON t (a);")
    offline.configure("")
    with_it = offline("lint", "--json")
    offline.configure("[lint]\nsquawk = false\n")
    without = offline("lint", "--json")

    theirs = [one for one in with_it.document["findings"] if one["rule"].startswith("squawk:")]
    assert ("squawk:prefer-text-field", 2, "info") in [(one["rule"], one["line"], one["severity"]) for one in theirs]
    assert 3 not in [one["line"] for one in theirs]  # ours says it already
    assert with_it.code == without.code
    assert [one for one in with_it.document["findings"] if one not in theirs] == without.document["findings"]


def test_a_project_chooses_severities_and_adds_rules_of_its_own(offline: Squizzle, folder: Folder) -> None:
    folder.write("1", DELETE)
    offline.configure('[lint.severity]\nD101 = "warning"\n')
    assert by_rule(offline("lint", "--json"), "D101")["severity"] == "warning"

    offline.configure('[lint.severity]\nD999 = "warning"\n')
    unknown = offline("lint", "--json")
    assert (unknown.code, "there is no rule D999" in unknown.err) == (2, True)

    offline.configure('[lint]\nrules = "rules"\n')
    missing = offline("lint", "--json")
    assert (missing.code, "is no folder of rules" in missing.err) == (2, True)


def test_the_example_is_clean_but_for_what_it_allows_with_a_reason(offline: Squizzle) -> None:
    example = Path(__file__).parents[3] / "examples" / "shop" / "migrations"
    done = offline("lint", str(example), "--json")
    counted = [one for one in done.document["findings"] if one["waived"] is None and one["severity"] != "info"]
    assert (done.code, counted) == (0, [])
    assert done.document["summary"]["waived"] >= 10
