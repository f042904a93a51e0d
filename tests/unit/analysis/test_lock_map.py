"""The lock map as data: which file is taken for which server, and that it is read as it was written."""

from __future__ import annotations

import pytest

from squizzle.analysis.locks.lock_map import known_majors, lock_map, read_map, write_map
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.shapes import Kind, Role, Shape

OLDEST, NEWEST = known_majors()[0], known_majors()[-1]


@pytest.mark.parametrize(
    ("major", "taken"), [(OLDEST, OLDEST), (OLDEST + 1, OLDEST), (NEWEST + 1, NEWEST), (None, NEWEST), (9, OLDEST)]
)
def test_the_nearest_lower_version_speaks_for_a_server(major: int | None, taken: int) -> None:
    assert lock_map(major).major == taken


@pytest.mark.parametrize("major", known_majors())
def test_every_shape_was_measured_on_every_version(major: int) -> None:
    assert set(lock_map(major).shapes) == {shape.value for shape in Shape}
    assert read_map(write_map(lock_map(major))) == lock_map(major)


def test_what_differs_between_versions_is_taken_from_the_version() -> None:
    assert lock_map(15).mode(Shape.DROP_NOT_NULL, Role.PARTITION, Kind.PARTITIONED) is LockMode.ACCESS_EXCLUSIVE
    assert lock_map(18).mode(Shape.DROP_NOT_NULL, Role.PARTITION, Kind.PARTITIONED) is None


def test_what_an_old_version_refuses_is_told_as_the_newest_does_it() -> None:
    assert lock_map(15).mode(Shape.ADD_COLUMN_VIRTUAL, Role.TABLE) is LockMode.ACCESS_EXCLUSIVE
