"""A Slack of our own on loopback, as far as approvals need one, with the real one's habits.

Written after Slack's reference: arguments beyond its limits are refused as `invalid_blocks`; a trigger opens one form and
no second; the address of a socket holds a ticket that counts once; what a socket sends is sent again by nobody here, and
an envelope that is not acknowledged is the sender's loss.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from squizzle.postgres.secret import Secret
from squizzle.settings.approvals import SlackSettings

BOT_TOKEN = "xoxb-Planted-71c2"
APP_TOKEN = "xapp-Planted-9e04"
TICKET = "Planted-ticket-"
CHANNEL = "C0APPROVALS"
PEOPLE = {"U0ANNA01": "anna", "U0BEN001": "ben"}
LOST = -1
"""A fault: the request is carried out, and its answer is lost."""


@dataclass
class FakeSlack:
    """The workspace's state. `faults` are used up by the next requests of a method, one each."""

    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    told: list[tuple[str, str]] = field(default_factory=list)
    forms: list[dict[str, Any]] = field(default_factory=list)
    faults: dict[str, list[int]] = field(default_factory=dict)
    down: bool = False
    calls: list[str] = field(default_factory=list)
    triggers: set[str] = field(default_factory=set)
    tickets: set[str] = field(default_factory=set)
    acks: dict[str, dict[str, Any]] = field(default_factory=dict)
    acked: threading.Condition = field(default_factory=threading.Condition)
    sockets: list[ServerConnection] = field(default_factory=list)
    port: int = 0
    socket_port: int = 0
    bot_token: str = BOT_TOKEN
    app_token: str = APP_TOKEN
    ticket: str = TICKET
    """What the address of a socket has in it, which is a secret, too."""

    @property
    def settings(self) -> SlackSettings:
        return SlackSettings(
            channel=CHANNEL,
            bot_token=Secret(self.bot_token),
            app_token=Secret(self.app_token),
            people=PEOPLE,
            api_url=f"http://127.0.0.1:{self.port}/api/",
        )

    def press(self, action: str, message: dict[str, Any], *, person: str) -> None:
        """Somebody presses a button of a message."""
        (button,) = [
            one
            for block in message["blocks"]
            if block["type"] == "actions"
            for one in block["elements"]
            if one["action_id"].endswith(action)
        ]
        trigger = secrets.token_hex(8)
        self.triggers.add(trigger)
        pressed = {"type": "button", "action_id": button["action_id"], "value": button["value"]}
        self.send({"type": "block_actions", "user": {"id": person}, "trigger_id": trigger, "actions": [pressed]})

    def submit(self, form: dict[str, Any], *, person: str, **fields: str) -> dict[str, Any]:
        """Somebody fills in a form; returns what it is answered with."""
        values = {name: {name: {"type": "plain_text_input", "value": value}} for name, value in fields.items()}
        view = {**form, "state": {"values": values}}
        return self.send({"type": "view_submission", "user": {"id": person}, "view": view})

    def send(self, payload: dict[str, Any]) -> dict[str, Any]:
        """To a socket; waits until it is acknowledged and returns what came with that."""
        envelope = secrets.token_hex(8)
        message = {"type": "interactive", "envelope_id": envelope, "accepts_response_payload": True, "payload": payload}
        self.sockets[-1].send(json.dumps(message))
        with self.acked:
            assert self.acked.wait_for(lambda: envelope in self.acks, timeout=60), "not acknowledged"
        return dict(self.acks[envelope].get("payload") or {})

    def break_sockets(self) -> None:
        """Every connection ends without a word."""
        for one in self.sockets:
            one.close()
        self.sockets.clear()

    def talk(self, connection: ServerConnection) -> None:
        """One socket's life."""
        path = connection.request.path if connection.request else ""
        ticket = parse_qs(urlsplit(path).query).get("ticket", [""])[0]
        if ticket not in self.tickets:
            return
        self.tickets.remove(ticket)
        connection.send(json.dumps({"type": "hello", "num_connections": 1}))
        self.sockets.append(connection)
        with contextlib.suppress(ConnectionClosed):
            for text in connection:
                said = json.loads(text)
                with self.acked:
                    self.acks[said["envelope_id"]] = said
                    self.acked.notify_all()

    def answer(self, method: str, asked: dict[str, Any], token: str) -> dict[str, Any]:
        wanted = self.app_token if method == "apps.connections.open" else self.bot_token
        if token != f"Bearer {wanted}":
            return {"ok": False, "error": "invalid_auth"}
        return getattr(self, method.replace(".", "_"))(asked)  # type: ignore[no-any-return]

    def apps_connections_open(self, _asked: dict[str, Any]) -> dict[str, Any]:
        ticket = self.ticket + secrets.token_hex(8)
        self.tickets.add(ticket)
        return {"ok": True, "url": f"ws://127.0.0.1:{self.socket_port}/link/?ticket={ticket}"}

    def chat_postMessage(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - Slack's name
        if wrong := refused(asked["blocks"]):
            return {"ok": False, "error": "invalid_blocks", "response_metadata": {"messages": [wrong]}}
        timestamp = f"{1_700_000_000 + len(self.messages)}.000100"
        self.messages[timestamp] = {**asked, "ts": timestamp}
        return {"ok": True, "channel": asked["channel"], "ts": timestamp}

    def chat_update(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["ts"] not in self.messages:
            return {"ok": False, "error": "message_not_found"}
        if wrong := refused(asked["blocks"]):
            return {"ok": False, "error": "invalid_blocks", "response_metadata": {"messages": [wrong]}}
        self.messages[asked["ts"]] |= asked
        return {"ok": True, "ts": asked["ts"]}

    def chat_postEphemeral(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - Slack's name
        self.told.append((asked["user"], asked["text"]))
        return {"ok": True}

    def conversations_history(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = [one for one in self.messages.values() if one["channel"] == asked["channel"]]
        if not asked.get("include_all_metadata"):
            found = [{name: value for name, value in one.items() if name != "metadata"} for one in found]
        return {"ok": True, "messages": found[::-1]}

    def views_open(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["trigger_id"] not in self.triggers:
            return {"ok": False, "error": "invalid_trigger_id"}
        self.triggers.remove(asked["trigger_id"])
        view = asked["view"]
        if refused(view["blocks"]) or len(view["private_metadata"]) > 3000 or len(view["title"]["text"]) > 24:
            return {"ok": False, "error": "invalid_arguments"}
        self.forms.append(view)
        return {"ok": True, "view": view}


def refused(blocks: list[dict[str, Any]]) -> str:
    """What Slack would say against these blocks; empty for nothing."""
    if len(blocks) > 50 or sum(len(one["text"]) for one in blocks if one["type"] == "markdown") > 12_000:
        return "too long"
    for block in blocks:
        most = {"header": 150, "section": 3000}.get(block["type"])
        fields = block.get("fields", [])
        if len(fields) > 10 or any(not 0 < len(one["text"]) <= 2000 for one in fields):
            return "a section has at most 10 fields of 1 to 2000 characters"
        if most and not fields and not 0 < len(block["text"]["text"]) <= most:
            return f"{block['type']} must have 1 to {most} characters"
        for element in block.get("elements", ()):
            if len(str(element.get("value", ""))) > 2000:
                return "value must not have more than 2000 characters"
    return ""


class _Web(ThreadingHTTPServer):
    def __init__(self, slack: FakeSlack) -> None:
        self.slack = slack
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Web

    def do_POST(self) -> None:
        slack, method = self.server.slack, urlsplit(self.path).path.removeprefix("/api/")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        is_json = "json" in (self.headers.get("Content-Type") or "")
        asked = json.loads(body or "{}") if is_json else {name: one[0] for name, one in parse_qs(body).items()}
        slack.calls.append(method)
        fault = (slack.faults.get(method) or [0]).pop(0)
        if slack.down or fault not in {0, LOST}:
            status = 503 if slack.down else fault
            self._send(status, {"ok": False, "error": "ratelimited" if status == 429 else "service_unavailable"})
            return
        answer = slack.answer(method, asked, self.headers.get("Authorization") or "")
        if fault == LOST:
            self.close_connection = True
            self.connection.close()
            return
        self._send(200, answer)

    def _send(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if status == 429:
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def fake_slack() -> Iterator[FakeSlack]:
    """One that runs, on free ports."""
    slack = FakeSlack()
    with _Web(slack) as web, serve(slack.talk, "127.0.0.1", 0) as sockets:
        slack.port, slack.socket_port = web.server_address[1], _port(sockets)
        threads = [
            threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.05}),
            threading.Thread(target=sockets.serve_forever),
        ]
        for thread in threads:
            thread.start()
        try:
            yield slack
        finally:
            slack.break_sockets()
            web.shutdown()
            sockets.shutdown()
            for thread in threads:
                thread.join()


def _port(server: Server) -> int:
    return int(server.socket.getsockname()[1])
