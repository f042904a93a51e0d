"""The instance of Amazon RDS that a verb works on: which one, and how to reach it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from squizzle.backups.rds.access import HostKind, RdsAccess, chosen_instance, read_host
from squizzle.backups.records import Backup
from squizzle.backups.space import refuse_without_rds_room, restore_need
from squizzle.cli.options import Invocation
from squizzle.cli.output import say
from squizzle.errors import CloudError
from squizzle.postgres.access import ServerAccess

if TYPE_CHECKING:
    from squizzle.backups.rds.records import SnapshotProgress
    from squizzle.backups.rds.snapshot_source import SnapshotSource

_EVERY_S = 30.0


def snapshot_source(invocation: Invocation, access: ServerAccess, instance: str | None) -> SnapshotSource:
    """The instance that the database is on. Nothing is asked yet.

    Args:
        invocation: With squizzle.toml, whose environment may name the instance.
        access: Whose host's name may say it.
        instance: As the command says; None when it does not.

    Raises:
        InvalidInputError: Nothing says which instance, or it is a cluster.
    """
    from squizzle.backups.rds.instance import InstanceSnapshots  # noqa: PLC0415 - boto3 costs 200 ms

    environment = invocation.config.environments.get(invocation.environment or "")
    name, region = chosen_instance(
        said=instance or (environment.rds_instance if environment else None),
        region=environment.rds_region if environment else None,
        host=access.host,
    )
    return InstanceSnapshots(RdsAccess(region=region), name, tell=_Signs())


def refuse_without_room(invocation: Invocation, access: ServerAccess, backup: Backup) -> None:
    """Refuse to restore to a server that is an instance of RDS without room for it; any other server is not asked.

    Raises:
        InvalidInputError: There is no room; nothing was begun.
    """
    if instance_of(invocation, access) is None:
        return
    source = snapshot_source(invocation, access, None)
    try:
        space = source.space()
    except CloudError as exc:
        say(f"could not tell whether there is room: {exc.message}; {exc.hint}")
        return
    say(refuse_without_rds_room(space, restore_need(backup), source.name))


def instance_of(invocation: Invocation, access: ServerAccess) -> tuple[str, RdsAccess] | None:
    """The instance that a database is on, where squizzle.toml or the host's name says that it is on one; else None."""
    environment = invocation.config.environments.get(invocation.environment or "")
    host = read_host(access.host)
    is_named = environment is not None and environment.rds_instance is not None
    if not is_named and (host is None or host.kind is not HostKind.INSTANCE):
        return None
    name, region = chosen_instance(
        said=environment.rds_instance if environment else None,
        region=environment.rds_region if environment else None,
        host=access.host,
    )
    return name, RdsAccess(region=region)


class _Signs:
    """A line on standard error whenever the state changes, and now and then while it does not."""

    def __init__(self) -> None:
        self._last = ""
        self._next = 0.0

    def __call__(self, progress: SnapshotProgress) -> None:
        """Say how far it is, if it is time."""
        now = time.monotonic()
        if progress.status == self._last and now < self._next:
            return
        self._last, self._next = progress.status, now + _EVERY_S
        percent = "" if progress.percent is None else f", {progress.percent} %"
        say(f"{progress.elapsed.total_seconds():.0f} s, waiting for {progress.doing}: {progress.status}{percent}")
