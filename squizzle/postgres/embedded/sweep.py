"""Removes the clusters of processes that died before they could."""

from __future__ import annotations

import logging

from squizzle.errors import EmbeddedServerError

from .cluster import Cluster, is_cluster_name
from .layout import names_in
from .runtime import Runtime

_log = logging.getLogger(__name__)


def sweep_abandoned(runtime: Runtime, prefix: str) -> tuple[str, ...]:
    """Stops and removes the clusters whose owner is dead.

    Those whose owner lives, those that were ever started to last, and folders that are none of ours are not touched.
    One that cannot be removed is logged and left for the next time: a leftover must not keep others from working.

    Args:
        runtime: Whose base folder to look through.
        prefix: What the names of the clusters begin with.

    Returns:
        The names of the clusters removed, in alphabetical order.
    """
    names = sorted(name for name in names_in(runtime.base) if name.startswith(prefix) and is_cluster_name(name))
    return tuple(name for name in names if _is_swept(runtime, name))


def _is_swept(runtime: Runtime, name: str) -> bool:
    try:
        return Cluster(runtime, name).destroy_if_abandoned()
    except (OSError, EmbeddedServerError) as error:
        _log.warning("The abandoned embedded cluster %s could not be removed: %s", name, error)
        return False
