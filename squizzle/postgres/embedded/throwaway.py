"""A server for the length of a `with` block."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from squizzle.errors import SquizzleError

from .cluster import Cluster
from .runtime import Runtime, find_runtime
from .server import ServerAddress
from .sweep import sweep_abandoned


@contextmanager
def throwaway_cluster(
    prefix: str,
    *,
    settings: Mapping[str, str],
    runtime: Runtime | None = None,
    from_template: bool = True,
) -> Iterator[ServerAddress]:
    """Makes and starts a cluster of its own, and stops and removes it afterwards, however the block ends.

    Leftovers of the same prefix, from processes that were killed, are removed first.

    Args:
        prefix: What the cluster's name begins with, such as "drill"; up to 20 small letters, digits, `-` and `_`.
        settings: Server settings, such as `drill_settings(runtime.major, throwaway=True)`.
        runtime: Binaries, base folder and account; found by default.
        from_template: As for `Cluster.create`: False where it must be told from every other cluster.

    Yields:
        The address of the running server.

    Raises:
        InvalidInputError: The prefix or a setting is unusable, or the base folder is not safely ours.
        EmbeddedServerError: The server could not be made, started or removed.
    """
    runtime = runtime or find_runtime()
    sweep_abandoned(runtime, f"{prefix}-")
    process = os.getpid()
    cluster = Cluster(runtime, f"{prefix}-{process}-{secrets.token_hex(3)}")
    try:
        cluster.create(settings, from_template=from_template)
        yield cluster.start(guarded=True)
    except BaseException as error:
        _destroy_after(cluster, process, error)
        raise
    if os.getpid() == process:
        cluster.destroy()


def _destroy_after(cluster: Cluster, process: int, error: BaseException) -> None:
    """Destroys the cluster without ever hiding why."""
    if os.getpid() != process:
        return  # a forked child unwinds through here too, and the server is its parent's
    try:
        cluster.destroy()
    except (OSError, SquizzleError) as second:
        error.add_note(f"Also, the embedded cluster {cluster.name} could not be removed: {second}")
