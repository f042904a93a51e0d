"""Licences of what is installed, and what is made of a service's answers about it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from dependencies import advisories
from dependencies.licences import EXCEPTIONS, is_allowed, licences_of


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("BSD-3-Clause AND 0BSD AND Zlib AND CC0-1.0", True),
        ("Mozilla Public License 2.0 (MPL 2.0)", True),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", True),
        ("GPL-2.0-only OR MIT", True),
        ("MIT AND (GPL-2.0-only OR Apache-2.0)", True),
        ("GPL-3.0-only AND (MIT OR BSD-2-Clause)", False),
        ("MIT AND GPL-3.0-only", False),
        ("MIT License; GNU General Public License v3 (GPLv3)", False),
        ("LGPL-3.0-only", False),
        ("Other/Proprietary License", False),
        ("", False),
    ],
)
def test_a_licence_is_allowed_when_one_of_its_alternatives_is(licence: str, *, allowed: bool) -> None:
    assert is_allowed(licence) is allowed


def test_every_installed_package_may_be_used_and_no_exception_is_made_for_nothing() -> None:
    found = {one.name: one for one in licences_of("squizzle")}

    assert len(found) > 100
    assert [one for one in found.values() if not one.is_allowed] == []
    assert [name for name in EXCEPTIONS if name not in found or is_allowed(found[name].licence)] == []


WARNED = {"name": "pyyaml", "version": "5.3", "vulns": [{"id": "PYSEC-2020-96", "fix_versions": ["5.3.1"]}]}
CLEAN = {"name": "click", "version": "8.1.7", "vulns": []}
UNKNOWN = {"name": "secret-thing", "skip_reason": "not found"}


def answering(folder: Path, trial: list[Any] | None, real: list[Any]) -> Path:
    """A program that answers as pip-audit does: `trial` for the release that is known to be bad; None: it fails."""
    (folder / "bin").mkdir()
    program = folder / "bin" / "pip-audit"
    program.write_text(
        f"#!{sys.executable}\nimport sys\n"
        f"trial, real = {json.dumps(trial)!r}, {json.dumps(real)!r}\n"
        "text = trial if any('trial.txt' in one for one in sys.argv) else real\n"
        "if text == 'null': sys.exit('requests.exceptions.ConnectionError')\n"
        "print('{\"dependencies\": ' + text + '}')\n"
    )
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("trial", "real", "code", "said"),
    [
        (None, [], 0, "not looked: no service"),
        # A mirror of packages alone knows of no advisory at all.
        ([UNKNOWN], [UNKNOWN], 0, "not looked: no service"),
        ([dict(WARNED, vulns=[])], [CLEAN], 0, "not looked: no service"),
        ([WARNED], [CLEAN, UNKNOWN], 0, "0 for 1 packages, by pypi; not known there: secret-thing"),
        ([WARNED], [CLEAN, WARNED], 1, "pyyaml 5.3: PYSEC-2020-96, mended in 5.3.1"),
    ],
)
def test_nobody_asked_is_not_nobody_warned(
    trial: list[Any] | None, real: list[Any], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert advisories.main(answering(tmp_path, trial, real)) == code

    shown = capsys.readouterr()
    assert said in shown.out + shown.err
