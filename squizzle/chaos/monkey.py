"""Who disturbs: rolls dice at each place that tells of itself, says so, and strikes. Never a production database."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import psycopg

from squizzle.chaos.settings import ChaosKind, ChaosSettings
from squizzle.config import PRODUCTION
from squizzle.disturbance import present
from squizzle.errors import ChaosError, DatabaseError, RefusedError
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import read_identity
from squizzle.postgres.names_in_queries import NamesCursor

_OF_STEPS = (ChaosKind.RAISE, ChaosKind.KILL, ChaosKind.KILL_WORKER, ChaosKind.DELAY)
_OF_SESSIONS = (ChaosKind.TERMINATE, ChaosKind.CUT)
_LAST_STATEMENT = 12
"""A session is ended at one of its first statements; most of ours say fewer than that."""
_BUSY = 503
_HEARD_S = 0.5
"""A worker passes on what its run says on stderr: killed at once, it would take with it that it was struck."""


class Chaos:
    """Disturbs this process as its settings say; see `squizzle.disturbance.Disturber`.

    What happens depends on the seed, the place, and how often it was there, on nothing else: whatever threads do
    meanwhile, the same seed strikes the same places. Until a database has said who it is nothing is struck at all, and
    one that is production is refused as soon as it says so.

    Args:
        settings: How often, and what.
        tell: Called with a sentence right before each strike.
    """

    def __init__(self, settings: ChaosSettings, tell: Callable[[str], None]) -> None:
        self.settings = settings
        self._tell = tell
        self._visits: Counter[str] = Counter()
        self._turn = threading.Lock()
        self._known: set[tuple[str, int, str]] = set()
        self._struck: list[str] = []
        self._within = ""

    def strikes(self) -> tuple[str, ...]:
        """Everything that was struck so far, a sentence each."""
        return tuple(self._struck)

    def step(self, title: str) -> None:
        """Raise, wait, or end this process or the worker that started it."""
        place = f"step {title}"
        chance = self._strikes(place, _OF_STEPS)
        # Each step counts anew: how often one looked until it had seen enough is another time next time.
        self._within = f" of {place}, time {self._visits[place]}"
        if chance is None:
            return
        kind = self._choose(chance, _OF_STEPS)
        self._say(kind, place)
        if kind is ChaosKind.DELAY:
            time.sleep(chance.uniform(0, self.settings.longest_delay.total_seconds()))
        elif kind is ChaosKind.RAISE:
            raise ChaosError(
                f"chaos struck in the step {title!r}",
                hint=f"it was asked for; SQUIZZLE_CHAOS='{self.settings.as_text()}' plays it again",
            )
        else:
            if kind is ChaosKind.KILL_WORKER and (worker := _worker()):
                time.sleep(_HEARD_S)
                os.kill(worker, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)

    def session(self, connection: Connection, database: str) -> None:
        """Refuse production; end some of the other sessions at one of their statements.

        Raises:
            RefusedError: The database is production, or does not say who it is; nothing was said in the session.
        """
        self._refuse_production(connection, database)
        purpose = connection.info.get_parameters().get("application_name", "")
        place = f"session {purpose}{self._within}"
        chance = self._strikes(place, _OF_SESSIONS)
        if chance is None:
            return
        kind = self._choose(chance, _OF_SESSIONS)
        connection.cursor_factory = _ending(self, kind, place, chance.randint(1, _LAST_STATEMENT))

    def write(self, path: Path) -> None:
        """Have the disk full.

        Raises:
            OSError: It is.
        """
        place = f"a file{self._within}"  # its name has the time in it
        if self._strikes(place, (ChaosKind.DISK_FULL,)) is not None:
            self._say(ChaosKind.DISK_FULL, place)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def client(self, client: Any, service: str) -> None:
        """Have some requests of a client of boto3 answered with 503 before they leave."""
        kind = {"s3": ChaosKind.S3, "rds": ChaosKind.RDS}.get(service)
        if kind is None or kind not in self.settings.kinds:
            return

        def answer(request: Any, event_name: str, **_: object) -> Any:
            place = f"{event_name.removeprefix('before-send.')}{self._within}"
            # The client may live longer than chaos, or be used where that spares.
            if present() is None or self._strikes(place, (kind,)) is None:
                return None
            self._say(kind, place)
            return _busy_answer(request.url)

        client.meta.events.register("before-send", answer)

    def cluster(self, doing: str) -> None:
        """Have Kubernetes answer with 503.

        Raises:
            ApiException: It does.
        """
        place = f"{doing}{self._within}"
        if self._strikes(place, (ChaosKind.KUBERNETES,)) is not None:
            from kubernetes.client import ApiException  # noqa: PLC0415 - half a second, and only who has it asks

            self._say(ChaosKind.KUBERNETES, place)
            raise ApiException(status=_BUSY, reason="chaos")

    def end(self, connection: Connection, kind: ChaosKind, place: str) -> None:
        """End a session: cut its connection, or have the server end it."""
        self._say(kind, place)
        if kind is ChaosKind.CUT:
            with socket.socket(fileno=os.dup(connection.fileno())) as wire:
                wire.shutdown(socket.SHUT_RDWR)
            return
        info = connection.info
        given: dict[str, Any] = info.get_parameters() | {"password": info.password, "dbname": info.dbname}
        with psycopg.connect(**given, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", (info.backend_pid,))

    def _refuse_production(self, connection: Connection, database: str) -> None:
        key = (connection.info.host, connection.info.port, database)
        if key in self._known:
            return
        try:
            identity = read_identity(connection)
        except DatabaseError as exc:
            connection.close()
            raise RefusedError(
                f"chaos is on, and {database} does not say whether it is production: {exc.message}",
                hint="unset SQUIZZLE_CHAOS",
            ) from exc
        if identity is not None and identity.environment == PRODUCTION:
            connection.close()
            raise RefusedError(
                f"chaos is on, and {database} is production; nothing was done",
                hint="unset SQUIZZLE_CHAOS where production can be reached; no setting allows it there",
            )
        self._known.add(key)

    def _strikes(self, place: str, kinds: tuple[ChaosKind, ...]) -> Random | None:
        """The dice of a strike; None where there is none."""
        with self._turn:
            self._visits[place] += 1
            visit = self._visits[place]
        if not self._known or not self.settings.kinds & set(kinds):
            return None
        chance = Random(f"{self.settings.seed} {place} {visit}")  # noqa: S311 - to be played again, not to be secret
        return chance if chance.random() < self.settings.rate else None

    def _choose(self, chance: Random, kinds: tuple[ChaosKind, ...]) -> ChaosKind:
        return chance.choice([one for one in kinds if one in self.settings.kinds])

    def _say(self, kind: ChaosKind, where: str) -> None:
        self._struck.append(f"{kind.value} at {where}")
        self._tell(f"chaos: {kind.value} at {where} ({self.settings.as_text()})")


def _ending(chaos: Chaos, kind: ChaosKind, place: str, at: int) -> type[psycopg.Cursor[Any]]:
    """Cursors of a session that is ended before its n-th statement."""
    said = 0

    class Ending(NamesCursor):
        def execute(self, *args: Any, **kwargs: Any) -> Any:
            nonlocal said
            said += 1
            if said == at:
                chaos.end(self.connection, kind, place)
            return super().execute(*args, **kwargs)

    return Ending


class _Busy:
    """The body of an answer, as urllib3 gives it."""

    def stream(self, **_: object) -> Iterator[bytes]:
        yield b"<Error><Code>SlowDown</Code><Message>chaos</Message></Error>"


def _busy_answer(url: str) -> Any:
    from botocore.awsrequest import AWSResponse  # noqa: PLC0415 - only who has a client of boto3 asks
    from botocore.compat import HTTPHeaders  # noqa: PLC0415 - same

    return AWSResponse(url, _BUSY, HTTPHeaders(), _Busy())


def _worker() -> int | None:
    """The worker of Prefect that started this process; None where there is none."""
    parent = os.getppid()
    try:
        command = Path(f"/proc/{parent}/cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        return None
    return parent if b"worker start" in command else None
