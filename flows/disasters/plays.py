"""Which module plays which disaster."""

from __future__ import annotations

from collections.abc import Mapping

from flows.disasters import (
    cascading_failure,
    corrupted_migration,
    data_loss,
    locked_database,
    performance_degradation,
    point_in_time,
    region_loss,
    wrong_environment,
)
from squizzle.drills.records import DrillScenario
from tasks.drilling import Play

PLAYS: Mapping[DrillScenario, Play] = {
    DrillScenario.CORRUPTED_MIGRATION: corrupted_migration.play,
    DrillScenario.LOCKED_DATABASE: locked_database.play,
    DrillScenario.PERFORMANCE_DEGRADATION: performance_degradation.play,
    DrillScenario.WRONG_ENVIRONMENT: wrong_environment.play,
    DrillScenario.CASCADING_FAILURE: cascading_failure.play,
    DrillScenario.DATA_LOSS: data_loss.play,
    DrillScenario.BROKEN_BACKUP: data_loss.play,
    DrillScenario.POINT_IN_TIME: point_in_time.play,
    DrillScenario.REGION_LOSS: region_loss.play,
}
