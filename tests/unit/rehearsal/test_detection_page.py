"""The page about what is detected has every planted defect, and names tests that are there."""

from __future__ import annotations

from pathlib import Path

from tests.support.detection_page import PAGE
from tests.support.planted import DEFECTS, OUTSIDE, apart, together


def test_the_page_has_every_defect_with_its_verdict(project_root: Path) -> None:
    page = (project_root / PAGE).read_text(encoding="utf-8").splitlines()

    for defect in DEFECTS:
        (row,) = (line for line in page if line.startswith(f"| {defect.name} |"))
        assert row.endswith(f"| {defect.verdict.value} |")
        assert defect.told in row
    for name, words, test in OUTSIDE:
        file, _, function = test.partition("::")
        assert f"| {name} | {words} | `{function}` |" in page
        assert f"def {function}(" in (project_root / file).read_text(encoding="utf-8")


def test_no_defect_is_left_out_of_the_tests() -> None:
    names = [one.name for group in (*together(), apart()) for one in group]

    assert sorted(names) == sorted(one.name for one in DEFECTS)
    assert len({one.name for one in DEFECTS}) + len(OUTSIDE) >= 60
