"""Calls of Slack's Web API, with its refusals in our words. Tokens are in no message and in no log."""

from __future__ import annotations

import http.client
import logging
from typing import Any
from urllib.error import URLError

from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web import WebClient

from squizzle.errors import CloudBusyError, CloudError, CloudUnavailableError, InvalidInputError
from squizzle.postgres.secret import Secret

# What the library writes when it is asked for more has addresses with tickets in it.
LIBRARY_LOG = logging.getLogger("squizzle.slack.library")
LIBRARY_LOG.setLevel(logging.CRITICAL)
_TIMEOUT_S = 15
_TOKENS = frozenset({"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired"})
_BUSY = frozenset({"ratelimited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"})
_GONE = frozenset({"message_not_found", "cant_update_message", "channel_not_found", "is_archived", "thread_not_found"})
_SERVER_FAULT = 500


class MessageGoneError(CloudError):
    """The message, or its channel, was deleted in Slack."""


class SlackWeb:
    """One workspace. Every call raises CloudError where Slack does not answer, or says no.

    Args:
        token: The bot's.
        api_url: Where the Web API is.
    """

    def __init__(self, token: Secret, api_url: str) -> None:
        # Retries of its own would post twice: what became of a request that was not answered, only history says.
        self.client = WebClient(
            token=token.reveal(), base_url=api_url, timeout=_TIMEOUT_S, logger=LIBRARY_LOG, retry_handlers=[]
        )

    def call(self, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """One call, tried once.

        Raises:
            CloudBusyError: Slack asks to wait.
            MessageGoneError: The message, its thread or its channel was deleted.
            InvalidInputError: Slack does not take the token.
            CloudError: Anything else.
        """
        try:
            response = self.client.api_call(method, json=arguments)
        except SlackApiError as exc:
            raise refused(method, exc) from None
        except (URLError, OSError, http.client.HTTPException, SlackClientError) as exc:
            reason = getattr(exc, "reason", None) or type(exc).__name__
            raise CloudUnavailableError(
                f"Slack does not answer {method}: {reason}",
                hint="check whether this machine may reach slack.com; the same is tried again",
            ) from None
        return dict(response.data) if isinstance(response.data, dict) else {}


def refused(method: str, exc: SlackApiError) -> CloudError | InvalidInputError:
    """What Slack says against a call, in our words."""
    response = exc.response
    said = response.get("error", "") if not isinstance(response.data, bytes) else ""
    code = str(said or f"status {response.status_code}")
    if code in _TOKENS:
        which = "app" if method == "apps.connections.open" else "bot"
        return InvalidInputError(
            f"Slack does not take the {which}'s token: {code}", hint="make a new one at api.slack.com/apps"
        )
    if response.status_code == http.client.TOO_MANY_REQUESTS or code in _BUSY or response.status_code >= _SERVER_FAULT:
        wait = response.headers.get("Retry-After") or response.headers.get("retry-after") or 0
        return CloudBusyError(
            f"Slack is busy: {method} answers {code}",
            wait_s=float(wait),
            hint="it is tried again when Slack has asked to",
        )
    if code in _GONE:
        return MessageGoneError(f"Slack answers {method} with {code}")
    needed = f" (it needs the scope {response['needed']})" if response.get("needed") else ""
    return CloudError(
        f"Slack answers {method} with {code}{needed}", hint="docs/approvals.md says what the app and the bot need"
    )
