"""Whether a version can be taken back half-way, as a certificate or its scripts say."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import pytest

from squizzle.backups.records import Backup
from squizzle.migrations.records import Migration
from squizzle.rehearsal.half_way import HALF_WAY_WELL
from squizzle.rollout.checks import CheckResult
from squizzle.rollout.halfway import check_half_way
from squizzle.rollout.planning import plan_rollout, planned_versions
from squizzle.rollout.records import FleetTarget, Stage
from tests.support.certificates import certificate_of
from tests.support.planted import migration_of

UP = "-- squizzle: batch key=id\nUPDATE t SET a = 1;\nALTER TABLE t ADD CONSTRAINT known CHECK (a = 1)"
STAGES = (Stage(name="canary", percentage=5, rollback_on_error=True), Stage(name="full", percentage=100))


NO_SCRIPT = "it has no down script, so a share of it is taken back by recovering the database, or not at all"


class Look(Protocol):
    """What the check says of a migration; with notes, those of a certificate."""

    def __call__(
        self, migration: Migration, *notes: str, stages: tuple[Stage, ...] = STAGES
    ) -> tuple[CheckResult, str]: ...


@pytest.fixture(scope="module")
def look(backup: Backup) -> Look:
    def looked_at(migration: Migration, *notes: str, stages: tuple[Stage, ...] = STAGES) -> tuple[CheckResult, str]:
        targets = [FleetTarget(name="s/only", server="s", database="only")]
        plan = plan_rollout(targets, stages, planned_versions([migration]), fleet="shops")
        certificate = replace(certificate_of(backup), notes=notes)
        (row,) = check_half_way(plan, [migration], {migration.version: certificate} if notes else {})
        return row.result, row.sentence()

    return looked_at


def test_what_is_certain_stops_a_rollout_that_would_take_back_and_else_is_a_warning(look: Look) -> None:
    without, tried = migration_of(UP, None), migration_of(UP, "SELECT 1")
    patient = (replace(STAGES[0], rollback_on_error=False), STAGES[1])
    bad = "half-way, at 50 % of its rows, it cannot be taken back: no such thing"

    assert look(without) == (CheckResult.WARNING, f"s/only: 0001: {NO_SCRIPT}")
    result, sentence = look(tried, bad)
    assert (result, sentence.startswith(f"s/only: 0001: {bad}; mend down.sql")) == (CheckResult.STOP, True)
    assert sentence.endswith("or take rollback_on_error out of canary")
    assert look(tried, bad, stages=patient) == (CheckResult.WARNING, f"s/only: 0001: {bad}")


@pytest.mark.parametrize(
    ("down", "told"),
    [
        ("ALTER TABLE t DROP CONSTRAINT known", "names known, which only comes behind the rows"),
        ("ALTER TABLE t DROP CONSTRAINT IF EXISTS known", ""),
        ("ALTER TABLE t DROP COLUMN a", ""),
        ("SELECT 1;\nUPDATE t SET a = NULL", "0001_planted/down.sql:2 changes rows, and half-way only a part of them"),
    ],
)
def test_without_a_certificate_the_down_script_is_read(look: Look, down: str, told: str) -> None:
    result, sentence = look(migration_of(UP, down))

    assert (result is CheckResult.WARNING) is bool(told)
    assert told in sentence
    assert look(migration_of(UP, down), HALF_WAY_WELL) == (CheckResult.OK, "")


def test_nothing_is_said_of_what_is_never_half_way() -> None:
    targets = [FleetTarget(name=f"s/{number}", server="s", database=f"t{number}") for number in range(2)]
    migration = migration_of(UP, None)
    plan = plan_rollout(targets, STAGES, planned_versions([migration]), fleet="shops")

    assert check_half_way(plan, [migration], {}) == ()
