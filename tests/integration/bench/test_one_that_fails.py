"""A benchmark that fails is named, with why, and what the others found stays."""

from __future__ import annotations

from pathlib import Path

from bench.__main__ import Place, _outcome, publish
from bench.outcomes import keep
from bench.suite import KNOWN


def test_one_that_fails_and_one_without_time_are_named_on_the_page(tmp_path: Path) -> None:
    place = Place(page=tmp_path / "page.md", pictures=tmp_path / "pictures", results=tmp_path / "results")
    failed = _outcome(KNOWN["replay"], {"nonsense": 1}, ("a machine",), quick=True, seconds=120)
    late = _outcome(KNOWN["status"], {}, ("a machine",), quick=True, seconds=1)

    for outcome in (failed, late):
        keep(outcome, place.results)
        publish(place)

    assert failed.finding is None
    assert "TypeError: measure() got an unexpected keyword argument 'nonsense'" in failed.problem
    page = place.page.read_text(encoding="utf-8")
    assert f"- replay: {failed.problem}\n" in page
    assert "- status: not begun: the time for all of them was over\n" in page
