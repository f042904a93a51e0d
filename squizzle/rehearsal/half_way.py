"""A version that is done by share of its rows, taken back half-way: what its down script does then, on a copy."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from squizzle.errors import CouldNotVerifyError
from squizzle.migrations.batches.shares import carries_shares
from squizzle.migrations.operations import apply_versions, roll_back_versions
from squizzle.migrations.records import Migration
from squizzle.proof.comparison import compare_digests
from squizzle.proof.records import DatabaseDigest
from squizzle.rehearsal.version_run import Course

# So much of its rows; any other share leaves the same pieces of the script undone.
_PCT = 50
HALF_WAY_WELL = f"half-way, at {_PCT} % of its rows, it was taken back, too, and everything was as before"
_BAD = f"half-way, at {_PCT} % of its rows, it cannot be taken back: "
_UNKNOWN = "whether it can be taken back half-way was not tried: "


def take_back_half_way(course: Course, work: str, migration: Migration, before: DatabaseDigest) -> str:
    """Apply half of the rows of a version to a copy of its own, take it back there, and compare.

    Args:
        course: What is rehearsed.
        work: The work copy, in the state before the version.
        migration: The version.
        before: The work copy's fingerprint.

    Returns:
        A note for the certificate; empty where a version is never half-way on purpose, or has no down script.
    """
    if migration.down_sql is None or not carries_shares(migration):
        return ""
    course.say(f"{migration.version}: taking it back half-way")
    try:
        with course.place.fresh(of=work) as copy:
            return _tried(course, copy, migration, before)
    except CouldNotVerifyError as exc:
        return f"{_UNKNOWN}{exc.message}"


def _tried(course: Course, copy: str, migration: Migration, before: DatabaseDigest) -> str:
    with course.open(copy) as connection:
        course.memory.start(connection, before)
    half = partial(apply_versions, to=migration.version, until_pct=_PCT)
    forward = course.attempt(copy, migration, half)
    if forward.failed:
        return f"{_UNKNOWN}{forward.failed}"
    back = course.attempt(copy, migration, roll_back_versions)
    if back.failed:
        return f"{_UNKNOWN if back.could_not else _BAD}{back.failed}"
    with course.open(copy) as connection:
        found = compare_digests(before, course.memory.digest(connection))
    grown = {one.table for one in found.different_tables if one.table in course.may_grow and not one.missing_rows}
    rows = [one for one in found.row_sentences() if one.partition(":")[0] not in grown]
    wrong = [*rows, *found.other_sentences()]
    return f"{_BAD}{'; '.join(wrong)}" if wrong else HALF_WAY_WELL


def half_way_problem(notes: Iterable[str]) -> str | None:
    """Why a version cannot be taken back half-way, as a certificate's notes say; None when they do not say it."""
    return next((note for note in notes if note.startswith(_BAD)), None)
