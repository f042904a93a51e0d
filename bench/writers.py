"""Clients that write as fast as they can and come back at once, as connection pools do; in processes of their own.

    python -m bench.writers HOST PORT USER DATABASE FIRST CLIENTS

They write until standard input ends, then print what became of it: JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Self

import psycopg

from squizzle.postgres.access import ServerAccess

# So that they do not all run in one interpreter; more processes than processors only take turns.
PROCESSES = 4
_BACK_OFF_S = 0.002


@dataclass
class Written:
    """What clients wrote.

    Attributes:
        committed_at: When each write was acknowledged: seconds of this machine's monotonic clock, in order.
        acknowledged: How many writes of each client were.
        errors: What clients were told, and how often.
        slowest_s: The longest that one write took, waiting for a pooler included.
    """

    committed_at: list[float] = field(default_factory=list)
    acknowledged: dict[int, int] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0

    def gap_ms(self, at: float) -> float:
        """The longest time around a moment in which nobody's write was acknowledged."""
        near = [one for one in self.committed_at if at - 1 < one < at + 30]
        return max(later - earlier for earlier, later in pairwise(near)) * 1000


@contextmanager
def writing(access: ServerAccess, database: str, *, clients: int) -> Iterator[Written]:
    """Clients for the length of the block; what they wrote is known behind it.

    They are at work when the block begins.
    """
    written = Written()
    share = clients // PROCESSES
    with ExitStack() as stack:
        running = [stack.enter_context(_Process(access, database, n * share, share)) for n in range(PROCESSES)]
        for process in running:
            process.answer()
        yield written
        for process in running:
            process.stop()
        for process in running:
            _add(written, json.loads(process.answer()))
    written.committed_at.sort()


class _Process:
    """Some of the clients."""

    def __init__(self, access: ServerAccess, database: str, first: int, clients: int) -> None:
        what = (access.host, str(access.port), access.user, database, str(first), str(clients))
        command = [sys.executable, "-m", "bench.writers", *what]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def answer(self) -> str:
        """Its next line."""
        return self._process.stdout.readline() if self._process.stdout else ""

    def stop(self) -> None:
        """Have it end."""
        if self._process.stdin:
            self._process.stdin.close()


def _add(written: Written, found: dict[str, Any]) -> None:
    written.committed_at += found["committed_at"]
    written.acknowledged |= {int(client): n for client, n in found["acknowledged"].items()}
    written.errors.update(found["errors"])
    written.slowest_s = max(written.slowest_s, found["slowest_s"])


class _Client(threading.Thread):
    def __init__(self, conninfo: dict[str, Any], number: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._conninfo, self._number, self._stop_it = conninfo, number, stop
        self.committed_at: list[float] = []
        self.errors: Counter[str] = Counter()
        self.slowest_s = 0.0
        self.begun = threading.Event()

    def run(self) -> None:
        while not self._stop_it.is_set():
            try:
                with psycopg.connect(**self._conninfo, autocommit=True, prepare_threshold=None) as session:
                    self._write(session)
            except psycopg.Error as exc:
                self.errors[exc.sqlstate or _reason(str(exc))] += 1
                self._stop_it.wait(_BACK_OFF_S)

    def _write(self, session: psycopg.Connection) -> None:
        while not self._stop_it.is_set():
            begun = time.monotonic()
            session.execute("INSERT INTO written VALUES (%s, %s)", (self._number, len(self.committed_at)))
            now = time.monotonic()
            self.committed_at.append(now)
            self.slowest_s = max(self.slowest_s, now - begun)
            self.begun.set()


def _reason(message: str) -> str:
    """A refused connection has no SQLSTATE of its own."""
    return message.strip().splitlines()[-1].rpartition("FATAL:")[2].strip()


def main() -> None:
    """Write until standard input ends."""
    host, port, user, database, first, clients = sys.argv[1:]
    stop = threading.Event()
    conninfo = {"host": host, "port": port, "user": user, "dbname": database, "application_name": "bench writer"}
    threads = [_Client(conninfo, int(first) + n, stop) for n in range(int(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.begun.wait()
    print("at work", flush=True)
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    found = {
        "committed_at": [one for thread in threads for one in thread.committed_at],
        "acknowledged": {int(first) + n: len(thread.committed_at) for n, thread in enumerate(threads)},
        "errors": dict(sum((thread.errors for thread in threads), Counter())),
        "slowest_s": max(thread.slowest_s for thread in threads),
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
