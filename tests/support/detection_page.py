"""The page of the documentation that says which planted defects a rehearsal tells, and in which words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from tests.support.planted import OUTSIDE, Defect

PAGE = Path("docs") / "detection.md"
_TIME = re.compile(r"\d[\d.]* (?:ms|s)\b")
_HEAD = """\
# What a rehearsal detects

Defects that were planted in otherwise good migrations, down scripts, backups and certificates, one at a time, and the words in
which each was told. This page is written by the test that plants them (`make detection`); nothing here is from memory. The
migration without a defect, and the histories of the examples, raise no alarm.

## In scripts

| planted | told as | verdict |
|---|---|---|
"""
_OUTSIDE = """
## Outside of scripts

| planted | what is told | shown by |
|---|---|---|
"""


def detection_page(told: Iterable[tuple[Defect, str]]) -> str:
    """The page, from what each defect was told as."""
    scripts = "".join(f"| {one.name} | {_cell(reason)} | {one.verdict.value} |\n" for one, reason in told)
    outside = "".join(f"| {name} | {words} | `{test.partition('::')[2]}` |\n" for name, words, test in OUTSIDE)
    return f"{_HEAD}{scripts}{_OUTSIDE}{outside}"


def _cell(reason: str) -> str:
    shown = _TIME.sub("some time", " ".join(reason.split()))
    return shown.replace("|", "\\|")
