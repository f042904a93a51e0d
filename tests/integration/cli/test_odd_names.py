"""Names that somebody chose to do harm, or without thinking: they are names, and never SQL, options or paths."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Squizzle
from tests.integration.migrations.conftest import Folder

NAMES = [
    "a'b",
    'a"; DROP TABLE t; --',
    "a b  c",
    "..",
    "$(touch harmed)`touch harmed`",
    "%s%d{x}%(y)s",
    "ünï ключ 🎉",
    "-rf *",
    "\\.\\",
]


@pytest.mark.parametrize("address", ["embedded"], indirect=True)
def test_odd_names_are_applied_kept_shown_and_rolled_back(
    squizzle: Squizzle, folder: Folder, tables: Callable[[], set[str]]
) -> None:
    for number, name in enumerate(NAMES, start=1):
        version = folder.path / f"{number}_{name}"
        version.mkdir()
        (version / "up.sql").write_text(f"CREATE TABLE t{number} (a int)", encoding="utf-8")
        (version / "down.sql").write_text(f"DROP TABLE t{number}", encoding="utf-8")
        (version / "verify.sql").write_text(f"SELECT to_regclass('t{number}') IS NOT NULL", encoding="utf-8")

    assert squizzle("apply", "--all").code == 0
    assert [one["name"] for one in squizzle("status", "--json").document["applied"]] == NAMES
    assert squizzle("verify", "--json").document["ok"]
    shown = squizzle("status").out
    assert all(name in shown for name in NAMES)
    assert squizzle("rollback", "--to", "1").code == 0
    assert tables() == {"t1"}
    assert sorted(path.name for path in squizzle.place.iterdir()) == ["migrations"]


@pytest.mark.parametrize("address", ["embedded"], indirect=True)
def test_a_version_that_nobody_has_is_unknown_whatever_it_looks_like(
    squizzle: Squizzle, folder: Folder, tables: Callable[[], set[str]]
) -> None:
    folder.write("1", "CREATE TABLE t (a int)", down="DROP TABLE t")
    folder.write("2", "CREATE TABLE u (a int)", down="DROP TABLE u")
    squizzle("apply", "1")

    for verb, version in (
        ("apply", "../../etc"),
        ("apply", "-1\n2"),
        ("rollback", "1'; DROP TABLE t; --"),
        ("rollback", ""),
    ):
        assert squizzle(verb, "--json", "--", version).code == 5
    assert tables() == {"t"}


def test_json_is_utf8_also_about_a_path_that_is_not(offline: Squizzle) -> None:
    missing = Path("no\udcffwhere")

    done = offline("apply", "--all", "--json", "--migrations", str(missing), "--url", "postgresql:///x?host=/nowhere")

    assert done.code == 2
    assert json.loads(done.out)["error"]["message"].startswith("there is no migrations folder no\udcffwhere")
