"""The page of the lock map is what its data says."""

from __future__ import annotations

from pathlib import Path

from squizzle.analysis.locks.lock_map import known_majors, lock_map
from squizzle.analysis.locks.shapes import Shape
from squizzle.reports.lock_pages import PAGE, render


def test_the_page_is_rendered_from_the_measured_map(project_root: Path) -> None:
    page = render([lock_map(major) for major in known_majors()])
    assert (project_root / PAGE).read_text(encoding="utf-8") == page, "run make lockmap"


def test_every_shape_has_a_row_and_differences_between_versions_are_told() -> None:
    page = render([lock_map(15), lock_map(18)])
    assert all(f"`{lock_map(18).shapes[shape].statement}`" in page for shape in Shape)
    assert "DROP NOT NULL` | a partitioned table, 15 | the table AX, a partition AX" in page
    assert "DROP NOT NULL` | a partitioned table, 18 | the table AX |" in page
