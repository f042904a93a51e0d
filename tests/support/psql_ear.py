"""What psql sends to the server for a script: a stand-in for the server that listens, agrees, and runs nothing.

psql decides where a statement ends, and nobody else decides it better. Here it says so for any text, also for one that
no server would accept (manual, "Frontend/Backend Protocol", "Message Formats").
"""

from __future__ import annotations

import socket
import struct
import subprocess
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

_PARAMETERS = {
    "server_version": "18.0",
    "server_encoding": "UTF8",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
}
_READY = b"Z\x00\x00\x00\x05I"
_COPY_IN = b"G" + struct.pack("!ibh", 7, 0, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """What psql made of a script.

    Attributes:
        statements: Each text that was sent, in order.
        rows: What was sent behind COPY … FROM stdin, by the place of the statement.
        complaint: What psql wrote on standard error.
    """

    statements: tuple[str, ...]
    rows: dict[int, str]
    complaint: str


def hear(psql: Path, script: str) -> Heard:
    """Run psql on a script and return what it sent; no server is needed, nothing is run."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/.s.PGSQL.5432")
        listener.listen(1)
        (Path(folder) / "script.sql").write_bytes(script.encode())
        ear = _Ear(listener)
        thread = threading.Thread(target=ear.listen)
        thread.start()
        done = subprocess.run(
            [psql, "-X", "-q", "-h", folder, "-p", "5432", "-U", "nobody", "-d", "none", "-f", f"{folder}/script.sql"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        thread.join(timeout=60)
    return Heard(statements=tuple(ear.statements), rows=ear.rows, complaint=done.stderr)


@dataclass
class _Ear:
    listener: socket.socket
    statements: list[str] = field(default_factory=list)
    rows: dict[int, str] = field(default_factory=dict)

    def listen(self) -> None:
        connection, _ = self.listener.accept()
        with connection, connection.makefile("rwb") as wire:
            (length,) = struct.unpack("!i", wire.read(4))
            wire.read(length - 4)
            wire.write(b"R" + struct.pack("!ii", 8, 0))
            for name, value in _PARAMETERS.items():
                body = name.encode() + b"\0" + value.encode() + b"\0"
                wire.write(b"S" + struct.pack("!i", len(body) + 4) + body)
            wire.write(_READY)
            wire.flush()
            while (kind := wire.read(1)) not in {b"", b"X"}:
                (length,) = struct.unpack("!i", wire.read(4))
                wire.write(self.answer(kind, wire.read(length - 4)))
                wire.flush()

    def answer(self, kind: bytes, body: bytes) -> bytes:
        match kind:
            case b"Q":
                self.statements.append(body.rstrip(b"\0").decode())
                words = self.statements[-1].upper().split()
                if "COPY" in words and "STDIN" in words:
                    self.rows[len(self.statements) - 1] = ""
                    return _COPY_IN
            case b"d":
                self.rows[len(self.statements) - 1] += body.decode()
                return b""
        return b"C" + struct.pack("!i", 7) + b"OK\0" + _READY
