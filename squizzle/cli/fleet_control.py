"""The control database of a fleet, for verbs: where its alerts, silences and incidents are kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from squizzle.cli.options import Invocation
from squizzle.postgres.access import Connection, connect
from squizzle.rollout.discovery import discover_fleet
from squizzle.settings.fleets import fleet_named
from squizzle.sweep.control import default_control


@contextmanager
def fleet_control(invocation: Invocation, fleet: str, *, purpose: str) -> Iterator[Connection]:
    """A session in it: the database that --env or --url names, else the fleet's first canary.

    Args:
        invocation: What was said on the command line.
        fleet: The fleet's name.
        purpose: Shown in `pg_stat_activity`.

    Raises:
        InvalidInputError: There is no such fleet.
        DatabaseError: It cannot be reached.
    """
    if invocation.environment or invocation.url:
        access, target = invocation.target()
    else:
        settings = fleet_named(invocation.config.fleets, fleet)
        schema = invocation.schema or invocation.config.schema
        found = discover_fleet(settings, default_schema=schema, environ=os.environ)
        access, target = default_control(found, environ=os.environ)
    with connect(access, target.database, purpose=purpose) as connection:
        yield connection
