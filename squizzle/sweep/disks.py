"""How full the disks of a fleet's servers are, where somebody can tell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from squizzle.rollout.bounded import each_bounded
from squizzle.rollout.deadlines import Deadlines
from squizzle.rollout.disk import AskCloud, FreeSpace, free_space
from squizzle.rollout.reaching import Reach
from squizzle.rollout.records import Fleet
from squizzle.settings.fleets import FleetServer, FleetSettings
from squizzle.sweep.own_rules import disk_unknown
from squizzle.sweep.records import TargetHealth


def no_cloud(host: str) -> FreeSpace | None:  # noqa: ARG001
    """Nobody is asked."""
    return None


def look_at_disks(
    fleet: Fleet,
    settings: FleetSettings,
    reach: Reach,
    deadlines: Deadlines,
    ask_cloud: AskCloud,
    servers: Collection[str],
) -> dict[str, FreeSpace]:
    """What is free at servers, where somebody can tell or was named to. Nothing is changed.

    Args:
        fleet: Whose servers; one that is not in there has no question of its own.
        settings: How many are asked at the same time, and how long each may take.
        reach: How they are reached.
        deadlines: Who cuts a session that takes too long.
        ask_cloud: Asks a cloud about a host.
        servers: Names of those that answered.
    """

    def look(name: str) -> FreeSpace | None:
        server = fleet.servers.get(name) or FleetServer(name=name)
        asked: list[FreeSpace | None] = []

        def ask(host: str) -> FreeSpace | None:
            asked.append(ask_cloud(host))
            return asked[0]

        access, database = reach.home(name)
        space = free_space(server, access, database, deadlines, settings.deadline, ask)
        # Where nobody was asked to know, nobody has to.
        is_told = space.free_bytes is not None or server.free_bytes_query is not None or any(asked)
        return space if is_told else None

    found = each_bounded(servers, look, place=lambda name: name, concurrency=settings.concurrency, per_place=1)
    return {name: space for name, space in found if space is not None}


def with_disks(found: Sequence[TargetHealth], disks: Mapping[str, FreeSpace]) -> list[TargetHealth]:
    """What was found, with what is free at each target's server. Pure.

    Where only free bytes are told, the databases that were looked at are taken for all that lies there: the disk is at
    least that big, so that too much is called free rather than too little.

    Args:
        found: What was found at the targets.
        disks: By server: of those where somebody can tell, or should be able to.
    """
    sizes: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for one in found:
        sizes[one.target.server][one.target.database] = int(one.metrics.get("size_bytes") or 0)
    held = {server: sum(databases.values()) for server, databases in sizes.items()}
    return [_with_disk(one, disks.get(one.target.server), held[one.target.server]) for one in found]


def _with_disk(health: TargetHealth, space: FreeSpace | None, held: int) -> TargetHealth:
    if space is None or not health.is_reached:
        return health
    if space.free_bytes is None:
        return replace(health, results=(*health.results, *disk_unknown(space.told_by)))
    total = space.total_bytes or space.free_bytes + held
    free_pct = 100.0 * space.free_bytes / total if total else None
    return replace(health, metrics={**health.metrics, "disk_free_bytes": space.free_bytes, "disk_free_pct": free_pct})
