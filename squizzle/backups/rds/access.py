"""How to reach RDS, and what the name of a host says about it. Knows nothing of boto3."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

from squizzle.errors import InvalidInputError

# The name, a part that is the account's and the Region's own, the Region (Amazon RDS User Guide, "Finding the
# connection information"); in China the Region comes last.
_HOST = re.compile(
    r"(?P<name>[a-z][a-z0-9-]*)\.(?P<account>[a-z0-9-]+)\."
    r"(?:(?P<region>[a-z0-9-]+)\.rds\.amazonaws\.com|rds\.(?P<china>[a-z0-9-]+)\.amazonaws\.com\.cn)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RdsAccess:
    """How to reach RDS.

    Attributes:
        region: Such as `eu-central-1`; None for boto3's own search (environment, profile).
        endpoint: Another address than AWS's, for tests; None for AWS.
        role: ARN of a role to take on; None for none.
        access_key: With `secret_key`, instead of boto3's own search (environment, profile, role of the machine).
        secret_key: Never shown.
        session_token: Of temporary credentials; never shown.

    Raises:
        InvalidInputError: Half of the credentials are missing.
    """

    region: str | None = None
    endpoint: str | None = None
    role: str | None = None
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if bool(self.access_key) != bool(self.secret_key):
            raise InvalidInputError("half of the credentials are missing", hint="give both keys, or neither")


class HostKind(StrEnum):
    """What answers at a host of RDS."""

    INSTANCE = "instance"
    CLUSTER = "cluster"
    PROXY = "proxy"


@dataclass(frozen=True, kw_only=True, slots=True)
class RdsHost:
    """What the name of a host of RDS says.

    Attributes:
        kind: What answers there.
        name: Of the instance, the cluster or the proxy.
        region: Such as `eu-central-1`.
    """

    kind: HostKind
    name: str
    region: str


def read_host(host: str) -> RdsHost | None:
    """What a host's name says; None when it is none of RDS (an address, a name of one's own, a socket). Pure."""
    found = _HOST.fullmatch(host.lower().rstrip("."))
    if found is None:
        return None
    account = found["account"]
    kind = HostKind.INSTANCE
    if account.startswith("cluster-"):  # also cluster-ro- and cluster-custom-
        kind = HostKind.CLUSTER
    elif account.startswith("proxy-"):
        kind = HostKind.PROXY
    return RdsHost(kind=kind, name=found["name"], region=found["region"] or found["china"])


def chosen_instance(*, said: str | None, region: str | None, host: str) -> tuple[str, str | None]:
    """Which instance is meant, and its Region: what somebody said, else what the host's name says. Pure.

    Args:
        said: By the command or in squizzle.toml; None for nothing.
        region: The same for the Region.
        host: Where the database is reached.

    Raises:
        InvalidInputError: Nobody said, and the host's name says something else or nothing.
    """
    found = read_host(host)
    if said:
        return said.lower(), region or (found.region if found else None)
    if found is None:
        raise InvalidInputError(
            f"no instance of RDS is named, and the host {host or '(default)'} is none of RDS",
            hint="give --instance NAME, or write rds_instance to the environment in squizzle.toml",
        )
    if found.kind is HostKind.CLUSTER:
        raise InvalidInputError(
            f"{found.name} is a cluster; Squizzle takes snapshots of instances alone",
            hint=f"`aws rds create-db-cluster-snapshot --db-cluster-identifier {found.name}` saves the cluster,"
            " or take a `full` backup",
        )
    if found.kind is HostKind.PROXY:
        raise InvalidInputError(
            f"{found.name} is a proxy, and its name does not say for which instance",
            hint="give --instance NAME, or write rds_instance to the environment in squizzle.toml",
        )
    return found.name, region or found.region
