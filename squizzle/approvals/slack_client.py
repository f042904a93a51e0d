"""Slack by slack-sdk: the Web API for messages, Socket Mode for answers. Tokens are in no message and in no log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.builtin.client import SocketModeClient
from slack_sdk.socket_mode.client import BaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web import WebClient

from squizzle.approvals.messages import Kept
from squizzle.approvals.slack_blocks import METADATA
from squizzle.errors import CloudUnavailableError
from squizzle.settings.approvals import SlackSettings
from squizzle.slack.text import Blocks
from squizzle.slack.web import LIBRARY_LOG, SlackWeb, refused

LOG = logging.getLogger("squizzle.slack")
# Enough to find a message that was posted right before the service was killed.
_LOOKED_THROUGH = 100
# So quickly a broken connection is noticed; as slack-sdk has it.
_PING_S = 5.0

# Gets what a button or a form sends; gives back what a form is answered with, None for nothing.
Interaction = Callable[[dict[str, Any]], dict[str, Any] | None]


class Slack:
    """One channel of one workspace. Every call raises CloudError where Slack does not answer, or says no."""

    def __init__(self, settings: SlackSettings) -> None:
        self.channel = settings.channel
        self._settings = settings
        self._web = SlackWeb(settings.bot_token, settings.api_url)

    def post(self, text: str, blocks: Blocks, key: str) -> str:
        """Post a message; returns its timestamp, by which it is known.

        Args:
            text: For notifications.
            blocks: What is shown.
            key: By which it is found again where the answer to this request is lost.
        """
        metadata = {"event_type": METADATA, "event_payload": {"key": key}}
        asked = {"channel": self.channel, "text": text, "blocks": blocks, "metadata": metadata, "unfurl_links": False}
        return str(self._web.call("chat.postMessage", asked)["ts"])

    def find(self, key: str) -> str:
        """The timestamp of a message that was posted and not noted; empty where there is none."""
        asked = {"channel": self.channel, "limit": _LOOKED_THROUGH, "include_all_metadata": True}
        for message in self._web.call("conversations.history", asked).get("messages", []):
            metadata = message.get("metadata") or {}
            if metadata.get("event_type") == METADATA and (metadata.get("event_payload") or {}).get("key") == key:
                return str(message["ts"])
        return ""

    def update(self, kept: Kept, text: str, blocks: Blocks) -> None:
        """Show something else in its place.

        Raises:
            MessageGoneError: Somebody deleted it.
        """
        asked = {"channel": kept.channel, "ts": kept.timestamp, "text": text, "blocks": blocks}
        self._web.call("chat.update", asked)

    def open_form(self, trigger: str, view: dict[str, Any]) -> None:
        """Show a form to whoever pressed a button, within three seconds of that."""
        self._web.call("views.open", {"trigger_id": trigger, "view": view})

    def tell(self, person: str, text: str) -> None:
        """Tell one person in the channel something that nobody else sees."""
        self._web.call("chat.postEphemeral", {"channel": self.channel, "user": person, "text": text})

    def listen(self, handle: Interaction) -> SlackSocket:
        """The connection by which buttons and forms come; use it as a context manager."""
        return SlackSocket(self._web.client, self._settings, handle)


class SlackSocket:
    """Socket Mode: a connection from here to Slack, so that nothing of ours listens to the internet."""

    def __init__(self, web: WebClient, settings: SlackSettings, handle: Interaction) -> None:
        self._handle = handle
        self._client = SocketModeClient(
            app_token=settings.app_token.reveal(), web_client=web, logger=LIBRARY_LOG, ping_interval=_PING_S
        )
        self._client.socket_mode_request_listeners.append(self._heard)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def connect(self) -> None:
        """Connect where we are not; a connection that breaks later is made anew by itself.

        Raises:
            InvalidInputError: Slack does not take the app's token.
            CloudError: Slack does not answer.
        """
        if self._client.is_connected():
            return
        try:
            self._client.connect_to_new_endpoint()
        except SlackApiError as exc:
            raise refused("apps.connections.open", exc) from None
        except Exception as exc:  # noqa: BLE001 - the library raises plain Exception where a handshake fails
            raise CloudUnavailableError(
                f"Slack's Socket Mode cannot be reached: {type(exc).__name__}",
                hint="the same is tried again; check the app's token and the way to wss-primary.slack.com",
            ) from None
        LOG.info("connected to Slack's Socket Mode")

    def _heard(self, client: BaseSocketModeClient, request: SocketModeRequest) -> None:
        # A form waits for its answer; a button only wants to know that it was heard.
        payload = request.payload
        is_form = request.type == "interactive" and payload.get("type") == "view_submission"
        answer: dict[str, Any] | None = None
        try:
            if not is_form:
                client.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id))
            if request.type == "interactive":
                answer = self._handle(payload)
        except Exception:
            LOG.exception("an answer from Slack failed; the run still waits, and Prefect's page takes it")
            return
        if is_form:
            client.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id, payload=answer))
