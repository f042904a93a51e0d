"""A proxy in front of an S3 server on loopback that breaks chosen requests or answers, as networks and services do."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Fault(Enum):
    ERROR_500 = auto()
    SLOW_DOWN = auto()
    EXPIRED = auto()
    SILENCE = auto()  # no answer before the client's patience ends
    DAMAGED_BODY = auto()  # one bit of what is sent
    RESET = auto()  # the connection ends before anything is answered
    LOST_ANSWER = auto()  # done, but nobody hears of it
    TORN_ANSWER = auto()  # 200, and the connection breaks in the middle of the body
    OTHER_CHECKSUM = auto()  # done, with the checksum of something else


_ERRORS = {
    Fault.ERROR_500: (500, "InternalError"),
    Fault.SLOW_DOWN: (503, "SlowDown"),
    Fault.EXPIRED: (400, "ExpiredToken"),
}
_HOPS = {"connection", "transfer-encoding", "expect"}
_CHECKSUM = "x-amz-checksum-sha256"
_WRONG = "A" * 43 + "="


@dataclass
class Faults:
    """What shall break: requests of a method whose address holds a text, so many times."""

    endpoint: str
    fault: Fault | None = None
    method: str = ""
    holding: str = ""
    times: int = 0
    met: int = 0
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)

    def plan(self, fault: Fault, method: str, holding: str, *, times: int) -> None:
        self.fault, self.method, self.holding, self.times, self.met = fault, method, holding, times, 0
        self.seen.clear()

    def next(self, method: str, path: str) -> Fault | None:
        with self.lock:
            if method != self.method or self.holding not in path or self.met >= self.times:
                return None
            self.met += 1
            return self.fault


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, behind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = urlsplit(behind).netloc
        self.faults = Faults(endpoint=f"http://127.0.0.1:{self.server_address[1]}")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Proxy

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, ValueError):  # one of the two hung up, as it should
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has
        pass

    def relay(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.faults.seen.append((self.command, self.path, headers))
        fault = self.server.faults.next(self.command, self.path)
        if fault in _ERRORS:
            status, code = _ERRORS[fault]
            return self.answer(status, [], f"<Error><Code>{code}</Code></Error>".encode())
        if fault is Fault.SILENCE:
            self.server.faults.over.wait(30)
        if fault in {Fault.RESET, Fault.SILENCE}:
            return self.hang_up()
        if fault is Fault.DAMAGED_BODY:
            body = body[:-1] + bytes([body[-1] ^ 1])
        status, headers, content = self.ask(body)
        if fault is Fault.LOST_ANSWER:
            return self.hang_up()
        if fault is Fault.OTHER_CHECKSUM:
            headers = [(name, _WRONG if name.lower() == _CHECKSUM else value) for name, value in headers]
        return self.answer(status, headers, content, torn=fault is Fault.TORN_ANSWER)

    def ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """The request as it came, for the client signed the name that it knows the host by."""
        connection = http.client.HTTPConnection(self.server.behind, timeout=30)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _HOPS:
                connection.putheader(name, value)
        connection.endheaders(body)
        got = connection.getresponse()
        content = got.read()
        length = got.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        headers = [(name, value) for name, value in got.getheaders() if name.lower() not in _HOPS | {"content-length"}]
        connection.close()
        return got.status, [*headers, ("Content-Length", length or "0")], content

    def answer(self, status: int, headers: list[tuple[str, str]], content: bytes, *, torn: bool = False) -> None:
        self.send_response_only(status)
        for name, value in headers or [("Content-Length", str(len(content)))]:
            self.send_header(name, value)
        self.end_headers()
        if torn:
            self.wfile.write(content[: len(content) // 2])
            self.hang_up()
        elif self.command != "HEAD":
            self.wfile.write(content)

    def hang_up(self) -> None:
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = relay  # noqa: N815 - the names that are looked for


@contextmanager
def faulty(behind: str) -> Iterator[Faults]:
    """Run the proxy in front of a server; its own address is `Faults.endpoint`."""
    server = _Proxy(behind)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.faults
    finally:
        server.faults.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
