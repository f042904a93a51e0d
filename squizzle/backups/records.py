"""What travels: one backup, its files, and what they prove."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from squizzle.errors import InvalidInputError
from squizzle.proof.records import NOT_COVERED, DatabaseDigest

SIZE_DETAIL = "source_bytes"
"""Under this name a manifest's details say how big the source was, so that the next one's size can be told."""
ALLOCATED_DETAIL = "allocated_bytes"
"""Under this name the details of a snapshot say how big the storage was that it was taken of."""

CHANGED_DETAIL = "changed_tables"
"""Under this name the details of a snapshot say which tables were written while it was taken."""

SEALED_CLAUSES = ("fingerprints, details and what is not covered are sealed: only its key shows them",)
"""What the part of an encrypted backup's manifest that everybody can read says of the rest."""


class BackupKind(StrEnum):
    """What a backup holds."""

    FULL = "full"
    SCHEMA = "schema"
    DATA = "data"
    GLOBALS = "globals"
    PHYSICAL = "physical"
    INCREMENTAL = "incremental"
    RDS = "rds"
    MARK = "mark"

    @property
    def is_dump(self) -> bool:
        """Whether pg_restore reads it."""
        return self in {BackupKind.FULL, BackupKind.SCHEMA, BackupKind.DATA}

    @property
    def is_cluster(self) -> bool:
        """Whether it holds the files of a whole cluster rather than one database."""
        return self in {BackupKind.PHYSICAL, BackupKind.INCREMENTAL}


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupFile:
    """One file of a backup.

    Attributes:
        path: Relative to the backup's folder, with `/`.
        size_bytes: Its length.
        sha256: Its content's hash.
    """

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviousBackup:
    """The backup of the same database that was the newest when this one was published.

    Each manifest names the one before it with its hash, so a manifest that was removed or exchanged leaves a gap.

    Attributes:
        id: Its id.
        manifest_sha256: The hash of its manifest (`manifest_hash`).
    """

    id: str
    manifest_sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Backup:
    """One backup, as its manifest describes it.

    Attributes:
        id: Unique in the store, sortable by time.
        kind: What it holds.
        store: Address of the store (`file:///…`, `s3://bucket/prefix`).
        location: The backup's folder within the store.
        started_at: When the snapshot was taken: everything committed before is in, nothing after. For a copy of a
            cluster: when it began.
        duration: From the snapshot to the manifest.
        database: The name of the database that was saved; of a cluster's copy: the one that was fingerprinted.
        identity_id: The id in its `squizzle.identity`; None when it has none.
        system_identifier: Of the cluster (pg_control_system); empty when it may not be read.
        migration_version: The highest applied version in it.
        lsn: Write-ahead log position at the snapshot; of a cluster's copy: where recovery begins.
        server_version: Such as 180006.
        client_version: The version text of the program that made it.
        files: Every file but the manifest and the proofs, as they are restored.
        stored_files: Of an encrypted backup that was opened with its key: every file as it lies in the store.
        digest: Fingerprints taken under the very snapshot that was dumped; None when there was nothing to fingerprint.
        digest_lsn: Of a cluster's copy: a copy recovered to exactly here must have the digest. Empty when the digest is
            that of the snapshot, or when no such moment was found.
        stop_lsn: Of a cluster's copy: recovery must reach this before the copy is consistent; else empty.
        timeline: Of the write-ahead log; None for a dump of a server where it may not be read.
        chain: Ids of the backups that it cannot be restored without, the full one first.
        previous: The backup before it in the chain of hashes; None for the first one of a database.
        encryption: How the files were encrypted (`cipher`, `format`, which master `key`, the data key as `wrapped_key`
            that only the master key unwraps), without any secret; empty when they were not.
        details: What only this kind has to say, such as a snapshot's ARN.
        not_covered: What it does not hold or prove, one clause each.
    """

    id: str
    kind: BackupKind
    store: str
    location: str
    started_at: datetime
    duration: timedelta
    database: str
    identity_id: str | None
    system_identifier: str
    migration_version: str | None
    lsn: str
    server_version: int
    client_version: str
    files: tuple[BackupFile, ...]
    digest: DatabaseDigest | None
    stored_files: tuple[BackupFile, ...] = ()
    digest_lsn: str = ""
    stop_lsn: str = ""
    timeline: int | None = None
    chain: tuple[str, ...] = ()
    previous: PreviousBackup | None = None
    encryption: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, str] = field(default_factory=dict)
    not_covered: tuple[str, ...] = NOT_COVERED

    @property
    def is_sealed(self) -> bool:
        """Whether this is only what everybody can read of an encrypted backup."""
        return bool(self.encryption) and not self.stored_files

    @property
    def as_stored(self) -> Backup:
        """What everybody can read of it in the store; the same again for a backup that is not encrypted."""
        if not self.stored_files:
            return self
        known = {name: value for name, value in self.details.items() if self._is_told(name)}
        return replace(
            self, files=self.stored_files, stored_files=(), digest=None, details=known, not_covered=SEALED_CLAUSES
        )

    def _is_told(self, detail: str) -> bool:
        """A snapshot at a provider is verified and removed by what the details say of it; names of tables are ours."""
        return detail == SIZE_DETAIL or (self.kind is BackupKind.RDS and detail != CHANGED_DETAIL)

    @property
    def size_bytes(self) -> int:
        """All files together, in the store; of a snapshot at a provider, the storage that it was taken of."""
        if self.kind is BackupKind.RDS:
            return int(self.details.get(ALLOCATED_DETAIL, "0"))
        return sum(file.size_bytes for file in self.stored_files or self.files)

    @property
    def rows(self) -> int:
        """Rows that were fingerprinted."""
        return self.digest.rows if self.digest else 0

    @property
    def sha256(self) -> str:
        """One hash over paths, sizes and hashes of all files in the store."""
        stored = self.stored_files or self.files
        lines = (f"{file.sha256} {file.size_bytes} {file.path}\n" for file in stored)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def fingerprint(self) -> DatabaseDigest:
        """The digest of a backup that must have one.

        Raises:
            InvalidInputError: It has none, so nothing can be compared with it.
        """
        if self.digest is None:
            raise InvalidInputError(
                f"backup {self.id} ({self.kind}) holds no fingerprints, so nothing can be compared with it",
                hint="name a full backup of the database; `squizzle backups` lists them",
            )
        return self.digest
