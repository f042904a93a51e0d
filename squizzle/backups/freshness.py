"""How old the newest backup of each database is, and when one of its backups was last proven by a restore."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from squizzle.backups.notes import Notes, read_notes
from squizzle.backups.proofs import ProofKind, Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.store import BackupStore
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
        proven: When one of its backups was last restored and compared, and was the same; None as above.
        failed: What the restores said that failed and after which none passed; empty when there is none.
        why_unknown: Why the rest is not known; empty when it is.
    """

    newest: datetime | None = None
    proven: datetime | None = None
    failed: str = ""
    why_unknown: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether older backups can tell nothing more."""
        return bool(self.why_unknown) or (self.newest is not None and self.proven is not None)


def find_freshness(
    store: BackupStore, whose: Collection[Whose], *, now: datetime, oldest: datetime, patience: timedelta
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

    Returns:
        What was found, for each of them.

    Raises:
        SquizzleError: The store cannot be read.
    """
    ends = time.monotonic() + patience.total_seconds()
    found = {one: Freshness(why_unknown=_untellable(one)) for one in whose}
    _refuse_unreadable(store)
    ids = store.list_ids()
    known = frozenset(ids)
    with ThreadPoolExecutor(max_workers=_THREADS) as pool:
        for batch in _batches([one for one in ids if not _is_before(one, oldest)]):
            open_ones = [one for one, is_now in found.items() if not is_now.is_settled]
            if not open_ones:
                break
            if time.monotonic() > ends:
                why = f"{store.address} could not be read through within {patience.total_seconds():g} s"
                found |= {one: replace(found[one], why_unknown=why) for one in open_ones}
                break
            headers = [one for one in pool.map(lambda each: _header(store, each), batch) if one is not None]
            usable = [
                one for one in headers if one.kind in _WHOLE and known.issuperset(one.chain) and _is_in_time(one, now)
            ]
            needed = [one for one in usable if any(is_of(one, each) for each in open_ones)]
            for backup, notes in zip(needed, pool.map(lambda each: _notes(store, each.id), needed), strict=True):
                for one in open_ones:
                    if is_of(backup, one):
                        found[one] = _with(found[one], backup, notes, oldest)
    return found


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
        found = replace(found, newest=backup.started_at)
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


def _notes(store: BackupStore, backup_id: str) -> Notes:
    """A note that cannot be read makes the backup no worse, and no better."""
    try:
        return read_notes(store, backup_id)
    except BackupDamagedError:
        return Notes()


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
