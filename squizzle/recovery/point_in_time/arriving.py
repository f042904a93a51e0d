"""A server that replays its log: how far it is, whether it stopped at its point, and why it did not.

It pauses at its point, is asked where it is, and goes into service only when that is the point. That a server runs
proves nothing: one without its point ends only after it was reported as started (facts measured).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, NoReturn

import psycopg

from squizzle.backups.wal.names import WalKind, WalName, lsn_number
from squizzle.errors import DatabaseError, EmbeddedServerError, InvalidInputError, RecoveryError
from squizzle.postgres.access import CONTROL_DATABASE, ServerAccess, connect
from squizzle.postgres.embedded import Cluster
from squizzle.postgres.embedded.data_folder import append_settings
from squizzle.postgres.embedded.server import running_server
from squizzle.postgres.embedded.settings import render_lines
from squizzle.postgres.translation import translate_error
from squizzle.recovery.cluster_files import PATIENCE
from squizzle.recovery.point_in_time.feeding import LogFeeder
from squizzle.recovery.point_in_time.records import Point
from squizzle.recovery.recovery_target import TargetKind

_POLL_S = 0.02
_TELL_EVERY_S = 5.0
_TAIL_CHARACTERS = 2000
# So many settings must be at least what they were at the source (manual, "Administrator's Overview" of hot standby).
_CAN_BE_RAISED = 5

_STOPPING = re.compile(r"recovery stopping (?:before|after|at) .*")
_REDO_DONE = re.compile(r"redo done at ([0-9A-F]+/[0-9A-F]+)")
_TOO_LOW = re.compile(r"(\w+) = \d+ is a lower setting than on the primary server, where its value was (\d+)")
_NOT_REACHED = "recovery ended before configured recovery target was reached"
_TOO_EARLY = "requested recovery stop point is before consistent recovery point"
_WHERE = """
    SELECT pg_is_in_recovery(), CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() = 'paused' END,
           pg_last_wal_replay_lsn()::text, pg_last_xact_replay_timestamp()
"""


class _Seen(NamedTuple):
    """What a server says of its recovery."""

    is_recovering: bool
    is_paused: bool | None
    lsn: str
    at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """Where a recovery stopped.

    Attributes:
        lsn: Everything before it was replayed.
        at: When the last replayed transaction had committed; None when none was.
        said: The line of the log that says so.
    """

    lsn: str
    at: datetime | None
    said: str


class Replay:
    """One recovery of a cluster to a point.

    Args:
        cluster: With a data folder that is set to pause at the point.
        feeder: Gives it its log.
        point: Where to.
        user: The superuser.
        last_segment: The last archived segment without a gap, for a recovery to the end of the log.
        say: Told every few seconds how far it is.

    Attributes:
        access: How to reach the server; another one after each start.
    """

    def __init__(
        self,
        cluster: Cluster,
        feeder: LogFeeder,
        point: Point,
        *,
        user: str,
        last_segment: str,
        say: Callable[[str], None],
    ) -> None:
        self._cluster = cluster
        self._feeder = feeder
        self._point = point
        self._user = user
        self._last_segment = last_segment
        self._say = say
        self._told = time.monotonic()
        self._raised: dict[str, str] = {}
        self.access = ServerAccess()

    def start(self) -> None:
        """Start the server, and wait until it can be asked (`access`).

        A setting that the source raised behind the copy is raised, too: a standby with less would stop (manual).

        Raises:
            RecoveryError, EmbeddedServerError: It ended; says why.
        """
        for _ in range(_CAN_BE_RAISED + 1):
            try:
                address = self._cluster.start(guarded=True, patience=PATIENCE)
            except EmbeddedServerError as exc:
                if self._raise_setting():
                    continue
                self._explain(exc)
            self.access = ServerAccess(host=str(address.socket_folder), port=address.port, user=self._user)
            return
        raise AssertionError("a setting was raised more often than there are such settings")

    def run_to_point(self) -> Stop:
        """Wait until the server pauses at its point, or has come to the end of the log where that is the point.

        Raises:
            RecoveryError, BackupDamagedError: The point is not in the log, a segment is missing or damaged, or what was
                reached is not the point.
            EmbeddedServerError: The server ended for another reason.
        """
        raised = 0
        while True:
            server = running_server(self._cluster.layout.data)
            if server is None:
                self._explain(None)
            # It takes connections while it recovers, and says "ready" all the same.
            found = self._ask() if server.accepts_connections else None
            if found is not None and not found.is_recovering:
                return self._at_the_end()
            if found is not None and found.is_paused:
                said = self._said(_STOPPING)
                if said:
                    return self._refuse_elsewhere(Stop(lsn=found.lsn, at=found.at, said=said))
                # It pauses by itself where it may not do as much at once as the source might.
                raised += 1
                if raised > _CAN_BE_RAISED or not self._raise_setting():
                    raise RecoveryError(
                        f"the recovery paused at {found.lsn}, which is not {self._point.words}",
                        hint="nothing was restored; name the point by its position (--to-lsn), or an older copy",
                    )
                self._cluster.stop()
                self.start()
            self._tell(found)
            time.sleep(_POLL_S)

    def go_into_service(self) -> None:
        """Let the server go on as one of its own, on a timeline of its own."""
        try:
            with connect(self.access, CONTROL_DATABASE, purpose="point in time") as control:
                if control.execute("SELECT pg_is_in_recovery()").fetchone() == (True,):
                    # Quicker than pg_promote, which is noticed within a second.
                    control.execute("SELECT pg_wal_replay_resume()")
                deadline = time.monotonic() + PATIENCE.total_seconds()
                while control.execute("SELECT pg_is_in_recovery()").fetchone() == (True,):
                    if time.monotonic() > deadline:
                        raise RecoveryError(
                            f"the recovered cluster did not go into service within {PATIENCE}",
                            hint="nothing was restored; look at load and disk of this machine, then run the same again",
                        )
                    time.sleep(_POLL_S)
        except psycopg.Error as exc:
            if running_server(self._cluster.layout.data) is None:
                self._explain(None)
            raise translate_error(exc, doing="let the recovered cluster go into service") from exc

    # What the server says

    def _ask(self) -> _Seen | None:
        """Whether it recovers or pauses, and where it is; None when it cannot be asked now."""
        try:
            with connect(self.access, CONTROL_DATABASE, purpose="point in time", read_only=True) as control:
                row = control.execute(_WHERE).fetchone()
        except (DatabaseError, psycopg.Error):
            return None  # it is ending: seen at the next look
        return _Seen(*row) if row else None

    def _at_the_end(self) -> Stop:
        """It went into service: by itself only at the end of the log, or where nobody can be let in at the point."""
        said = self._said(_STOPPING)
        done = _REDO_DONE.search(self._log())
        lsn = done[1] if done else ""
        if said:
            return self._refuse_elsewhere(Stop(lsn=lsn, at=None, said=said), exact=False)
        if self._point.target.kind is not TargetKind.LATEST:
            raise RecoveryError(
                f"the recovery ended at {lsn or 'an unknown position'} without having reached {self._point.words}",
                hint="nothing was restored; look at the archive: `squizzle wal --store …`",
            )
        if self._feeder.error is not None:
            raise self._feeder.error
        self._refuse_too_short(lsn)
        return Stop(lsn=lsn, at=None, said=f"redo done at {lsn}")

    def _refuse_too_short(self, lsn: str) -> None:
        """Without a target PostgreSQL takes whatever it cannot read for the end of the log."""
        if not self._last_segment:
            return
        name = WalName(text=self._last_segment, kind=WalKind.SEGMENT, timeline=0)
        size = self._feeder.segment_bytes
        if (lsn_number(lsn) or 0) < name.number(size) * size:
            raise RecoveryError(
                f"the recovery ended at {lsn}, before the last archived segment {self._last_segment}:"
                " the log between cannot be read",
                hint="`squizzle wal --check --store …` reads every segment; recover to a point before the damage",
            )

    def _refuse_elsewhere(self, stop: Stop, *, exact: bool = True) -> Stop:
        """A named point is where its mark says; names are not unique, and recovery stops at the first one (manual)."""
        point = self._point
        is_named = point.target.kind is TargetKind.NAME and bool(point.lsn)
        if exact and is_named and lsn_number(point.lsn) != lsn_number(stop.lsn):
            raise RecoveryError(
                f"the recovery stopped at {point.words} at {stop.lsn}, but its mark says {point.lsn}:"
                " there is more than one of this name",
                hint=f"recover to the mark's position: --to-lsn {point.lsn}",
            )
        return stop

    def _said(self, pattern: re.Pattern[str]) -> str:
        found = pattern.findall(self._log())
        return str(found[-1]) if found else ""

    def _log(self) -> str:
        return self._cluster.layout.log.read_text(encoding="utf-8", errors="replace")

    def _raise_setting(self) -> bool:
        """Give the server as much of a setting as the source had; False when that is not what it lacks."""
        found = dict(_TOO_LOW.findall(self._log()))
        wanted = {name: value for name, value in found.items() if self._raised.get(name) != value}
        if not wanted:
            return False
        self._raised |= wanted
        self._say(f"the source had more of {', '.join(sorted(wanted))} later; set so, and on it goes")
        append_settings(self._cluster.runtime, self._cluster.layout.data, render_lines(wanted))
        return True

    def _tell(self, found: _Seen | None) -> None:
        if time.monotonic() - self._told < _TELL_EVERY_S:
            return
        self._told = time.monotonic()
        at = f", {found.at:%Y-%m-%d %H:%M:%S %Z}" if found and found.at else ""
        where = f"replayed up to {found.lsn}{at}" if found else "not consistent yet"
        self._say(f"{where}; {self._feeder.fetched} segments fetched, on the way to {self._point.words}")

    def _explain(self, error: EmbeddedServerError | None) -> NoReturn:
        """Say why the server ended, in our words where they are known."""
        if self._feeder.error is not None:
            raise self._feeder.error from error
        log = self._log()
        point = self._point.words
        if _NOT_REACHED in log:
            done = _REDO_DONE.search(log)
            last = re.findall(r"last completed transaction was at log time (.*)", log)
            ended = f"{done[1] if done else 'its end'}{f' (last transaction {last[-1]})' if last else ''}"
            raise RecoveryError(
                f"{point} is not in the archived log, which ends at {ended}; nothing was restored",
                hint="check the name, or name a point before the end; a point before the copy needs an older copy",
            ) from error
        if _TOO_EARLY in log:
            raise InvalidInputError(
                f"{point} lies before the copy is consistent; nothing was restored",
                hint="name an older copy: `squizzle backups` lists them",
            ) from error
        tail = log[-_TAIL_CHARACTERS:].strip()
        raise EmbeddedServerError(
            f"the server ended while it was recovered to {point}: {tail}",
            command="postgres",
            stderr_tail=tail,
            hint="nothing was restored; what it says is the reason",
        ) from error
