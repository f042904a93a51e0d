"""Posting a document to an address. The address may hold a secret, so it is in no message."""

from __future__ import annotations

import json
from collections.abc import Mapping

import httpx

from squizzle.errors import CloudBusyError, CloudError, CloudUnavailableError, InvalidInputError

_TIMEOUT = httpx.Timeout(15.0, connect=5.0)
_LONGEST_ANSWER = 300


def post(service: str, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> None:
    """Post once; redirects are not followed, for what is posted is meant for this address alone.

    Args:
        service: What it is, for messages.
        url: Where to.
        body: JSON.
        headers: More of them.

    Raises:
        CloudBusyError: It asks to wait.
        CloudUnavailableError: It does not answer, or is broken at the moment.
        InvalidInputError: The address is none.
        CloudError: It says no.
    """
    try:
        with httpx.Client(timeout=_TIMEOUT, follow_redirects=False) as client:
            response = client.post(url, content=body, headers={"Content-Type": "application/json", **(headers or {})})
    except httpx.InvalidURL:
        raise InvalidInputError(f"the address of {service} cannot be read", hint="write https://host/path") from None
    except httpx.TimeoutException as exc:
        raise CloudUnavailableError(
            f"{service} does not answer in time ({type(exc).__name__})",
            hint="the same is tried again; check whether this machine may reach it",
        ) from None
    except httpx.HTTPError as exc:
        raise CloudUnavailableError(
            f"{service} cannot be reached ({type(exc).__name__})",
            hint="check the address, and whether this machine may reach it",
        ) from None
    status = response.status_code
    if response.is_success:
        return
    if status == httpx.codes.TOO_MANY_REQUESTS:
        raise CloudBusyError(
            f"{service} asks to wait (429)",
            wait_s=wait_of(response.headers),
            hint="it is sent again later; fewer messages, or a higher limit there, where it stays so",
        )
    if response.is_server_error:
        raise CloudUnavailableError(
            f"{service} answers {status}",
            hint="the same is tried again; look at the service's status page where it stays so",
        )
    hint = {
        httpx.codes.UNAUTHORIZED: "check its key",
        httpx.codes.FORBIDDEN: "check its key",
        httpx.codes.NOT_FOUND: "check its address",
        httpx.codes.GONE: "check its address",
    }.get(httpx.codes(status) if status in set(httpx.codes) else httpx.codes.BAD_REQUEST, "check its settings")
    raise CloudError(f"{service} answers {status}{_said(response)}", hint=hint)


def wait_of(headers: Mapping[str, str]) -> float:
    """The seconds of `Retry-After`; 0 where there is none, or it is a date."""
    try:
        return max(0.0, float(headers.get("retry-after", "0")))
    except ValueError:
        return 0.0


def _said(response: httpx.Response) -> str:
    """The message of a JSON answer: other pages are long, and may repeat what was sent."""
    try:
        answer = json.loads(response.content[:10_000])
    except ValueError:
        return ""
    said = answer.get("message") if isinstance(answer, dict) else None
    return f": {said[:_LONGEST_ANSWER]}" if isinstance(said, str) else ""
