"""Secrets that are planted, and everything that they must never be found in."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import secrets
import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg import sql

from squizzle.postgres.access import Connection, ServerAccess, connect
from tests.support.processes import command_of, descendants_of, environment_of

_HIDING = threading.local()
_EVERY_S = 0.03
_LOADED = [False]


class Planted:
    """Secrets with a mark of this run's in each, so that one search finds them all, whichever and however cut."""

    def __init__(self) -> None:
        self.mark = f"Plnt{secrets.token_hex(4)}"

    def secret(self, kind: str) -> str:
        """A new one; its kind is what a failing test names it by."""
        return f"{self.mark}{kind}{secrets.token_hex(12)}"

    def key(self) -> str:
        """A master key for backups: 32 bytes as base64, which have the mark, too."""
        return f"{self.mark}Key{secrets.token_hex(20)}"[:43] + "="

    def found_in(self, content: bytes) -> list[str]:
        """The kinds of those that are in a text or a file; encoded ones are only known to be there."""
        mark = self.mark.encode()
        found = {kind.decode() for kind in re.findall(mark + rb"([A-Za-z]*)", content)}
        # Base64 from its first, second or third byte on; what depends on the bytes around it is left out.
        inside = (base64.b64encode(bytes(before) + mark).rstrip(b"=")[(0, 2, 3)[before] : -1] for before in range(3))
        if any(one in content for one in (*inside, mark.hex().encode())):
            found.add("encoded")
        return sorted(found)


@dataclass
class Seen:
    """What was seen of the processes that were started, and of the sessions on a server, as texts by where."""

    commands: set[str] = field(default_factory=set)
    environments: dict[str, str] = field(default_factory=dict)
    sessions: set[str] = field(default_factory=set)


@contextlib.contextmanager
def watched(control: Connection) -> Iterator[Seen]:
    """Everything that this process starts, as Python is told to start it, and whatever runs below it meanwhile.

    Args:
        control: A session that sees the activity of all others.
    """
    seen = Seen()
    ended = threading.Event()
    _TOLD.append(seen)
    if not _LOADED[0]:
        _LOADED[0] = True
        sys.addaudithook(_hear)

    def look() -> None:
        while not ended.wait(_EVERY_S):
            for pid in descendants_of(os.getpid()):
                command = command_of(pid)
                seen.commands.add(command)
                seen.environments.setdefault(command, repr(environment_of(pid)))
            seen.sessions.update(map(repr, control.execute("SELECT * FROM pg_stat_activity").fetchall()))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()
        _TOLD.remove(seen)


_TOLD: list[Seen] = []


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "subprocess.Popen" and _TOLD:
        _, command, _, environment = arguments
        text = " ".join(map(os.fsdecode, command))
        _TOLD[-1].commands.add(text)
        _TOLD[-1].environments[text] = repr(dict(os.environ if environment is None else environment))


def files_with(planted: Planted, *folders: Path) -> dict[str, list[str]]:
    """The files below folders, or folders' names, that have a secret, and which."""
    found = {}
    for path in (path for folder in folders for path in folder.rglob("*")):
        with contextlib.suppress(OSError):  # gone in the meantime
            content = os.fsencode(path) + (path.read_bytes() if path.is_file() else b"")
            if kinds := planted.found_in(content):
                found[str(path)] = kinds
    return found


def shown_by(one: object) -> str:
    """Whatever a log, a traceback or a debugger's first look shows of a report, or of an error and those behind it."""
    parts = [repr(one), str(one), getattr(one, "hint", "")]
    return "\n".join([*parts, *(traceback.format_exception(one) if isinstance(one, BaseException) else ())])


@contextlib.contextmanager
def account(access: ServerAccess, password: str) -> Iterator[str]:
    """A superuser with a password that the server was never told itself: its log has what it was told."""
    name = f"planted_{secrets.token_hex(3)}"
    with connect(access, "postgres", purpose="test") as control:
        stored = control.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
        role = sql.Identifier(name)
        control.execute(sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}").format(role, stored))
        yield name
