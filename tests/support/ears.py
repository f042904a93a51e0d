"""Servers on loopback that hear what notifications send: HTTP and SMTP, each with faults that are used up in order."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

HANGS = -1
"""A fault: no answer until the test ends."""


@dataclass
class HttpEar:
    """What was posted, when, and what the next posts are answered with: a status, or `HANGS`."""

    posts: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    faults: list[int] = field(default_factory=list)
    answer: dict[str, Any] = field(default_factory=dict)
    retry_after: str = "0"
    port: int = 0
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.posts]


@contextlib.contextmanager
def http_ear() -> Iterator[HttpEar]:
    ear = HttpEar()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            fault = ear.faults.pop(0) if ear.faults else 202
            if fault == HANGS:
                ear.released.wait(60)
                return
            ear.posts.append((self.path, dict(self.headers), body))
            ear.at.append(time.monotonic())
            self.send_response(fault)
            if fault == 429:
                self.send_header("Retry-After", ear.retry_after)
            if fault == 302:
                self.send_header("Location", f"{ear.url}/elsewhere")
            self.end_headers()
            self.wfile.write(json.dumps(ear.answer).encode())

        def log_message(self, *_arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        ear.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield ear
        finally:
            ear.released.set()
            server.shutdown()
            thread.join()


@dataclass
class MailEar:
    """What was mailed: envelope's recipients and the message. `faults`: a reply to the next MAIL, each once."""

    mails: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    password: str | None = None
    tls: ssl.SSLContext | None = None
    port: int = 0


@contextlib.contextmanager
def mail_ear(*, password: str | None = None, tls: ssl.SSLContext | None = None) -> Iterator[MailEar]:
    """A mail server; with `tls` it offers STARTTLS, with a password it wants a login (after TLS, if there is any)."""
    ear = MailEar(password=password, tls=tls)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            _Conversation(ear, self).run()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        opened: list[ssl.SSLSocket] = []
        server.opened = opened  # type: ignore[attr-defined]
        ear.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield ear
        finally:
            server.shutdown()
            thread.join()
            for one in opened:
                one.close()


class _Conversation:
    """RFC 5321 as far as smtplib speaks it."""

    def __init__(self, ear: MailEar, handler: socketserver.StreamRequestHandler) -> None:
        self.ear, self.handler = ear, handler
        self.file = handler.rfile
        self.secure = False
        self.known = ear.password is None
        self.to: list[str] = []

    def say(self, line: str) -> None:
        self.handler.connection.sendall(line.encode() + b"\r\n")

    def run(self) -> None:
        self.say("220 ear ready")
        while line := self.file.readline():
            word, _, rest = line.decode().strip().partition(" ")
            if word.upper() == "QUIT":
                self.say("221 bye")
                return
            self.answer(word.upper(), rest)

    def encrypt(self, tls: ssl.SSLContext) -> None:
        raw = self.handler.connection
        wrapped = tls.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
        self.handler.connection = wrapped
        try:
            wrapped.do_handshake()
        except ssl.SSLError:
            # Whoever does not trust us has gone.
            self.file = cast("Any", io.BytesIO())
            return
        finally:
            self.handler.server.opened.append(wrapped)  # type: ignore[attr-defined]
        self.file = cast("Any", wrapped.makefile("rb"))
        self.secure = True

    def answer(self, word: str, rest: str) -> None:
        match word:
            case "EHLO":
                extra = ["STARTTLS"] if self.ear.tls and not self.secure else ["AUTH PLAIN"]
                self.say("\r\n".join(["250-ear", f"250 {extra[0]}"]))
            case "STARTTLS" if self.ear.tls:
                self.say("220 go ahead")
                self.encrypt(self.ear.tls)
            case "AUTH":
                _, user, password = base64.b64decode(rest.split()[1]).decode().split("\0")
                self.ear.logins.append((user, password))
                self.known = password == self.ear.password
                self.say("235 welcome" if self.known else "535 who are you?")
            case "MAIL" if self.ear.faults:
                self.say(self.ear.faults.pop(0))
            case "MAIL":
                self.to = []
                self.say("250 fine" if self.known else "530 log in first")
            case "RCPT":
                self.to.append(rest.partition("<")[2].partition(">")[0])
                self.say("550 nobody here" if self.to[-1].startswith("nobody") else "250 fine")
            case "DATA":
                self.say("354 go on")
                lines = list(iter(self.file.readline, b".\r\n"))
                message = message_from_bytes(b"".join(lines), policy=policy.default)
                self.ear.mails.append((self.to, cast("EmailMessage", message)))
                self.say("250 taken")
            case _:
                self.say("250 fine")
