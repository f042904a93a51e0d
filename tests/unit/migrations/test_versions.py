"""The order of versions, and which version comes next."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squizzle.cli.scaffold import next_version
from squizzle.migrations.versions import is_version, version_key

IN_ORDER = [
    ["1", "2", "9", "10", "11", "100"],
    ["0001", "0002", "0009", "0010", "0099", "0100", "1000"],
    ["1.0.0", "1.9.0", "1.9.1", "1.10.0", "2.0.0", "10.0.0"],
    ["1", "1.0", "1.0.0", "1.1"],
    ["9", "0010", "11", "0012"],
    ["1.0", "1.0-rc", "1.0-rc1", "1.0-rc2", "1.0-rc10", "1.1"],
    ["1.2", "1.2.1", "1.beta", "2"],
    ["20240131235959", "20240201000000", "20250101000000"],
    ["1a", "1b", "2a", "10a"],
]


@pytest.mark.parametrize("ordered", IN_ORDER, ids=" < ".join)
def test_versions_are_in_natural_order(ordered: list[str]) -> None:
    shuffled = random.Random(7).sample(ordered, len(ordered))  # noqa: S311 - a shuffle, not a secret

    assert sorted(shuffled, key=version_key) == ordered


@pytest.mark.parametrize(("one", "other"), [("1", "01"), ("0009", "9"), ("1.02", "1.2"), ("1.0-rc01", "1.0-rc1")])
def test_versions_that_differ_only_in_zeros_in_front_are_the_same(one: str, other: str) -> None:
    assert version_key(one) == version_key(other)


@given(one=st.integers(0), other=st.integers(0), zeros=st.integers(0, 5))
def test_numbers_are_in_the_order_of_numbers(one: int, other: int, zeros: int) -> None:
    assert (version_key(f"{'0' * zeros}{one}") < version_key(str(other))) == (one < other)
    assert (version_key(f"{'0' * zeros}{one}") == version_key(str(other))) == (one == other)


dotted = st.lists(st.integers(0, 200), min_size=1, max_size=4)


@given(one=dotted, other=dotted)
def test_dotted_versions_are_in_the_order_of_their_numbers(one: list[int], other: list[int]) -> None:
    keys = [version_key(".".join(map(str, parts))) for parts in (one, other)]

    assert (keys[0] < keys[1]) == (one < other)


versions = st.from_regex(r"[0-9][0-9A-Za-z.+-]{0,12}", fullmatch=True)


@given(one=versions, other=versions, third=versions)
def test_any_versions_have_one_total_order(one: str, other: str, third: str) -> None:
    a, b, c = version_key(one), version_key(other), version_key(third)

    assert (a < b) + (a == b) + (a > b) == 1
    assert not (a <= b <= c) or a <= c


@given(version=versions)
def test_whatever_starts_with_a_digit_and_needs_no_quotes_is_a_version(version: str) -> None:
    assert is_version(version)


@pytest.mark.parametrize(
    "text",
    [
        *("", "v1", "a", "-1", ".1", "1 ", " 1", "1/2", "1_2", "../1", "1\n", "1'", '1"', "1;", "1%", "1$", "1\\"),
        *("1\0", "\u0661", "1é", "1\u200b"),  # a digit and a letter of other alphabets, a space without width
    ],
)
def test_what_could_leave_a_folder_or_need_quotes_is_no_version(text: str) -> None:
    assert not is_version(text)


@pytest.mark.parametrize(
    ("existing", "following"),
    [
        ([], "0001"),
        (["0001"], "0002"),
        (["0009"], "0010"),
        (["0010", "0009"], "0011"),
        (["9999"], "10000"),
        (["9"], "10"),
        (["1.9.0", "1.10.0"], "1.10.1"),
        (["20240131235959"], "20240131235960"),
        (["1.0-rc1"], "1.0-rc2"),
        (["1.0-rc"], "1.1-rc"),
        (["1a"], "2a"),
    ],
)
def test_the_next_version_is_written_like_the_highest(existing: list[str], following: str) -> None:
    assert next_version(existing) == following


@given(existing=st.lists(versions, min_size=1, max_size=5))
def test_the_next_version_comes_after_all_others(existing: list[str]) -> None:
    following = next_version(existing)

    assert is_version(following)
    assert all(version_key(following) > version_key(version) for version in existing)
