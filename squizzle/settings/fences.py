"""What is said about fences, in `squizzle.toml` (`[fences.NAME]`) or in a block.

Imported by every verb, so it imports little itself; and it is no part of recovery, which knows the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from squizzle.postgres.access import ServerAccess, parse_url
from squizzle.postgres.secret import Secret
from squizzle.settings.reader import Reader, variable_of

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


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedFence:
    """`[fences.NAME]`, with the names of variables where secrets will come from.

    Attributes:
        name: What `--fence` and environments call it.
        settings: Without secrets; a PgBouncer without a database of its own has an empty one.
        password_env: The variable that holds the password of PgBouncer's console.
        secrets: Variables whose values are masked in what programs write.
    """

    name: str
    settings: FenceSettings
    password_env: str | None = None
    secrets: tuple[str, ...] = ()


def read_fence(reader: Reader, name: str, value: object, folder: Path) -> NamedFence:
    """One section; nothing is connected, and no variable is read.

    Args:
        reader: Of the file.
        name: The section's.
        value: The section.
        folder: The file's, which paths are seen from.

    Raises:
        InvalidInputError: A setting is missing, unknown or wrong.
    """
    where = f"fences.{name}"
    section = reader.section(value, where)
    kind = reader.text(section, where, "kind")
    match kind:
        case "kubernetes":
            fence = NamedFence(name=name, settings=_kubernetes(reader, section, where, folder))
        case "pgbouncer":
            password = reader.text(section, where, "password_env")
            fence = NamedFence(name=name, settings=_pgbouncer(reader, section, where), password_env=password)
        case "command":
            secrets = reader.texts(section, where, "secrets")
            fence = NamedFence(name=name, settings=_command(reader, section, where, name), secrets=secrets)
        case _:
            reader.complain(f"{where}.kind", "must be one of kubernetes, pgbouncer, command")
    reader.nothing_left(section, where)
    return fence


def _kubernetes(reader: Reader, section: dict[str, object], where: str, folder: Path) -> KubernetesSettings:
    deployment = reader.text(section, where, "deployment")
    statefulset = reader.text(section, where, "statefulset")
    if (deployment is None) == (statefulset is None):
        reader.complain(where, "give either deployment or statefulset")
    kubeconfig = reader.text(section, where, "kubeconfig")
    return KubernetesSettings(
        namespace=_needed(reader, section, where, "namespace"),
        name=deployment or statefulset or "",
        workload="deployment" if deployment else "statefulset",
        kubeconfig=folder / Path(kubeconfig).expanduser() if kubeconfig else None,
        context=reader.text(section, where, "context"),
        pods_gone=reader.duration(section, where, "pods_gone", KubernetesSettings(namespace="", name="").pods_gone),
    )


def _pgbouncer(reader: Reader, section: dict[str, object], where: str) -> PgBouncerSettings:
    access, console = parse_url(_needed(reader, section, where, "url"))
    if access.password is not None:
        reader.complain(f"{where}.url", "holds a password; name password_env instead")
    if console != CONSOLE:
        reader.complain(f"{where}.url", f"must end with /{CONSOLE}, which is PgBouncer's console")
    return PgBouncerSettings(
        access=access,
        database=reader.text(section, where, "database") or "",
        patience=reader.duration(section, where, "patience", PgBouncerSettings(access=access, database="").patience),
    )


def _command(reader: Reader, section: dict[str, object], where: str, name: str) -> CommandSettings:
    close, again = (reader.texts(section, where, key) for key in ("close", "open"))
    if not close or not again:
        reader.complain(where, "needs close and open: lists of a program and its arguments")
    default = CommandSettings(name="", close=(), open=()).timeout
    timeout = reader.duration(section, where, "timeout", default)
    return CommandSettings(name=name, close=close, open=again, timeout=timeout)


def _needed(reader: Reader, section: dict[str, object], where: str, key: str) -> str:
    return reader.text(section, where, key) or reader.complain(f"{where}.{key}", "is missing")


def resolve_fence(fence: NamedFence, database: str, *, environ: Mapping[str, str]) -> FenceSettings:
    """The settings of a fence with its secrets.

    Args:
        fence: The section.
        database: The database that is fenced, for a PgBouncer that names none of its own.
        environ: Where secrets are.

    Raises:
        InvalidInputError: A variable is not set.
    """
    needs = f"fence {fence.name!r}"
    match fence.settings:
        case PgBouncerSettings() as settings:
            access = settings.access
            if fence.password_env:
                access = replace(access, password=Secret(variable_of(fence.password_env, needs, environ)))
            return replace(settings, access=access, database=settings.database or database)
        case CommandSettings() as settings:
            pairs = tuple((name, Secret(variable_of(name, needs, environ))) for name in fence.secrets)
            return replace(settings, environment=pairs)
        case settings:
            return settings
