"""One call of a service of AWS, with what it says in our words."""

from __future__ import annotations

from typing import Any

from squizzle.backups.rds.access import RdsAccess
from squizzle.backups.rds.client import open_client
from squizzle.backups.rds.failures import CLOUD_ERRORS, translated

_SERVICES = {"sesv2": "Amazon SES", "sns": "Amazon SNS"}


def call_aws(
    service: str, method: str, arguments: dict[str, Any], *, region: str | None, endpoint: str | None
) -> dict[str, Any]:
    """Call once.

    Raises:
        CloudError: The service says no; CloudUnavailableError where another try may help.
    """
    client = open_client(RdsAccess(region=region, endpoint=endpoint), service)
    try:
        answer: dict[str, Any] = getattr(client, method)(**arguments)
    except CLOUD_ERRORS as exc:
        raise translated(exc, f"send by {_SERVICES[service]}", outcome="it was not sent") from None
    return answer
