"""What there is of a cluster, told from its folder and its processes."""

from __future__ import annotations

from enum import StrEnum

from .layout import Layout, names_in
from .server import running_server


class ClusterStatus(StrEnum):
    """What there is of a cluster.

    Foreign is a folder of its name that is none of ours; nothing here touches it. Half-made is one that is being made
    or destroyed right now, or was left by a process that was killed while it did.
    """

    MISSING = "missing"
    FOREIGN = "foreign"
    HALF_MADE = "half_made"
    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"

    @property
    def words(self) -> str:
        """The status for a sentence."""
        return self.value.replace("_", "-")


def status_of(layout: Layout) -> ClusterStatus:
    """Looks at a cluster; needs no lock and changes nothing.

    Args:
        layout: The cluster.
    """
    names = names_in(layout.folder)
    if names <= {layout.lock.name}:
        # The lock comes before the marker, and goes after it.
        return ClusterStatus.MISSING
    if layout.marker.name not in names:
        return ClusterStatus.FOREIGN
    if layout.data.name not in names:
        return ClusterStatus.HALF_MADE
    server = running_server(layout.data)
    if server is None:
        return ClusterStatus.STOPPED
    if server.accepts_connections:
        return ClusterStatus.RUNNING
    return ClusterStatus.STOPPING if server.phase == "stopping" else ClusterStatus.STARTING
