"""Giving a recovering server its log: fetched, checked and opened by us, a few segments ahead of the replay.

The server's account needs no right to the archive, no key and no Python, and the archive is only read. What is waiting
takes the room of a few segments, however long the log is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from squizzle.backups.wal.archive import WalArchive
from squizzle.backups.wal.names import WalKind, WalName, parse_name, segment_name
from squizzle.backups.wal.transfer import fetch_wal
from squizzle.errors import BackupDamagedError, InvalidInputError, RecoveryError, SquizzleError
from squizzle.postgres.embedded import Runtime
from squizzle.postgres.embedded.data_folder import make_empty
from squizzle.postgres.embedded.layout import Layout

AHEAD = 3
"""So many segments wait while the server replays one."""

# From 126 on PostgreSQL stops instead of taking the log for ended (RestoreArchivedFile in xlogarchive.c).
_STOP = 200
_NOT_THERE = 1
_POLL_S = 0.01
_FED = "fed"
_ASKED = "asked"
# It asks by a file of its own, and takes what was put down for it; without the server nobody waits for an answer.
_SCRIPT = """\
asked="../asked/$1+$$"
: >"$asked" || exit 200
until [ -e "../fed/$1+$$.answer" ]; do
  kill -0 "$PPID" 2>/dev/null || exit 200
  sleep 0.02
done
read -r code <"../fed/$1+$$.answer"
if [ "$code" = 0 ]; then cp "../fed/$1" "$2" || code=200; fi
rm -f "$asked"
exit "$code"
"""
_SCRIPT_NAME = "fetch"

RESTORE_COMMAND = f"exec sh ../{_FED}/{_SCRIPT_NAME} %f %p"
"""The data folder is the current one; `exec` makes the server the script's parent, whose end is the script's, too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogSource:
    """Where the log comes from.

    Attributes:
        archive: The archive; it is only read.
        system_identifier: The cluster.
        segment_bytes: How long a segment is.
        own_end: Up to where the copy has the log itself, in bytes: segments before it need not be archived.
    """

    archive: WalArchive
    system_identifier: str
    segment_bytes: int
    own_end: int


class LogFeeder(threading.Thread):
    """Answers the server's questions for files of the log until it is stopped."""

    def __init__(self, runtime: Runtime, layout: Layout, source: LogSource) -> None:
        super().__init__(name="log feeder", daemon=True)
        self._runtime = runtime
        self._source = source
        self._fed = layout.folder / _FED
        self._asked = layout.folder / _ASKED
        self._ended = threading.Event()
        self._open: set[str] = set()
        self._ready: list[str] = []
        self._next: list[str] = []
        self.fetched = 0
        self.error: SquizzleError | None = None
        self._fed.mkdir(mode=0o711)  # ours, so that nobody can put a link where we write
        (self._fed / _SCRIPT_NAME).write_text(_SCRIPT, encoding="utf-8")
        (self._fed / _SCRIPT_NAME).chmod(0o644)
        make_empty(runtime, self._asked)

    @property
    def segment_bytes(self) -> int:
        """How long a segment is."""
        return self._source.segment_bytes

    def run(self) -> None:
        """Answer until stopped; between two questions fetch ahead."""
        while not self._ended.is_set():
            try:
                if not self._answer_all() and not self._fetch_ahead():
                    time.sleep(_POLL_S)
            except OSError as exc:
                self._fail(RecoveryError(f"the log could not be handed to the server: {exc}", hint="check the disk"))
                time.sleep(_POLL_S)

    def stop(self) -> None:
        """Answer nothing more; a script that waits ends with its server."""
        self._ended.set()
        self.join()

    def _answer_all(self) -> bool:
        asked = {path.name for path in self._asked.iterdir()}
        for done in self._open - asked:
            (self._fed / f"{done}.answer").unlink(missing_ok=True)
            (self._fed / done.partition("+")[0]).unlink(missing_ok=True)
        self._open &= asked
        new = sorted(asked - self._open)
        for one in new:
            name = one.partition("+")[0]
            code = self._fetched(name)
            answer = self._fed / f".{one}"
            answer.write_text(f"{code}\n", encoding="ascii")
            answer.chmod(0o644)
            answer.rename(self._fed / f"{one}.answer")  # whole, or not there
            self._open.add(one)
        return bool(new)

    def _fetched(self, name: str) -> int:
        """Put a file down for the server; the exit code that says what came of it."""
        try:
            parsed = parse_name(name)
            if name in self._ready:
                self._ready.remove(name)
            elif not self._fetch(parsed):
                return _NOT_THERE
        except SquizzleError as exc:
            if self._has_itself(name) and isinstance(exc, BackupDamagedError) and not self._is_archived(name):
                return _NOT_THERE
            self._fail(exc)
            return _STOP
        self._expect_after(parsed)
        return 0

    def _fetch(self, name: WalName) -> bool:
        source = self._source
        target = self._fed / name.text
        found = fetch_wal(source.archive, name.text, target, system_identifier=source.system_identifier)
        if found:
            target.chmod(0o600)
            self._runtime.hand_over(target)
            self.fetched += name.kind is WalKind.SEGMENT
        return found

    def _has_itself(self, name: str) -> bool:
        """Whether the copy holds this segment whole."""
        try:
            parsed = parse_name(name)
        except InvalidInputError:
            return False
        size = self._source.segment_bytes
        return parsed.kind is WalKind.SEGMENT and (parsed.number(size) + 1) * size <= self._source.own_end

    def _is_archived(self, name: str) -> bool:
        return any(self._source.archive.files(self._source.system_identifier, name))

    def _fail(self, error: SquizzleError) -> None:
        self.error = self.error or error  # the first one is why

    def _expect_after(self, name: WalName) -> None:
        if name.kind is not WalKind.SEGMENT:
            return
        size = self._source.segment_bytes
        number = name.number(size)
        following = [segment_name(name.timeline, number + one, size) for one in range(1, AHEAD + 1)]
        for stale in set(self._ready) - set(following):
            (self._fed / stale).unlink(missing_ok=True)
        self._ready = [one for one in self._ready if one in following]
        self._next = [one for one in following if one not in self._ready]

    def _fetch_ahead(self) -> bool:
        """Fetch one more; what goes wrong is found out again when the server asks for it."""
        if not self._next:
            return False
        name = self._next.pop(0)
        try:
            there = self._fetch(parse_name(name))
        except SquizzleError:
            there = False
        if there:
            self._ready.append(name)
        else:
            self._next = []
        return there


@contextmanager
def feeding(runtime: Runtime, layout: Layout, source: LogSource) -> Iterator[LogFeeder]:
    """Give the server of a cluster its log for the length of the block."""
    feeder = LogFeeder(runtime, layout, source)
    feeder.start()
    try:
        yield feeder
    finally:
        feeder.stop()
