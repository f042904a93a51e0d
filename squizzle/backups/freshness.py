"""How old the newest backup of each database is, and when one of its backups was last proven by a restore."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from squizzle.backups.memory import Memory
from squizzle.backups.notes import Notes, notes_in
from squizzle.backups.proofs import ProofKind, Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.remembered import NOTES_HOLD
from squizzle.backups.store import BackupStore, notes_of
from squizzle.backups.store_address import folder_of_address
from squizzle.errors import BackupDamagedError, InvalidInputError, ToolError

# So many manifests at the same time: a bucket answers each in some 20 ms.
_THREADS = 16
_BATCH = 4 * _THREADS
# Clocks differ; a backup from further ahead would count as fresh for as long as its clock is wrong.
_AHEAD = timedelta(hours=1)
_WHOLE = frozenset({BackupKind.FULL, BackupKind.PHYSICAL, BackupKind.INCREMENTAL, BackupKind.RDS})


@dataclass(frozen=True, kw_only=True, slots=True)
class Whose:
    """A database, as its backups know it.

    Attributes:
        database: Its name.
        cluster: The system identifier of its cluster; empty where that may not be read.
        identity_id: The id in its `squizzle.identity`; empty when it has none.
    """

    database: str
    cluster: str
    identity_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Freshness:
    """What a store has of one database.

    Attributes:
        newest: When its newest whole backup began; None when there is none as young as was asked for.
        newest_id: Which that is; empty when there is none.
        proven: When one of its backups was last restored and compared, and was the same; None as above.
        failed: What the restores said that failed and after which none passed; empty when there is none.
        why_unknown: Why the rest is not known; empty when it is.
    """

    newest: datetime | None = None
    newest_id: str = ""
    proven: datetime | None = None
    failed: str = ""
    why_unknown: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether older backups can tell nothing more."""
        return bool(self.why_unknown) or (self.newest is not None and self.proven is not None)


def find_freshness(
    store: BackupStore,
    whose: Collection[Whose],
    *,
    now: datetime,
    oldest: datetime,
    patience: timedelta,
    memory: Memory | None = None,
) -> Mapping[Whose, Freshness]:
    """Look through a store once for many databases, the newest backups first, until all is known. Nothing is changed.

    A copy of a cluster is a backup of each of its databases. A backup whose files are damaged, whose chain has a gap,
    or whose restore failed is none.

    Args:
        store: Which.
        whose: The databases.
        now: The time.
        oldest: What is older is not looked at.
        patience: Whoever is not settled by then is not known.
        memory: What was read before. The manifests that count are read again, and the notes of a database's newest
            backup; other notes when they were read more than an hour ago.

    Returns:
        What was found, for each of them.

    Raises:
        SquizzleError: The store cannot be read.
    """
    ends = time.monotonic() + patience.total_seconds()
    _refuse_unreadable(store)
    names = store.list_names()
    known = memory or Memory(None, store.address)
    with ThreadPoolExecutor(max_workers=_THREADS) as pool:
        look = _Look(store, known, pool, names, now)
        while True:
            found = look.through(whose, oldest, ends)
            if not look.has_lost({one.newest_id for one in found.values() if one.newest_id}):
                break
    known.save(frozenset(names))
    if look.is_late:
        why = f"{store.address} could not be read through within {patience.total_seconds():g} s"
        found = {
            one: is_now if is_now.is_settled else replace(is_now, why_unknown=why) for one, is_now in found.items()
        }
    return found


class _Look:
    """One look at a store: each manifest is read once at the most, those that are remembered only where they count."""

    def __init__(
        self, store: BackupStore, memory: Memory, pool: ThreadPoolExecutor, names: Sequence[str], now: datetime
    ) -> None:
        self._store, self._memory, self._pool, self._now = store, memory, pool, now
        self._names = names
        # Read now, and not remembered: None for what is no backup.
        self._read: dict[str, Backup | None] = {}
        self._noted: dict[str, Notes] = {}
        self.is_late = False

    def through(self, whose: Collection[Whose], oldest: datetime, ends: float) -> dict[Whose, Freshness]:
        """What is known of each until the time is over."""
        found = {one: Freshness(why_unknown=_untellable(one)) for one in whose}
        for batch in _batches([one for one in self._names if not _is_before(one, oldest)]):
            open_ones = [one for one, is_now in found.items() if not is_now.is_settled]
            if not open_ones:
                break
            if time.monotonic() > ends:
                self.is_late = True
                break
            headers = [one for one in self._headers(batch) if one is not None and one.kind in _WHOLE]
            usable = [one for one in headers if _is_in_time(one, self._now) and all(self._headers(one.chain))]
            needed = [one for one in usable if any(is_of(one, each) for each in open_ones)]
            unmet = [one for one in open_ones if found[one].newest is None]
            first = {next((one.id for one in needed if is_of(one, each)), "") for each in unmet}
            for backup, notes in zip(needed, self._notes(needed, first), strict=True):
                for one in open_ones:
                    if is_of(backup, one):
                        found[one] = _with(found[one], backup, notes, oldest)
        return found

    def has_lost(self, ids: Collection[str]) -> bool:
        """Read again what counts and was only remembered; whether one of them is there no more."""
        unsure = [one for one in ids if one not in self._read]
        self._read_headers(unsure)
        lost = [one for one in unsure if self._read[one] is None]
        return bool(lost)

    def _headers(self, ids: Sequence[str]) -> list[Backup | None]:
        self._read_headers([one for one in ids if one not in self._read and self._memory.header(one) is None])
        return [self._read[one] if one in self._read else self._memory.header(one) for one in ids]

    def _read_headers(self, ids: Sequence[str]) -> None:
        for name, header in zip(ids, self._pool.map(lambda each: _header(self._store, each), ids), strict=True):
            self._read[name] = header
            if header is None:
                self._memory.forget(name)
            else:
                self._memory.keep_header(header)

    def _notes(self, backups: Sequence[Backup], anew: Collection[str]) -> list[Notes]:
        """Of each: as they were remembered, where that was not long ago and it is not one that has to be read anew."""

        def remembered(name: str) -> Mapping[str, str] | None:
            return self._memory.notes(name, since=self._now - NOTES_HOLD, until=self._now)

        missing = [
            one.id for one in backups if one.id not in self._noted and (one.id in anew or remembered(one.id) is None)
        ]
        for name, texts in zip(missing, self._pool.map(lambda each: _texts(self._store, each), missing), strict=True):
            self._noted[name] = notes_in(texts, name)
            self._memory.keep_notes(name, texts, self._now)
        return [self._noted.get(one.id) or notes_in(remembered(one.id) or {}, one.id) for one in backups]


def is_of(backup: Backup, whose: Whose) -> bool:
    """Whether a backup is one of this database's. Pure.

    A database that was restored elsewhere has no backup there yet, so the cluster decides; where it may not be read,
    the identity does.
    """
    is_wide = backup.kind.is_cluster or backup.kind is BackupKind.RDS
    if backup.system_identifier and whose.cluster:
        return backup.system_identifier == whose.cluster and (is_wide or backup.database == whose.database)
    return bool(whose.identity_id) and backup.identity_id == whose.identity_id


def _untellable(whose: Whose) -> str:
    if whose.cluster or whose.identity_id:
        return ""
    return (
        "its backups cannot be told from those of other servers: grant the account EXECUTE on pg_control_system(),"
        " or apply a migration, which writes its identity"
    )


def _with(found: Freshness, backup: Backup, notes: Notes, oldest: datetime) -> Freshness:
    """With what one backup says, after all that are newer."""
    files, restore = notes.last(ProofKind.FILES), notes.last(ProofKind.RESTORE)
    passed = next((one for one in notes.proofs if one.kind is ProofKind.RESTORE and one.verdict is Verdict.PASS), None)
    is_broken = any(one is not None and one.verdict is Verdict.FAIL for one in (files, restore))
    if found.newest is None and not is_broken:
        found = replace(found, newest=backup.started_at, newest_id=backup.id)
    if found.proven is None and passed is not None and passed is restore and passed.at >= oldest:
        return replace(found, proven=passed.at)
    if found.proven is None and not found.failed and restore is not None and restore.verdict is Verdict.FAIL:
        return replace(found, failed=f"{backup.id}: {restore.sentences[0] if restore.sentences else 'it failed'}")
    return found


def _header(store: BackupStore, backup_id: str) -> Backup | None:
    """None for one that is damaged, or was removed a moment ago."""
    try:
        return store.read_header(backup_id)
    except (BackupDamagedError, InvalidInputError):
        return None


def _texts(store: BackupStore, backup_id: str) -> Mapping[str, str]:
    """A note that cannot be read makes the backup no worse, and no better."""
    try:
        return store.texts(notes_of(backup_id))
    except BackupDamagedError:
        return {}


def _refuse_unreadable(store: BackupStore) -> None:
    """A folder that is not there, such as one that was not mounted, looks as if it held nothing."""
    folder = folder_of_address(store.address)
    if folder is None:
        return
    try:
        with os.scandir(folder):
            pass
    except OSError as exc:
        raise ToolError(f"{folder}: {exc.strerror}", hint="mount it, or let the account read it") from exc


def _is_in_time(backup: Backup, now: datetime) -> bool:
    return backup.started_at <= now + _AHEAD


def _is_before(backup_id: str, oldest: datetime) -> bool:
    """By the time that ids begin with; one that says none is looked at."""
    try:
        return datetime.strptime(backup_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) < oldest
    except ValueError:
        return False


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for begin in range(0, len(ids), _BATCH):
        yield ids[begin : begin + _BATCH]
