"""Versions sort as their tool does: Hypothesis looks for names that do not."""

from __future__ import annotations

import string
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squizzle.errors import InvalidInputError, VersionConflictError
from squizzle.migrations.layouts.diesel import split_name
from squizzle.migrations.layouts.files import checksum
from squizzle.migrations.layouts.flyway import _DESCRIPTIONS, _sort_out
from squizzle.migrations.layouts.order import NAMES, as_version_text, in_order
from squizzle.migrations.layouts.pairing import Script, pair_scripts
from squizzle.migrations.records import Labels, Migration
from squizzle.migrations.versions import is_version, version_key

ALPHABETS = {"names": NAMES, "descriptions": _DESCRIPTIONS}


def migration(version: str, name: str = "change") -> Migration:
    return Migration(
        version=version,
        name=name,
        up_sql="",
        down_sql=None,
        verify_sql=None,
        checksum=checksum(""),
        source=Path(f"{version}_{name}.sql"),
        labels=Labels(up=f"{version}_{name}.sql"),
    )


def texts(alphabet: str) -> st.SearchStrategy[str]:
    # Few characters of each kind, so that two texts often begin alike.
    few = [character for character in ALPHABETS[alphabet] if character in "-_ 019ABZabz"]
    return st.text(st.sampled_from(few), max_size=6)


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_alphabets_are_in_the_order_of_characters(alphabet: str) -> None:
    assert list(ALPHABETS[alphabet]) == sorted(ALPHABETS[alphabet])
    assert set(string.ascii_letters + string.digits) < set(ALPHABETS[alphabet])


@pytest.mark.parametrize("alphabet", ALPHABETS)
@given(data=st.data())
def test_texts_sort_as_versions_as_they_sort_as_text(alphabet: str, data: st.DataObject) -> None:
    one, other = data.draw(texts(alphabet)), data.draw(texts(alphabet))

    versions = [f"7{as_version_text(text, ALPHABETS[alphabet])}" for text in (one, other)]

    if alphabet == "descriptions":  # behind a number and a hyphen, as there
        versions = [f"7-{version[1:]}" for version in versions]
    assert all(is_version(version) for version in versions)
    assert (version_key(versions[0]) < version_key(versions[1])) == (one < other)
    assert (version_key(versions[0]) == version_key(versions[1])) == (one == other)


def test_a_text_with_other_characters_is_no_version() -> None:
    assert as_version_text("größe", NAMES) is None
    assert as_version_text("", NAMES) == ""


@given(st.lists(st.integers(min_value=0, max_value=10**20), unique=True, max_size=8))
def test_numbers_come_back_in_order(numbers: list[int]) -> None:
    migrations = in_order(((number, migration(str(number))) for number in numbers), tool="a tool")

    assert [int(one.version) for one in migrations] == sorted(numbers)


@given(st.lists(st.text(string.digits, min_size=1, max_size=4), max_size=5))
def test_an_order_as_text_is_kept_or_refused_but_never_changed(versions: list[str]) -> None:
    try:
        migrations = in_order(((version, migration(version)) for version in versions), tool="a tool")
    except (InvalidInputError, VersionConflictError):
        assert sorted(versions) != sorted(set(versions), key=int) or len({*map(int, versions)}) < len(versions)
    else:
        assert [one.version for one in migrations] == sorted(versions)
        assert all(version_key(a.version) < version_key(b.version) for a, b in pairwise(migrations))


def test_versions_that_are_equal_to_the_tool_alone_are_refused() -> None:
    with pytest.raises(VersionConflictError, match=r"1\.0 is there twice"):
        in_order((((1,), migration("1.0")), ((1,), migration("1"))), tool="Flyway")


VERSIONS = st.lists(st.integers(0, 12), min_size=1, max_size=4)


@given(VERSIONS, VERSIONS)
def test_flyways_versions_sort_as_lists_of_numbers(one: list[int], other: list[int]) -> None:
    paths = [Path(f"V{'_'.join(map(str, numbers))}__x.sql") for numbers in (one, other)]
    (first, second), *_rest = _sort_out(paths)

    def padded(numbers: list[int]) -> list[int]:
        return numbers + [0] * (4 - len(numbers))

    assert (first.number == second.number) == (padded(one) == padded(other))
    if first.number != second.number:
        assert (first.number < second.number) == (padded(one) < padded(other))  # type: ignore[operator]
        assert (version_key(first.version) < version_key(second.version)) == (padded(one) < padded(other))


DATES = st.datetimes(min_value=datetime(1970, 1, 1)).map(lambda moment: moment.replace(microsecond=0))  # noqa: DTZ001
SPELLINGS = st.sampled_from(["%Y-%m-%d-%H%M%S", "%Y%m%d%H%M%S"])


@given(DATES, SPELLINGS, DATES, SPELLINGS)
def test_diesels_dates_sort_in_time_however_they_are_written(
    one: datetime, spelling: str, other: datetime, other_spelling: str
) -> None:
    first, second = (
        split_name(f"{moment.strftime(how)}_x") for moment, how in ((one, spelling), (other, other_spelling))
    )

    assert first
    assert second
    assert (version_key(first[0]) < version_key(second[0])) == (one < other)


SCRIPTS = st.lists(st.tuples(st.integers(1, 4), st.sampled_from("ab")), unique_by=lambda pair: pair[0], max_size=4)


def script(number: int, name: str, direction: str) -> Script:
    return Script(number=number, version=str(number), name=name, path=Path(f"{number}_{name}.{direction}.sql"))


@given(SCRIPTS, SCRIPTS)
def test_every_way_back_is_used_once_or_refused(ups: list[tuple[int, str]], downs: list[tuple[int, str]]) -> None:
    forward = [script(number, name, "up") for number, name in ups]
    back = [script(number, name, "down") for number, name in downs]

    try:
        pairs = pair_scripts(forward, back)
    except InvalidInputError:
        # Everything that has its exact counterpart would have been fine.
        assert set(downs) - set(ups)
        return
    assert sorted(pairs.values()) == sorted(one.path for one in back)
    assert set(pairs) <= {one.path for one in forward}
    exact = set(ups) & set(downs)
    assert all(pairs[script(*pair, "up").path] == script(*pair, "down").path for pair in exact)
