"""A small connection pooler: it lends a few server sessions to many clients, as PgBouncer does."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from squizzle.postgres.access import ServerAccess
from tests.support.wire import Message, error_message, open_server, random_key, receive

AUTHENTICATION_OK = Message(kind=b"R", body=b"\0\0\0\0").wire
READY = Message(kind=b"Z", body=b"I").wire


class Pooler:
    """Lends server sessions out.

    Args:
        access: The server; it must ask for no password.
        mode: `transaction` or `session`: for how long a client keeps a server session; `statement` refuses transactions.
        in_turn: Give out the session that came back first, not the one that came back last.
        late: Sessions come back only some time after their client has its answer, as in a busy pool.
    """

    def __init__(self, access: ServerAccess, mode: str, *, in_turn: bool = False, late: bool = False) -> None:
        self._access = access
        self._mode = mode
        self._in_turn = in_turn
        self._late = late
        self._idle: list[socket.socket] = []
        self._guard = threading.Lock()
        self._closed = False
        self._greeting = b""

    def close(self) -> None:
        """End the server sessions that are not lent out, and those that come back later."""
        with self._guard:
            self._closed = True
            for server in self._idle:
                server.close()
            self._idle.clear()

    def serve(self, client: socket.socket) -> None:
        """One client from its first message to its last."""
        start = receive(client, first=True)
        if start is None:
            return
        server: socket.socket | None = self._take(start)
        self._give_back(server)
        server = None
        client.sendall(AUTHENTICATION_OK + self._greeting + Message(kind=b"K", body=random_key()).wire + READY)
        try:  # either side may go at any time, and that ends it
            while (message := receive(client)) is not None and message.kind != b"X":
                server = server or self._take(start)
                server.sendall(message.wire)
                # Query, Sync, and the end of rows that a plain query asked for: the server says when it is ready.
                if message.kind not in b"QScf":
                    continue
                status = self._relay(server, client)
                if self._mode == "statement" and status in {"T", "E"}:
                    client.sendall(error_message("transaction blocks not allowed in statement pooling mode"))
                    return
                if self._mode != "session" and status == "I":
                    self._give_back(server)
                    server = None
        except OSError:
            return
        finally:
            if server is not None:
                server.close()

    def _take(self, start: Message) -> socket.socket:
        with self._guard:
            if self._idle:
                return self._idle.pop(0 if self._in_turn else -1)
        server = open_server(self._access)
        try:
            server.sendall(start.wire)
            greeting = b""
            while (message := receive(server)) is not None and message.kind != b"Z":
                greeting += message.wire if message.kind == b"S" else b""
        except OSError:
            server.close()
            raise
        self._greeting = greeting
        return server

    def _give_back(self, server: socket.socket) -> None:
        if self._late:
            time.sleep(0.02)
        with self._guard:
            if self._closed:
                server.close()
            else:
                self._idle.append(server)

    def _relay(self, server: socket.socket, client: socket.socket) -> str:
        """Pass on what the server says until it is ready or waits for rows; its status, or nothing in between."""
        while (message := receive(server)) is not None:
            with contextlib.suppress(OSError):
                client.sendall(message.wire)
            if message.kind == b"Z":
                return message.status
            if message.kind == b"G":
                return ""
        raise ConnectionResetError
