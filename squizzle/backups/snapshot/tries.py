"""Notes of snapshots that were begun and have no manifest yet, so that the next run finds what a killed one left.

Each is written before RDS is asked, and holds what was fingerprinted before: the snapshot alone would not say what is
in it. It lies in the store beside the backups, under the run's id.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from squizzle.backups.manifest import from_json, to_json
from squizzle.backups.rds.records import SnapshotPurpose
from squizzle.backups.rds.snapshot_source import SnapshotSource
from squizzle.backups.rds.states import Judgement, judge_snapshot
from squizzle.backups.records import Backup
from squizzle.backups.store import BackupStore, safe_name
from squizzle.errors import BackupDamagedError

TRIES_FOLDER = "snapshots-begun"
SEEN_DETAIL = "seen"
ROLLOUT_DETAIL = "rollout"
# One that is done for longer than this is no longer what somebody who runs the command again wants to have saved.
_FRESH = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Try:
    """One run that began a snapshot.

    Attributes:
        draft: The manifest so far, with the fingerprints from before; its id is the run's.
        resource_id: The instance, by the id that stays with it.
        seen: `pg_current_snapshot()` of the fingerprints.
    """

    draft: Backup
    resource_id: str
    seen: str

    @property
    def purpose(self) -> SnapshotPurpose:
        """What gives the snapshot its name."""
        return SnapshotPurpose(
            run_id=self.draft.id,
            migration_version=self.draft.migration_version,
            rollout_id=self.draft.details.get(ROLLOUT_DETAIL),
        )


class Tries:
    """The notes about one database on one instance.

    Args:
        store: Where they lie.
        database: The database's name.
        resource_id: The instance.
    """

    def __init__(self, store: BackupStore, database: str, resource_id: str) -> None:
        self._store = store
        self._database = database
        self._resource_id = resource_id

    def note(self, begun: Try) -> None:
        """Write a note down, before RDS is asked."""
        self._store.put_text(self._path(begun), to_json(begun.draft))

    def unfinished(self) -> tuple[Try, ...]:
        """The tries that no backup came of, newest first. A note of a published one is removed on the way."""
        published = self.published()
        found = []
        for name, text in self._store.texts(TRIES_FOLDER).items():
            try:
                draft = from_json(text, source=f"{TRIES_FOLDER}/{name}")
            except BackupDamagedError:  # says nothing of what is in its snapshot, so that one is no backup
                continue
            one = Try(
                draft=draft, resource_id=draft.details.get("resource_id", ""), seen=draft.details.get(SEEN_DETAIL, "")
            )
            if (draft.database, one.resource_id) != (self._database, self._resource_id):
                continue
            if draft.id in published:
                self.forget(one)
            else:
                found.append(one)
        return tuple(sorted(found, key=lambda one: one.draft.started_at, reverse=True))

    def forget(self, done: Try) -> None:
        """Remove a note."""
        self._store.remove_text(self._path(done))

    def _path(self, one: Try) -> str:
        return f"{TRIES_FOLDER}/{one.draft.id}.json"

    def published(self) -> frozenset[str]:
        """The runs whose snapshots have a manifest in the store."""
        runs = set()
        for backup_id in self._store.list_ids():
            if f"-{safe_name(self._database)}-" not in backup_id:
                continue
            try:
                runs.add(self._store.read(backup_id).details.get("run", ""))
            except BackupDamagedError:  # its snapshot may be the one; the catalogue says that it is damaged
                continue
        return frozenset(runs)


def adoptable(tries: Iterable[Try], source: SnapshotSource) -> Try | None:
    """The newest try whose snapshot is being made, or was done a moment ago.

    Args:
        tries: Newest first.
        source: The instance.
    """
    for one in tries:
        found = source.find(one.purpose)
        if found is None:
            continue
        judgement = judge_snapshot(found.status)
        is_fresh = found.created_at is None or source.now() - found.created_at < _FRESH
        if judgement is Judgement.WAIT or (judgement is Judgement.READY and is_fresh):
            return one
    return None
