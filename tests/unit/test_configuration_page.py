"""The reference of squizzle.toml: no setting is missing, none is there that the reader does not know, each is explained."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from uuid import uuid4

import pytest

from handbook.configuration import EXAMPLE, PARTS, example_lines, known_settings, needed_settings
from squizzle.cli.main import run
from squizzle.config import load_config

PAGE = "docs/configuration.md"


def settings_of(known: dict[str, dict[str, str]]) -> set[tuple[str, str]]:
    return {(section, name) for section, names in known.items() for name in names}


def test_the_example_has_every_setting_that_the_reader_knows_and_no_other() -> None:
    assert load_config(EXAMPLE).project == "shop"
    assert settings_of(known_settings()) == set(example_lines())
    assert {part.example for part in PARTS} == {section for section, _ in example_lines()}


def test_what_is_behind_an_alternative_can_be_read_instead(tmp_path: Path) -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    swapped = [
        following.removeprefix("#! ") if following.startswith("#! ") else line
        for line, following in zip(lines, [*lines[1:], ""], strict=True)
        if not line.startswith("#! ")
    ]
    file = tmp_path / "squizzle.toml"
    file.write_text("\n".join(swapped), encoding="utf-8")

    config = load_config(file)

    assert config.environments["staging"].url_env == "STAGING_URL"
    assert config.rehearsal.server_url_env == "REHEARSAL_URL"


def test_what_cannot_be_left_out_is_called_required(project_root: Path) -> None:
    page = (project_root / PAGE).read_text(encoding="utf-8")
    section = page.partition('### `[notify.channels.NAME], kind = "smtp"`')[2].partition("###")[0]

    assert {("notify.channels.smtp", "host"), ("fences.jobs", "close")} <= needed_settings()
    assert "| `host` | text | required | The server. |" in section
    assert "| `port` | whole number | `587` |" in section
    assert "`password_env` | text |  | The variable that holds it: of that user. |" in section


def test_no_word_of_the_code_is_left_in_the_reference(project_root: Path) -> None:
    page = (project_root / PAGE).read_text(encoding="utf-8")

    assert re.findall(r"\bNone\b|timedelta|``", page) == []


def test_the_file_that_init_writes_has_only_settings_that_are_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["init", str(tmp_path / "shop")]) == 0
    capsys.readouterr()
    file = tmp_path / "shop" / "squizzle.toml"
    text = file.read_text(encoding="utf-8")
    # Sections and settings that are commented out count, too: people take the sign away.
    live = re.sub(r"^# (\[|\w+ +?=)", r"\1", text, flags=re.MULTILINE)
    written = {
        (re.sub(r"^environments\..*", "environments.staging", section), name)
        for section, values in sections_of(tomllib.loads(live))
        for name in values
    }

    assert written <= settings_of(known_settings())
    assert len(written) > 15
    live = re.sub(r"^url = .*\n", "", live, count=1, flags=re.MULTILINE).replace('"…"', f'"{uuid4()}"')
    file.write_text(live, encoding="utf-8")
    assert set(load_config(file).environments) == {"staging", "production"}


def sections_of(content: dict[str, object], above: str = "") -> list[tuple[str, list[str]]]:
    found = []
    plain = [name for name, value in content.items() if not isinstance(value, dict)]
    if plain:
        found.append((above, plain))
    for name, value in content.items():
        if isinstance(value, dict):
            found += sections_of(value, f"{above}.{name}".lstrip("."))
    return found
