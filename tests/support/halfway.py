"""A go-between that stops the talk between a client and its server right behind the answer to a chosen statement.

The server has done what it was told, the client does not know it yet: whatever is killed then is killed at the boundary
between two statements, every time (manual, "Frontend/Backend Protocol", "Message Formats").
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

_FIRST_MESSAGE = 4  # only a length, no kind


@dataclass
class Halfway:
    """Listens in `folder` under the server's port and passes on; used as a context.

    Args:
        folder: Where its socket will be.
        server: The server's socket.
        stops_at: Whether to stop behind the answer to this statement with these parameters; called once for each, in
            order.
    """

    folder: Path
    server: Path
    stops_at: Callable[[str, bytes], bool]
    reached: threading.Event = field(default_factory=threading.Event)
    _sockets: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.folder / self.server.name))
        self._listener.listen()
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
        for thread in self._threads:
            thread.join()
        (self.folder / self.server.name).unlink()

    def hang_up(self) -> None:
        """End every talk that is under way, and be ready for the next one."""
        while self._sockets:
            one = self._sockets.pop()
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                """The other side was faster."""
            one.close()
        self.reached.clear()

    def _run(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self.server))
            self._sockets += [client, server]
            talk = _Talk(client, server, self)
            self._run(talk.pass_questions)
            self._run(talk.pass_answers)


class _Talk:
    """One session. Statements go one by one, so the question is known when its answer ends."""

    def __init__(self, client: socket.socket, server: socket.socket, halfway: Halfway) -> None:
        self._client = client
        self._server = server
        self._halfway = halfway
        self._statement = ""
        self._parameters = b""
        self._stops = False

    def pass_questions(self) -> None:
        try:
            with self._client.makefile("rb") as wire:
                size = wire.read(_FIRST_MESSAGE)
                self._server.sendall(size + wire.read(struct.unpack("!i", size)[0] - len(size)))
                while (kind := wire.read(1)) != b"":
                    size = wire.read(4)
                    body = wire.read(struct.unpack("!i", size)[0] - len(size))
                    self._listen(kind, body)
                    self._server.sendall(kind + size + body)
        except (OSError, struct.error, ValueError):
            """Hung up."""

    def _listen(self, kind: bytes, body: bytes) -> None:
        match kind:
            case b"Q" | b"P":  # in a Parse the name comes first, which is empty
                self._statement = body.lstrip(b"\0").partition(b"\0")[0].decode()
                self._parameters = b""
            case b"B":
                self._parameters = body
        if kind in {b"Q", b"S"}:
            self._stops = self._halfway.stops_at(self._statement, self._parameters)

    def pass_answers(self) -> None:
        try:
            with self._server.makefile("rb") as wire:
                while (kind := wire.read(1)) != b"":
                    size = wire.read(4)
                    body = wire.read(struct.unpack("!i", size)[0] - len(size))
                    if kind == b"Z" and self._stops:
                        self._halfway.reached.set()
                        return
                    self._client.sendall(kind + size + body)
            self._client.shutdown(socket.SHUT_RDWR)
        except (OSError, struct.error, ValueError):
            """Hung up."""
