"""Stops the server process of a cluster."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from datetime import timedelta
from typing import Literal

from squizzle.errors import EmbeddedServerError

from .layout import Layout
from .ownership import Ownership
from .server import PidFile, is_postmaster, running_server

_POLL_S = 0.005

_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
"""What they mean to a postmaster (manual, 18.5)."""

_ENDING_S = 10.0
"""Told to stop at once, PostgreSQL kills its own processes after five seconds."""


def stop_server(
    layout: Layout,
    owner: Ownership,
    mode: Literal["fast", "immediate"],
    *,
    patience: timedelta,
) -> None:
    """Stops the server that runs on a cluster's data folder, if one does, and waits until it is gone.

    Args:
        layout: The cluster.
        owner: What we hold of it; without a guardian afterwards.
        mode: As for `Cluster.stop`.
        patience: How long it may take before it becomes an immediate stop.

    Raises:
        EmbeddedServerError: It does not end.
    """
    server = running_server(layout.data)
    if (
        server is not None
        and not _stops(layout, owner, server, mode, patience.total_seconds())
        and not _stops(layout, owner, server, "immediate", _ENDING_S)
    ):
        raise EmbeddedServerError(
            f"the embedded server {layout.folder.name} (process {server.pid}) does not end",
            command="postgres",
            hint=f"Look at its log, {layout.log}, and at what the process waits for.",
        )
    owner.bury_guardian()


def _stops(
    layout: Layout,
    owner: Ownership,
    server: PidFile,
    mode: Literal["fast", "immediate"],
    patience_s: float,
) -> bool:
    # Through the guardian when there is one: it is the parent, so that the number cannot have become another process.
    if owner.guardian is None or not owner.guardian.order(mode):
        with suppress(ProcessLookupError):
            os.kill(server.pid, _SIGNALS[mode])
    deadline = time.monotonic() + patience_s
    while is_postmaster(server.pid, layout.data):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True
