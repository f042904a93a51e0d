"""Where the alerts of a fleet are kept."""

from __future__ import annotations

from collections.abc import Mapping

from squizzle.postgres.access import ServerAccess
from squizzle.postgres.identity import Target
from squizzle.rollout.planning import control_target
from squizzle.rollout.records import Fleet
from squizzle.settings.fleets import resolve_server
from squizzle.sweep.sweeping import expected_of


def default_control(fleet: Fleet, *, environ: Mapping[str, str]) -> tuple[ServerAccess, Target]:
    """The target where rollouts are written down, too: always the same one of a fleet, for flows and for commands.

    Raises:
        InvalidInputError: A variable is not set.
    """
    first = control_target(fleet.targets, fleet=fleet.name)
    access, _ = resolve_server(fleet.servers[first.server], environ=environ)
    return access, Target(database=first.database, schema=first.schema, expected=expected_of(fleet))
