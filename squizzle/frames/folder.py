"""Frames in a folder of a store: one file each at first, one an hour and one a day when those have ended.

Nothing is changed in a file: a merged one has a name of its own, made from the names of its parts, and they are removed
once it is written. So whoever is killed, or does the same at the same time, leaves rows twice at worst, and those are
told by their entry.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pandas as pd

from squizzle.backups.store import BackupStore
from squizzle.errors import BackupDamagedError
from squizzle.frames.parquet import ENTRY, check, from_parquet, merge, to_parquet

_NAME = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)/"
    r"(?:(?P<one>\d{6})-[0-9a-f]{8}|(?P<hour>\d\d)-[0-9a-f]{16}|day-[0-9a-f]{16})\.parquet(?P<damaged>\.damaged)?"
)
_DAMAGED = ".damaged"
_MOMENT, _HOUR, _DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
# Who began in an hour may write after its end.
_LATE = timedelta(minutes=10)
# So many at one time, lest a sweep waits for what a long break left.
_MOST_MERGES = 4
_READERS = 4
# File systems take 255 bytes.
_LONGEST_PART, _CUT_PART = 200, 100
# Somebody merges once an hour: whoever lists anew finds what was merged meanwhile.
_LISTINGS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """One file.

    Attributes:
        path: Seen from the folder.
        begin: From when on its rows may be.
        length: For how long; a second for one moment.
        is_damaged: Whether it could not be read and was put aside.
    """

    path: str
    begin: datetime
    length: timedelta
    is_damaged: bool = False

    @property
    def end(self) -> datetime:
        """Behind its last row."""
        return self.begin + self.length


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadFrames:
    """What was read.

    Attributes:
        frame: The rows, the oldest first, each once; without columns where there is none.
        problems: What could not be read, a sentence each.
    """

    frame: pd.DataFrame
    problems: tuple[str, ...] = ()


def folder_name(name: str) -> str:
    """A name of a user's as one part of a path, short enough for a file system; another name is another part."""
    part = quote(name, safe="").replace(".", "%2E")
    if len(part) <= _LONGEST_PART:
        return part
    # A dot is in no other part.
    return f"{part[:_CUT_PART]}.{hashlib.sha256(name.encode()).hexdigest()}"


def remove_ended(store: BackupStore, parent: str, *, but: Collection[str], before: datetime) -> tuple[str, ...]:
    """Remove every frame of folders below one to which nothing came since a moment; one listing tells.

    Args:
        store: Where they are.
        parent: The folder above them.
        but: Names of folders that stay, however old.
        before: A folder with a row from then or later stays as it is.

    Returns:
        The names of the folders that went.

    Raises:
        ToolError: The store cannot be read, or refuses.
    """
    folders: dict[str, list[Piece]] = defaultdict(list)
    for path in store.list_paths(parent):
        name, _, rest = path.partition("/")
        piece = _piece(rest)
        if piece is not None and name not in but:
            folders[name].append(piece)
    ended = {name: pieces for name, pieces in folders.items() if all(one.end < before for one in pieces)}
    for name, pieces in ended.items():
        store.remove_files([f"{parent}/{name}/{one.path}" for one in pieces])
    return tuple(sorted(ended))


class FrameFolder:
    """Frames of one kind.

    Args:
        store: Where they are.
        folder: Below it, with `/`.
    """

    def __init__(self, store: BackupStore, folder: str) -> None:
        self._store = store
        self._folder = folder

    def pieces(self) -> tuple[Piece, ...]:
        """Every file of ours, by one listing.

        Raises:
            ToolError: The store cannot be read.
        """
        found = (_piece(path) for path in self._store.list_paths(self._folder))
        return tuple(one for one in found if one is not None)

    def put(self, frame: pd.DataFrame, at: datetime) -> Piece:
        """Write one frame, with a column that says which one it is.

        Args:
            frame: With a column `at`, of aware moments.
            at: Whose hour and day it belongs to.

        Raises:
            ToolError: The store is full or fails.
        """
        at = at.astimezone(UTC)
        token = secrets.token_hex(4)
        path = f"{at:%Y-%m-%d}/{at:%H%M%S}-{token}.parquet"
        self._store.put_bytes(
            f"{self._folder}/{path}", to_parquet(frame.assign(**{ENTRY: f"{at:%Y%m%dT%H%M%S}-{token}"}))
        )
        return Piece(path=path, begin=at.replace(microsecond=0), length=_MOMENT)

    def read(
        self, since: datetime, *, wants: Callable[[str], bool] | None = None, every: timedelta | None = None
    ) -> ReadFrames:
        """Every row from a moment on; in memory are those rows, and a few files.

        Args:
            since: The first moment.
            wants: Says of a column whether it is read, besides `entry` and `at`; None for all.
            every: Of each such time only the newest moment, so that months fit into memory; None for all.

        Raises:
            ToolError: The store cannot be read.
        """
        frames: dict[str, pd.DataFrame] = {}
        problems: list[str] = []
        gone: list[str] = []
        for _ in range(_LISTINGS):
            new = [one for one in self.pieces() if one.end > since and not one.is_damaged and one.path not in frames]
            gone = []
            for some in (new[begin : begin + _READERS] for begin in range(0, len(new), _READERS)):
                for one, content in zip(some, self._contents(some), strict=True):
                    if content is None:
                        gone.append(one.path)
                        continue
                    try:
                        frame = from_parquet(content, wants=_with_own(wants), source=f"{self._folder}/{one.path}")
                        frames[one.path] = _chosen(frame, since, every)
                    except BackupDamagedError as exc:
                        frames[one.path] = pd.DataFrame()
                        problems.append(exc.message)
            if not gone:
                break
        problems += [f"{self._folder}/{path} was removed while it was read" for path in gone]
        return ReadFrames(frame=_rows_once([one for one in frames.values() if len(one)]), problems=tuple(problems))

    def tidy(self, pieces: Iterable[Piece], now: datetime, *, keep: timedelta | None = None) -> tuple[str, ...]:
        """Make the files of each ended hour, and of each ended day, one; remove what is too old.

        Args:
            pieces: As `pieces` gave them.
            now: The time.
            keep: How long rows are kept; None for ever.

        Returns:
            What is damaged, a sentence each; it was put aside, and is removed when it is too old.

        Raises:
            ToolError: The store fails; every row is still there.
        """
        known = list(pieces)
        old = [] if keep is None else [one for one in known if one.end < now - keep]
        self._remove(old)
        usable = [one for one in known if one not in old and not one.is_damaged]
        problems: list[str] = []
        for name, parts in _mergeable(usable, now)[:_MOST_MERGES]:
            problems += self._merge(name, parts)
        return tuple(problems)

    def _merge(self, name: str, parts: Sequence[Piece]) -> tuple[str, ...]:
        contents = self._contents(parts)
        whole = [content for content in contents if content is not None]
        if len(whole) < len(parts):  # somebody else merges them at this moment
            return ()
        try:
            merged = merge(whole)
        except BackupDamagedError:
            return self._put_aside(parts, whole)
        mark = hashlib.sha256("\n".join(one.path for one in parts).encode()).hexdigest()[:16]
        self._store.put_bytes(f"{self._folder}/{name}-{mark}.parquet", merged)
        self._remove(parts)
        return ()

    def _put_aside(self, parts: Sequence[Piece], contents: Sequence[bytes]) -> tuple[str, ...]:
        """Rename what cannot be read, so that the rest can be merged the next time."""
        problems = []
        for one, content in zip(parts, contents, strict=True):
            path = f"{self._folder}/{one.path}"
            try:
                check(content, source=path)
            except BackupDamagedError as exc:
                self._store.put_bytes(path + _DAMAGED, content)
                self._remove([one])
                problems.append(f"{exc.message}; it is {path}{_DAMAGED} now")
        return tuple(problems)

    def _contents(self, pieces: Sequence[Piece]) -> list[bytes | None]:
        with ThreadPoolExecutor(_READERS) as threads:
            return list(threads.map(lambda one: self._store.read_bytes(f"{self._folder}/{one.path}"), pieces))

    def _remove(self, pieces: Sequence[Piece]) -> None:
        if pieces:
            self._store.remove_files([f"{self._folder}/{one.path}" for one in pieces])


def _with_own(wants: Callable[[str], bool] | None) -> Callable[[str], bool] | None:
    return None if wants is None else lambda name: name in {ENTRY, "at"} or wants(name)


def _chosen(frame: pd.DataFrame, since: datetime, every: timedelta | None) -> pd.DataFrame:
    new = frame[frame["at"] >= since]
    if every is None or not len(new):
        return new
    return new[new["at"] == new["at"].groupby(new["at"].dt.floor(every)).transform("max")]


def _rows_once(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """All rows, the oldest first; those of an entry that an earlier frame has are left out."""
    if not frames:
        return pd.DataFrame()
    seen: set[str] = set()
    once = []
    for frame in frames:
        once.append(frame[~frame[ENTRY].isin(seen)] if seen else frame)
        seen.update(frame[ENTRY].unique())
    return pd.concat(once, ignore_index=True).sort_values("at", kind="stable", ignore_index=True)


def _piece(path: str) -> Piece | None:
    match = _NAME.fullmatch(path)
    if match is None:
        return None
    time = match["one"] or f"{match['hour'] or '00'}0000"
    try:
        begin = datetime.strptime(f"{match['day']} {time} +0000", "%Y-%m-%d %H%M%S %z")
    except ValueError:
        return None
    length = _MOMENT if match["one"] else _HOUR if match["hour"] else _DAY
    return Piece(path=path, begin=begin, length=length, is_damaged=bool(match["damaged"]))


def _mergeable(pieces: Sequence[Piece], now: datetime) -> list[tuple[str, list[Piece]]]:
    """What should be one file, and how that begins; the oldest first."""
    groups: dict[tuple[datetime, str], list[Piece]] = defaultdict(list)
    for one in pieces:
        day, hour = one.begin.replace(hour=0, minute=0, second=0), one.begin.replace(minute=0, second=0)
        if day + _DAY + _LATE <= now:
            groups[day, f"{day:%Y-%m-%d}/day"].append(one)
        elif hour + _HOUR + _LATE <= now and one.length < _DAY:
            groups[hour, f"{hour:%Y-%m-%d}/{hour:%H}"].append(one)
    return [
        (name, sorted(group, key=lambda one: one.path)) for (_, name), group in sorted(groups.items()) if len(group) > 1
    ]
