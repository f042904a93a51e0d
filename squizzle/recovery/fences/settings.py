"""What is said about fences, in `squizzle.toml` or in a block. Imported by every verb, so it imports little itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from squizzle.postgres.access import ServerAccess
from squizzle.postgres.secret import Secret

# The database under which PgBouncer is reached itself.
CONSOLE = "pgbouncer"


@dataclass(frozen=True, kw_only=True, slots=True)
class KubernetesSettings:
    """A Deployment or StatefulSet that is scaled to 0.

    Attributes:
        namespace: Where it is.
        name: What it is called.
        workload: `deployment` or `statefulset`.
        kubeconfig: A file; None for KUBECONFIG, the pod's own account, or `~/.kube/config`.
        kubeconfig_text: The content of such a file instead.
        context: Which one of the kubeconfig; None for its current one.
        pods_gone: How long its pods may take to go.
    """

    namespace: str
    name: str
    workload: str = "deployment"
    kubeconfig: Path | None = None
    kubeconfig_text: Secret | None = None
    context: str | None = None
    pods_gone: timedelta = timedelta(minutes=2)


@dataclass(frozen=True, kw_only=True, slots=True)
class PgBouncerSettings:
    """A database of a PgBouncer that is paused.

    Attributes:
        access: How to reach its console, as one of its `admin_users`.
        database: The database's name in PgBouncer.
        patience: How long transactions that are under way may take to end.
    """

    access: ServerAccess
    database: str
    patience: timedelta = timedelta(seconds=10)


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandSettings:
    """Two programs of the user's own, one that shuts something and one that opens it again.

    Attributes:
        name: What people call it.
        close: The program that shuts, and its arguments; no shell is between.
        open: The program that opens again.
        timeout: How long each may take.
        environment: Added to the environment; the values are masked in what the programs write.
    """

    name: str
    close: tuple[str, ...]
    open: tuple[str, ...]
    timeout: timedelta = timedelta(minutes=2)
    environment: tuple[tuple[str, Secret], ...] = field(default=())


FenceSettings = KubernetesSettings | PgBouncerSettings | CommandSettings
