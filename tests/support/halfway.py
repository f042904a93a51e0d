"""A go-between that stops the talk between a client and its server at a chosen statement.

Right behind the answer the server has done what it was told, and the client does not know it yet: whatever is killed then
is killed at the boundary between two statements, every time. Before it, the server does not know yet; in the middle of it,
nobody knows (manual, "Frontend/Backend Protocol", "Message Formats").
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Self

_FIRST_MESSAGE = 4  # only a length, no kind
# They come before the Sync that ends a question, and wait for it: a server would begin with half of it.
_PARTS = b"PBDEC"


class Moment(StrEnum):
    """When the talk is stopped."""

    BEFORE = "before"
    DURING = "during"
    AFTER = "after"


@dataclass(frozen=True)
class Asker:
    """Who sends a statement.

    Attributes:
        pid: The process that opened the session.
        is_program: Whether it is a client program of PostgreSQL, run by us.
    """

    pid: int
    is_program: bool


@dataclass
class Halfway:
    """Listens in `folder` under the server's port and passes on; used as a context.

    Args:
        folder: Where its socket will be.
        server: The server's socket.
        stops_at: Whether to stop at this statement with these parameters; called once for each, in order, while `asker`
            is whose statement it is.
        moment: Whether the statement is passed on, and its answer waited for.
        on_stop: Called when the talk was stopped, with whose it was.
    """

    folder: Path
    server: Path
    stops_at: Callable[[str, bytes], bool]
    moment: Moment = Moment.AFTER
    on_stop: Callable[[Asker], None] = lambda _asker: None
    asker: Asker = Asker(pid=0, is_program=False)
    reached: threading.Event = field(default_factory=threading.Event)
    _turn: threading.Lock = field(default_factory=threading.Lock)
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

    def asks(self, asker: Asker, statement: str, parameters: bytes) -> bool:
        """Whether the talk stops at this statement."""
        with self._turn:
            self.asker = asker
            return self.stops_at(statement, parameters)

    def stop(self, asker: Asker) -> None:
        """The talk has been stopped."""
        self.reached.set()
        self.on_stop(asker)

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
            try:
                server.connect(str(self.server))
            except OSError:  # it has been killed, and this client tries again
                server.close()
                client.close()
                continue
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
        pid: int = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        self._asker = Asker(pid=pid, is_program=False)
        self._statement = ""
        self._parameters = b""
        self._stops = False
        self._is_mute = False

    def pass_questions(self) -> None:
        try:
            with self._client.makefile("rb") as wire:
                size = wire.read(_FIRST_MESSAGE)
                first = wire.read(struct.unpack("!i", size)[0] - len(size))
                self._asker = replace(self._asker, is_program=b"squizzle client program" in first)
                self._server.sendall(size + first)
                held = b""
                while (kind := wire.read(1)) != b"":
                    size = wire.read(4)
                    body = wire.read(struct.unpack("!i", size)[0] - len(size))
                    held += kind + size + body
                    if kind in _PARTS:
                        self._note(kind, body)
                        continue
                    if not self._pass(kind, body, held):
                        return
                    held = b""
        except (OSError, struct.error, ValueError):
            """Hung up."""

    def _note(self, kind: bytes, body: bytes) -> None:
        match kind:
            case b"Q" | b"P":  # in a Parse the name comes first, which is empty
                self._statement = body.lstrip(b"\0").partition(b"\0")[0].decode()
                self._parameters = b""
            case b"B":
                self._parameters = body

    def _pass(self, kind: bytes, body: bytes, held: bytes) -> bool:
        """Pass a whole question on; whether the talk goes on."""
        self._note(kind, body)
        if kind not in {b"Q", b"S"}:
            self._server.sendall(held)
            return True
        stops = self._halfway.asks(self._asker, self._statement, self._parameters)
        self._stops = stops and self._halfway.moment is Moment.AFTER
        if not stops or self._stops:
            self._server.sendall(held)
            return True
        if self._halfway.moment is Moment.DURING:
            self._is_mute = True
            self._server.sendall(held)
        self._halfway.stop(self._asker)
        return False

    def pass_answers(self) -> None:
        try:
            with self._server.makefile("rb") as wire:
                while (kind := wire.read(1)) != b"":
                    size = wire.read(4)
                    body = wire.read(struct.unpack("!i", size)[0] - len(size))
                    if kind == b"Z" and self._stops:
                        self._halfway.stop(self._asker)
                        return
                    if not self._is_mute:
                        self._client.sendall(kind + size + body)
            self._client.shutdown(socket.SHUT_RDWR)
        except (OSError, struct.error, ValueError):
            """Hung up."""
