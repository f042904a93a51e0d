"""A server that may be killed and started again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from squizzle.postgres.access import ServerAccess
from squizzle.postgres.embedded import Cluster, drill_settings, find_runtime


class Server:
    """An embedded server; after a crash it is started anew, and listens somewhere else."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.start()

    def start(self) -> None:
        """Start it, after a crash, too."""
        self.address = self.cluster.start(guarded=True)
        self.access = ServerAccess(host=str(self.address.socket_folder), port=self.address.port, user=self.address.user)

    @property
    def given(self) -> dict[str, Any]:
        """How to reach it, as JSON."""
        return {"host": self.access.host, "port": self.access.port, "user": self.access.user}


@contextmanager
def own_server(name: str, *, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server of one's own for the length of the block, with more settings than servers of drills have."""
    runtime = find_runtime()
    cluster = Cluster(runtime, f"tests-{name}-{os.getpid()}")
    try:
        # What was committed has to be there after a crash of the server; of the machine there is none.
        usual = drill_settings(runtime.major, throwaway=True) | {"synchronous_commit": "on"}
        cluster.create(usual | dict(settings or {}))
        yield Server(cluster)
    finally:
        cluster.destroy()
