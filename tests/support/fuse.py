"""A socket that leads to a server, whose connections all break when so many bytes have passed one way."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

from squizzle.postgres.access import ServerAccess


class Fuse:
    """Used as a context.

    Args:
        access: The server, by its socket.
        folder: Where the fuse's own socket is made.
        bytes_: So many pass.
        from_server: Whether those are counted that the server sends, or those that its clients send.
    """

    def __init__(self, access: ServerAccess, folder: Path, bytes_: int, *, from_server: bool) -> None:
        name = f".s.PGSQL.{access.port}"
        self._server, self._path = Path(access.host) / name, folder / name
        self._left = bytes_
        self._from_server = from_server
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        self._path.unlink()
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            behind = socket.socket(socket.AF_UNIX)
            behind.connect(str(self._server))
            self._sockets += [client, behind]
            for here, there, counts in (
                (client, behind, not self._from_server),
                (behind, client, self._from_server),
            ):
                threading.Thread(
                    target=self._pass_on, args=(here, there), kwargs={"counts": counts}, daemon=True
                ).start()

    def _pass_on(self, here: socket.socket, there: socket.socket, *, counts: bool) -> None:
        ends = [here, there]
        with suppress(OSError):
            while part := here.recv(8192):
                self._left -= len(part) if counts else 0
                if self._left < 0:
                    ends = list(self._sockets)
                    break
                there.sendall(part)
        for one in ends:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
