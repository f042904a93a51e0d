"""What a shell completes: verbs, options, and the names of a project, without a server and without an error."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from squizzle.cli.main import app

BACKUP = "20270131T020000Z-shop-1a2b3c"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "squizzle.toml").write_text(
        f"""
        [backups]
        store = "file://{tmp_path}/store"
        [environments.staging]
        url = "postgresql://nobody@localhost:1/shop"
        [environments.production]
        url_env = "NOT_SET"
        [fleets.shops]
        environment = "production"
        [fleets.shops.servers.main]
        url = "postgresql://nobody@localhost:1/postgres"
        [fleets.shops.databases]
        regex = "^shop_"
        """,
        encoding="utf-8",
    )
    for name in ("0001_users", "0002_orders"):
        (tmp_path / "migrations" / name).mkdir(parents=True)
        (tmp_path / "migrations" / name / "up.sql").write_text("SELECT 1;", encoding="utf-8")
    (tmp_path / "store" / BACKUP).mkdir(parents=True)
    (tmp_path / "store" / BACKUP / "manifest.json").write_text("{}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def completed(*words: str) -> list[str]:
    """What stands for the last word."""
    *before, incomplete = words
    return [one.value for one in ShellComplete(app, {}, "squizzle", "X").get_completions(before, incomplete)]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("stat",), ["status"]),
        (("status", "--env", ""), ["staging", "production"]),
        (("status", "--env", "st"), ["staging"]),
        (("apply", ""), ["0001", "0002"]),
        (("apply", "--to", "0002"), ["0002"]),
        (("rehearse", "0001"), ["0001"]),
        (("fleet", ""), ["shops"]),
        (("roll-out", "s"), ["shops"]),
        (("verify-backup", ""), [BACKUP]),
        (("backups", "pin", "2027"), [BACKUP]),
        (("restore", "--into", "x", "1"), []),
        (("completion", "z"), ["zsh"]),
    ],
)
def test_names_of_the_project_are_completed(words: tuple[str, ...], found: list[str]) -> None:
    assert completed(*words) == found


def test_a_version_is_shown_with_its_name(project: Path) -> None:
    (project / "squizzle.toml").unlink()
    (item, _) = ShellComplete(app, {}, "squizzle", "X").get_completions(["plan"], "")

    assert (item.value, item.help) == ("0001", "users")


def test_options_before_the_word_count(project: Path) -> None:
    (project / "other").mkdir()
    (project / "other" / "squizzle.toml").write_text("[environments.other]\nurl_env = 'X'\n", encoding="utf-8")

    assert completed("status", "--config", "other/squizzle.toml", "--env", "") == ["other"]
    assert completed("apply", "--migrations", "other", "") == []
    assert completed("verify-backup", "--store", "s3://bucket/prefix", "") == []
    assert completed("verify-backup", "--store", "ftp://somewhere", "") == []


@pytest.mark.parametrize("broken", ["[environments", "[nonsense]\n", "[backups]\nstore = 'gopher://x'\n"])
def test_a_file_that_cannot_be_read_completes_to_nothing(project: Path, broken: str) -> None:
    (project / "squizzle.toml").write_text(broken, encoding="utf-8")
    shutil.rmtree(project / "migrations")

    for words in (("status", "--env", ""), ("fleet", ""), ("verify-backup", ""), ("apply", "")):
        assert completed(*words) == []


def test_bash_completes_after_it_has_read_the_script(project: Path) -> None:
    command = Path(sys.executable).with_name("squizzle")
    script = f"""
        export PATH={command.parent}:$PATH
        eval "$(squizzle completion bash)"
        complete -p squizzle
        COMP_WORDS=(squizzle status --env st); COMP_CWORD=3
        _squizzle_completion squizzle && echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["/bin/bash", "-c", script], cwd=project, capture_output=True, text=True, check=True, timeout=120
    )

    assert done.stdout.splitlines()[-1] == "staging", done.stdout + done.stderr
    assert "complete" in done.stdout.splitlines()[0]
    assert done.stderr == ""
