"""Loses the connection at a chosen message: before it reaches the server, or when the server has answered it."""

from __future__ import annotations

import contextlib
import re
import socket
import threading

from squizzle.postgres.access import ServerAccess
from tests.support.wire import Message, open_server, receive


class Cutter:
    """Passes everything on, until the connection is lost once; after that it only passes on.

    Args:
        access: The server; it must ask for no password.
        after: A statement that must have been seen in the same session: others of ours commit, too.
        at: The first statement behind that which begins like this is the one at which the connection is lost.
        arrives: Whether that one still reaches the server and is carried out; its answer never comes back.
    """

    def __init__(self, access: ServerAccess, *, after: str, at: str, arrives: bool) -> None:
        self._access = access
        self._after = re.compile(after.encode())
        self._at = at.encode()
        self._arrives = arrives
        self.has_cut = threading.Event()

    def serve(self, client: socket.socket) -> None:
        """One client from its first message to its last."""
        with contextlib.suppress(OSError), open_server(self._access) as server:
            answers = threading.Thread(target=self._pass_back, args=(server, client), daemon=True)
            message = receive(client, first=True)
            answers.start()
            armed = False
            while message is not None and not (armed and self._is_the_one(message)):
                armed = armed or self._after.search(message.body) is not None
                server.sendall(message.wire)
                message = receive(client)
            # Before the server has it: a quick answer must not come back either.
            client.shutdown(socket.SHUT_WR)
            while message is not None and self._arrives:
                server.sendall(message.wire)
                # A statement is one message (Query), or several that end with Sync.
                message = None if message.kind in b"QS" else receive(client)
            server.shutdown(socket.SHUT_WR)
            # Until the server has gone, too, so that whatever it was to do is done.
            answers.join()

    def _is_the_one(self, message: Message) -> bool:
        # In front of a statement that is sent in parts stands its name, which is empty.
        if self.has_cut.is_set() or not message.body.lstrip(b"\0").startswith(self._at):
            return False
        self.has_cut.set()
        return True

    @staticmethod
    def _pass_back(server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while part := server.recv(65536):
                with contextlib.suppress(OSError):
                    client.sendall(part)
