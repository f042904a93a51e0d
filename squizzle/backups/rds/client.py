"""Opening boto3's clients for one instance: region, credentials, a role to take on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import botocore.session
from boto3 import Session
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)

from squizzle.backups.rds.access import RdsAccess
from squizzle.backups.rds.failures import CLOUD_ERRORS, translated
from squizzle.disturbance import disturb_client
from squizzle.errors import CloudError

_CONNECT_S = 10
_READ_S = 60
# One attempt: `patiently` repeats, it knows the deadline and what may be repeated.
_CONFIG = Config(
    connect_timeout=_CONNECT_S, read_timeout=_READ_S, retries={"total_max_attempts": 1}, user_agent_extra="squizzle"
)
_ROLE_SESSION = "squizzle"


@dataclass(frozen=True, kw_only=True, slots=True)
class RdsClients:
    """Clients of boto3; their types are its own.

    Attributes:
        rds: For instances and snapshots.
        cloudwatch: For free space.
    """

    rds: Any
    cloudwatch: Any


def open_rds(access: RdsAccess) -> RdsClients:
    """Make the clients. Nothing is asked yet.

    Raises:
        CloudError: No Region, or the profile cannot be used.
    """
    return RdsClients(rds=open_client(access, "rds"), cloudwatch=open_client(access, "cloudwatch"))


def open_client(access: RdsAccess, service: str) -> Any:
    """A client of boto3 for any service, with one attempt for each call. Nothing is asked yet.

    Raises:
        CloudError: No Region, or the profile cannot be used.
    """
    try:
        make: Any = _session(access).client  # its stubs know one signature for each service
        client = make(service, endpoint_url=access.endpoint, config=_CONFIG)
    except CLOUD_ERRORS as exc:
        raise translated(exc, "open the clients of AWS") from exc
    except ValueError as exc:  # boto3 says so of an endpoint that is no address
        raise CloudError("the endpoint or the Region cannot be used", hint="write https://host:port") from exc
    disturb_client(client, service)
    return client


def _session(access: RdsAccess) -> Session:
    session = Session(
        aws_access_key_id=access.access_key,
        aws_secret_access_key=access.secret_key,
        aws_session_token=access.session_token,
        region_name=access.region,
    )
    if access.role is None:
        return session
    # Not the plain call of STS: its credentials end after an hour at most, a snapshot may take longer.
    core = botocore.session.Session()
    core.register_component("credential_provider", CredentialResolver([_Role(session, access.role, access.endpoint)]))
    return Session(botocore_session=core, region_name=session.region_name)


class _Role(CredentialProvider):
    """Credentials of a role, taken on anew before they end."""

    METHOD = "assume-role"
    CANONICAL_NAME = "squizzle-role"

    def __init__(self, session: Session, role: str, endpoint: str | None) -> None:
        super().__init__()
        self._session = session
        self._role = role
        self._endpoint = endpoint

    def load(self) -> DeferredRefreshableCredentials:
        """The credentials; STS is asked when they are first used."""
        fetcher = AssumeRoleCredentialFetcher(
            client_creator=self._client,
            source_credentials=self._session.get_credentials(),
            role_arn=self._role,
            extra_args={"RoleSessionName": _ROLE_SESSION},
        )
        return DeferredRefreshableCredentials(method=self.METHOD, refresh_using=fetcher.fetch_credentials)

    def _client(self, service: str, **arguments: Any) -> Any:
        make: Any = self._session.client  # its stubs know one signature for each service
        return make(service, endpoint_url=self._endpoint, config=_CONFIG, **arguments)
