"""An address that leads to a server which may be another one with each connection, as a name of DNS does."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

Place = tuple[str, int]


@contextlib.contextmanager
def forwarder(host: str, port: int, leads_to: Callable[[], Place | None]) -> Iterator[int]:
    """Pass on whatever comes to an address of this machine; yields its port.

    Args:
        host: Any of 127.0.0.0/8.
        port: 0 for a free one.
        leads_to: Where to; None when nobody is there.
    """
    with socket.create_server((host, port)) as listener:
        thread = threading.Thread(target=_accept, args=(listener, leads_to), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _accept(listener: socket.socket, leads_to: Callable[[], Place | None]) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        place = leads_to()
        if place is None:
            client.close()
            continue
        server = socket.create_connection(place)
        for here, there in ((client, server), (server, client)):
            threading.Thread(target=_pass_on, args=(here, there), daemon=True).start()


def _pass_on(here: socket.socket, there: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while part := here.recv(65536):
            there.sendall(part)
    for one in (here, there):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
