"""Every flow that is killed: a scene for each deployment of prefect.yaml, and more where a flow goes more than one way."""

from __future__ import annotations

from tests.chaos.flows.scene import Scene
from tests.chaos.flows.scenes import backups, drills, fleets, remedies, ways_back

SCENES: tuple[type[Scene], ...] = (
    backups.BackUp,
    backups.BackUpChanges,
    backups.CheckBackups,
    ways_back.RestoreOver,
    ways_back.Recover,
    ways_back.Rehearse,
    ways_back.Undo,
    ways_back.WrongEnvironment,
    drills.Drill,
    drills.RebuildServer,
    fleets.RollOut,
    fleets.RecoverCanary,
    fleets.SweepHealth,
    fleets.AutoRecover,
    fleets.SweepAndRecover,
    fleets.WritePostmortem,
    fleets.TryChannels,
    remedies.ReleaseLocks,
    remedies.RelieveLoad,
    remedies.PauseTriggers,
    remedies.NoteQueries,
    remedies.ExamineCorruption,
)

NO_SCENE: dict[str, str] = {}
"""Deployments of prefect.yaml that are not killed here, and why not."""
