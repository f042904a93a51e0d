"""Which module plays which disaster."""

from __future__ import annotations

from collections.abc import Mapping

from flows.disasters import data_loss
from squizzle.drills.records import DrillScenario
from tasks.drilling import Play

PLAYS: Mapping[DrillScenario, Play] = {
    DrillScenario.DATA_LOSS: data_loss.play,
    DrillScenario.BROKEN_BACKUP: data_loss.play,
}
