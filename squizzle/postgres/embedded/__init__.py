"""PostgreSQL servers of our own: for drills, for rehearsals, for tests, for trying Squizzle out.

A `Runtime` says which binaries run under which account below which base folder. A `Cluster` is one data folder with
its server. Guarded, the server cannot outlive the process that started it; otherwise it lasts until it is stopped.
"""

from .cluster import Cluster
from .runtime import Runtime, find_runtime
from .server import ServerAddress
from .settings import DRILL_SETTINGS, FIRST_WITH_WAL_SUMMARIES, THROWAWAY_SETTINGS, drill_settings
from .status import ClusterStatus
from .sweep import sweep_abandoned
from .throwaway import throwaway_cluster

__all__ = [
    "DRILL_SETTINGS",
    "FIRST_WITH_WAL_SUMMARIES",
    "THROWAWAY_SETTINGS",
    "Cluster",
    "ClusterStatus",
    "Runtime",
    "ServerAddress",
    "drill_settings",
    "find_runtime",
    "sweep_abandoned",
    "throwaway_cluster",
]
