"""The manifest: what a backup is, file by file and table by table. A backup without one does not exist."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from squizzle.errors import BackupDamagedError
from squizzle.proof.records import NOT_COVERED, DatabaseDigest, SchemaDigest, SchemaObject, TableDigest

MANIFEST_NAME = "manifest.json"
FORMAT_VERSION = 1
_CHUNK = 1 << 20


class BackupKind(StrEnum):
    """What a backup holds."""

    FULL = "full"


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
class Backup:
    """One backup, as its manifest describes it.

    Attributes:
        id: Unique in the store, sortable by time.
        kind: What it holds.
        store: Address of the store (`file:///…`).
        location: The backup's folder within the store.
        started_at: When the snapshot was taken: everything committed before is in, nothing after.
        duration: From the snapshot to the manifest.
        database: The name of the database that was saved.
        identity_id: The id in its `squizzle.identity`; None when it has none.
        system_identifier: Of the cluster (pg_control_system); empty when it may not be read.
        migration_version: The highest applied version in it.
        lsn: Write-ahead log position at the snapshot.
        server_version: Such as 180006.
        client_version: The version text of pg_dump.
        files: Every file but the manifest.
        digest: Fingerprints taken under the very snapshot that was dumped.
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
    digest: DatabaseDigest

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(file.size_bytes for file in self.files)

    @property
    def sha256(self) -> str:
        """One hash over paths, sizes and hashes of all files."""
        lines = (f"{file.sha256} {file.size_bytes} {file.path}\n" for file in self.files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def describe_file(path: Path, root: Path) -> BackupFile:
    """Size and hash of one file of a backup.

    Raises:
        OSError: It cannot be read.
    """
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return BackupFile(path=path.relative_to(root).as_posix(), size_bytes=size, sha256=digest.hexdigest())


def describe_files(root: Path) -> tuple[BackupFile, ...]:
    """Every file below the folder but the manifest, in the order of their paths."""
    paths = sorted(path for path in root.rglob("*") if path.is_file() and path != root / MANIFEST_NAME)
    return tuple(describe_file(path, root) for path in paths)


def check_files(backup: Backup, root: Path) -> None:
    """Compare every file with the manifest. Nothing is changed.

    `pg_restore` restores some damaged dumps without a word (zstd and lz4 have no checksum), so this comes first.

    Raises:
        BackupDamagedError: Names every file that is missing, changed, or not in the manifest.
    """
    expected = {file.path: file for file in backup.files}
    found = {file.path: file for file in describe_files(root)}
    problems = [_problem(path, expected.get(path), found.get(path)) for path in sorted(expected.keys() | found.keys())]
    named = [problem for problem in problems if problem]
    if named:
        raise BackupDamagedError(
            f"backup {backup.id} in {root} is damaged, nothing was restored from it: {'; '.join(named)}",
            hint="use another backup; keep this one for finding out what damaged it",
        )


def _problem(path: str, expected: BackupFile | None, found: BackupFile | None) -> str:
    if found is None:
        return f"{path} is missing"
    if expected is None:
        return f"{path} is not in the manifest"
    if found.size_bytes != expected.size_bytes:
        return f"{path} has {found.size_bytes} bytes, the manifest says {expected.size_bytes}"
    if found.sha256 != expected.sha256:
        return f"{path} has SHA-256 {found.sha256[:16]}…, the manifest says {expected.sha256[:16]}…"
    return ""


def to_json(backup: Backup) -> str:
    """The manifest's text; starts with the keys that the command's contract promises."""
    digest = backup.digest
    document = {
        "format_version": FORMAT_VERSION,
        "id": backup.id,
        "kind": backup.kind.value,
        "store": backup.store,
        "location": backup.location,
        "started_at": backup.started_at.isoformat(),
        "duration_ms": round(backup.duration.total_seconds() * 1000),
        "size_bytes": backup.size_bytes,
        "sha256": backup.sha256,
        "migration_version": backup.migration_version,
        "lsn": backup.lsn,
        "server_version": backup.server_version,
        "chain": [],
        "database": backup.database,
        "identity_id": backup.identity_id,
        "system_identifier": backup.system_identifier,
        "client_version": backup.client_version,
        "files": [{"path": one.path, "size_bytes": one.size_bytes, "sha256": one.sha256} for one in backup.files],
        "schema": {"strict": digest.schema.strict, "logical": digest.schema.logical},
        "objects": [[one.kind, one.name, one.parent, one.strict, one.logical] for one in digest.schema.objects],
        "tables": {one.table: {"rows": one.rows, "digest": one.digest} for one in digest.tables},
        "sequences": dict(digest.sequences),
        "not_covered": list(NOT_COVERED),
    }
    text = json.dumps(document, ensure_ascii=False, indent=1)
    # The last line of defence against a damaged manifest: a hash over everything above it.
    return json.dumps({"manifest_sha256": _text_hash(text), "manifest": document}, ensure_ascii=False, indent=1) + "\n"


def _text_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def from_json(text: str, *, source: str) -> Backup:
    """Read a manifest.

    Args:
        text: The file's content.
        source: The file's name, for messages.

    Raises:
        BackupDamagedError: It is not a manifest of ours, was changed, or is of a newer format.
    """
    try:
        envelope = json.loads(text)
        document = envelope["manifest"]
        stated = envelope["manifest_sha256"]
        if _text_hash(json.dumps(document, ensure_ascii=False, indent=1)) != stated:
            raise BackupDamagedError(f"{source} was changed after it was written", hint="use another backup")
        if document["format_version"] != FORMAT_VERSION:
            raise BackupDamagedError(
                f"{source} has format {document['format_version']}, this program reads {FORMAT_VERSION}",
                hint="use the version of squizzle that made it, or a newer one",
            )
        return _from_document(document)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise BackupDamagedError(
            f"{source} is not a manifest: {type(exc).__name__}", hint="use another backup"
        ) from exc


def _from_document(document: dict[str, Any]) -> Backup:
    return Backup(
        id=document["id"],
        kind=BackupKind(document["kind"]),
        store=document["store"],
        location=document["location"],
        started_at=datetime.fromisoformat(document["started_at"]),
        duration=timedelta(milliseconds=document["duration_ms"]),
        database=document["database"],
        identity_id=document["identity_id"],
        system_identifier=document["system_identifier"],
        migration_version=document["migration_version"],
        lsn=document["lsn"],
        server_version=document["server_version"],
        client_version=document["client_version"],
        files=tuple(BackupFile(**file) for file in document["files"]),
        digest=DatabaseDigest(
            schema=SchemaDigest(**document["schema"], objects=tuple(_objects(document["objects"]))),
            tables=tuple(TableDigest(table=name, **one) for name, one in document["tables"].items()),
            sequences=document["sequences"],
        ),
    )


def _objects(rows: Iterable[list[str]]) -> Iterable[SchemaObject]:
    for kind, name, parent, strict, logical in rows:
        yield SchemaObject(kind=kind, name=name, parent=parent, strict=strict, logical=logical)
