"""As much of PostgreSQL's protocol as a program between client and server needs (manual, "Frontend/Backend Protocol")."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from squizzle.postgres.access import ServerAccess

PORT = 6432


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message; `kind` is empty for the first one of a session, which has none."""

    kind: bytes
    body: bytes

    @property
    def wire(self) -> bytes:
        return self.kind + struct.pack("!i", len(self.body) + 4) + self.body

    @property
    def status(self) -> str:
        """Of ReadyForQuery: I (idle), T (in a transaction) or E (in a failed one)."""
        return self.body.decode()


def receive(connection: socket.socket, *, first: bool = False) -> Message | None:
    """The next message; None when the other side has gone."""
    try:
        kind = b"" if first else _exactly(connection, 1)
        (length,) = struct.unpack("!i", _exactly(connection, 4))
        return Message(kind=kind, body=_exactly(connection, length - 4))
    except (EOFError, OSError):
        return None


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = b""
    while len(parts) < count:
        part = connection.recv(count - len(parts))
        if not part:
            raise EOFError
        parts += part
    return parts


def error_message(text: str, sqlstate: str = "08P01") -> bytes:
    fields = (("S", "FATAL"), ("V", "FATAL"), ("C", sqlstate), ("M", text))
    body = b"".join(f"{code}{value}".encode() + b"\0" for code, value in fields) + b"\0"
    return Message(kind=b"E", body=body).wire


def open_server(access: ServerAccess) -> socket.socket:
    """A connection to the server's private socket, before its first message."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(f"{access.host}/.s.PGSQL.{access.port}")
    return connection


class Between(Protocol):
    """What stands between clients and a server."""

    def serve(self, client: socket.socket) -> None:
        """Serve one client until it goes."""


@contextlib.contextmanager
def listening(between: Between, access: ServerAccess) -> Iterator[ServerAccess]:
    """Let clients in through a socket of our own; gives how they reach it."""
    folder = Path(tempfile.mkdtemp(prefix="between-"))
    clients: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / f".s.PGSQL.{PORT}"))
        listener.listen()
        threading.Thread(target=_accept, args=(listener, between, clients), daemon=True).start()
        try:
            yield replace(access, host=str(folder), port=PORT)
        finally:
            for client in (listener, *clients):
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
            shutil.rmtree(folder)


def _accept(listener: socket.socket, between: Between, clients: list[socket.socket]) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        clients.append(client)
        threading.Thread(target=_serve, args=(between, client), daemon=True).start()


def _serve(between: Between, client: socket.socket) -> None:
    with client:
        between.serve(client)


def random_key() -> bytes:
    """A number of a process and a key, as poolers make them up."""
    return secrets.token_bytes(8)
