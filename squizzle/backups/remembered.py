"""A store's catalogue by what was read before, for whoever tells of it every minute and decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from squizzle.backups.catalogue import Entry
from squizzle.backups.memory import Memory
from squizzle.backups.notes import notes_in
from squizzle.backups.records import Backup
from squizzle.backups.store import BackupStore, notes_of
from squizzle.errors import BackupDamagedError, InvalidInputError

# So many at the same time: a bucket answers each in some 20 ms.
_THREADS = 16
NOTES_HOLD = timedelta(hours=1)
"""A restore that was compared is news for weeks; each look at the notes of one backup is a request or two."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Remembered:
    """What a store holds, some of it as it was read before.

    Attributes:
        entries: Newest first. A manifest that was not read now is without its files.
        texts: The notes of each, by name.
    """

    entries: tuple[Entry, ...]
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def remembered_catalogue(
    store: BackupStore, memory: Memory, *, now: datetime, counts: Callable[[Iterable[Backup]], Iterable[Backup]]
) -> Remembered:
    """What a store holds; read now is what counts, what is new, and the notes that were read more than an hour ago.

    Args:
        store: Which.
        memory: What was read before; it is saved.
        now: The time.
        counts: Says of usable manifests which are read again, with their notes.

    Raises:
        SquizzleError: The store cannot be read.
    """
    names = store.list_names()
    with ThreadPoolExecutor(_THREADS) as pool:
        manifests = _Manifests(store, memory, pool)
        manifests.read([name for name in names if memory.header(name) is None])
        anew: set[str] = set()
        # One that counted and is gone leaves its place to another one.
        while True:
            told = _usable(manifests, names)
            first = {one.id for one in counts(told)} - anew
            if not first:
                break
            manifests.read(sorted(first))
            anew |= first
        there = [name for name in names if manifests.is_there(name)]
        texts = _texts(store, memory, pool, there, now=now, anew=anew)
    memory.save(frozenset(names))
    return Remembered(entries=tuple(_entry(manifests, name, texts[name], there) for name in there), texts=texts)


class _Manifests:
    """Those that were read now, and those that are remembered."""

    def __init__(self, store: BackupStore, memory: Memory, pool: ThreadPoolExecutor) -> None:
        self._store, self._memory, self._pool = store, memory, pool
        self._read: dict[str, Backup | None] = {}
        self.damaged: dict[str, str] = {}

    def read(self, names: Sequence[str]) -> None:
        """Read these, whatever is remembered of them; each once."""
        new = [name for name in names if name not in self._read]
        for name, found in zip(new, self._pool.map(self._one, new), strict=True):
            self._read[name] = found
            if found is None:
                self._memory.forget(name)
            else:
                self._memory.keep_header(found)

    def _one(self, name: str) -> Backup | None:
        try:
            return self._store.read_header(name)
        except BackupDamagedError as exc:
            self.damaged[name] = exc.message
        except InvalidInputError:
            """It is being written, or was removed a moment ago."""
        return None

    def of(self, name: str) -> Backup | None:
        """None for one that is damaged or not there."""
        return self._read[name] if name in self._read else self._memory.header(name)

    def is_there(self, name: str) -> bool:
        """Whether it is a backup, if a damaged one."""
        return name in self.damaged or self.of(name) is not None


def _usable(manifests: _Manifests, names: Sequence[str]) -> Iterator[Backup]:
    for name in names:
        found = manifests.of(name)
        if found is not None and all(manifests.of(one) for one in found.chain):
            yield found


def _texts(
    store: BackupStore,
    memory: Memory,
    pool: ThreadPoolExecutor,
    names: Sequence[str],
    *,
    now: datetime,
    anew: Iterable[str],
) -> dict[str, Mapping[str, str]]:
    known = {name: memory.notes(name, since=now - NOTES_HOLD, until=now) for name in names}
    known |= dict.fromkeys(set(anew) & set(names))
    missing = [name for name in names if known[name] is None]
    for name, found in zip(missing, pool.map(lambda one: store.texts(notes_of(one)), missing), strict=True):
        known[name] = found
        memory.keep_notes(name, found, now)
    return {name: found or {} for name, found in known.items()}


def _entry(manifests: _Manifests, name: str, texts: Mapping[str, str], there: Sequence[str]) -> Entry:
    backup, notes = manifests.of(name), notes_in(texts, name)
    if backup is None:
        return Entry(id=name, backup=None, notes=notes, problems=(manifests.damaged[name],))
    missing = tuple(
        f"it cannot be restored: backup {member}, which it builds on, is missing"
        for member in backup.chain
        if member not in there
    )
    return Entry(id=name, backup=backup, notes=notes, problems=missing)
