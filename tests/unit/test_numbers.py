"""Numbers with their nouns."""

from __future__ import annotations

import pytest

from squizzle.numbers import number_of


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 backups"), (1, "1 backup"), (2, "2 backups"), (12_000, "12,000 backups")]
)
def test_one_is_no_plural(count: int, said: str) -> None:
    assert number_of(count, "backup") == said


def test_some_nouns_have_a_plural_of_their_own() -> None:
    assert number_of(1, "copy", "copies") == "1 copy"
    assert number_of(2, "copy", "copies") == "2 copies"
