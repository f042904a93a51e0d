"""What was read of a store before, kept on this machine: a published manifest never changes.

Only a memory: what decides is read again, what is damaged or missing here is read from the store, and nothing of a
backup's files or rows is in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from squizzle.backups.manifest import from_json, to_json
from squizzle.backups.records import Backup
from squizzle.backups.sealed import open_sealed, seal
from squizzle.backups.store_address import folder_of_address
from squizzle.errors import BackupDamagedError

_FORMAT = 2  # 1 had no hash


@dataclass(kw_only=True, slots=True)
class _Seen:
    manifest: str
    notes: Mapping[str, str] = field(default_factory=dict)
    noted_at: datetime | None = None


class Memory:
    """What was read of one store. Not for several threads.

    Args:
        file: Where it is kept between runs; None for this run only.
        address: Of the store; a file about another one counts for nothing.
    """

    def __init__(self, file: Path | None, address: str) -> None:
        self._file = file
        self._address = address
        self._seen = self._read()
        self._headers: dict[str, Backup] = {}
        self._is_changed = False

    def header(self, backup_id: str) -> Backup | None:
        """The manifest of a backup without its files, as it was read before; None where it was not."""
        if backup_id in self._headers:
            return self._headers[backup_id]
        seen = self._seen.get(backup_id)
        if seen is None:
            return None
        try:
            self._headers[backup_id] = from_json(seen.manifest, source=str(self._file))
        except BackupDamagedError:
            del self._seen[backup_id]
            return None
        return self._headers[backup_id]

    def keep_header(self, backup: Backup) -> None:
        """Remember a manifest that was read."""
        short = replace(backup.as_stored, files=(), digest=None, details={}, not_covered=())
        self._headers[backup.id] = short
        manifest, seen = to_json(short), self._seen.get(backup.id)
        if seen is None or seen.manifest != manifest:
            self._seen[backup.id] = _Seen(manifest=manifest)
            self._is_changed = True

    def notes(self, backup_id: str, *, since: datetime, until: datetime) -> Mapping[str, str] | None:
        """The notes of a backup, by name, where they were read between these moments; None else."""
        seen = self._seen.get(backup_id)
        if seen is None or seen.noted_at is None or not since <= seen.noted_at <= until:
            return None
        return seen.notes

    def keep_notes(self, backup_id: str, texts: Mapping[str, str], at: datetime) -> None:
        """Remember the notes of a backup whose manifest is remembered."""
        if (seen := self._seen.get(backup_id)) is not None:
            seen.notes, seen.noted_at = dict(texts), at
            self._is_changed = True

    def forget(self, backup_id: str) -> None:
        """It is not there any more."""
        self._headers.pop(backup_id, None)
        self._is_changed |= self._seen.pop(backup_id, None) is not None

    def save(self, ids: Collection[str]) -> None:
        """Keep what is known of these, and nothing else, for the next run; where that fails, it reads again."""
        gone = [one for one in self._seen if one not in ids]
        if self._file is None or not (self._is_changed or gone):
            return
        backups = {
            name: [one.manifest, dict(one.notes), one.noted_at.isoformat() if one.noted_at else None]
            for name, one in self._seen.items()
            if name not in gone
        }
        text = seal({"format": _FORMAT, "store": self._address, "backups": backups})
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Two sweeps at the same time: the last one's is kept, and both are right.
            handle, name = tempfile.mkstemp(dir=self._file.parent, prefix=f".{self._file.name}-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as made:
                    made.write(text)
                Path(name).replace(self._file)
            finally:
                Path(name).unlink(missing_ok=True)

    def _read(self) -> dict[str, _Seen]:
        if self._file is None:
            return {}
        try:
            document = open_sealed(self._file.read_text(encoding="utf-8"), str(self._file))
            if (document["format"], document["store"]) != (_FORMAT, self._address):
                return {}
            return {
                name: _Seen(manifest=manifest, notes=notes, noted_at=datetime.fromisoformat(at) if at else None)
                for name, (manifest, notes, at) in document["backups"].items()
            }
        except (BackupDamagedError, OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}


def memory_of(address: str, environ: Mapping[str, str] = os.environ) -> Memory:
    """The memory of a store, in `$XDG_CACHE_HOME/squizzle/backups`; of a folder, which is quick to read, none is kept.

    Args:
        address: The store's.
        environ: Where that variable is.
    """
    if folder_of_address(address) is not None:
        return Memory(None, address)
    home = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = hashlib.sha256(address.encode()).hexdigest()[:16]
    return Memory(home / "squizzle" / "backups" / f"{name}.json", address)
