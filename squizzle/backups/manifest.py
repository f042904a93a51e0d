"""The manifest's text: what a backup is, file by file and table by table, sealed with a hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from squizzle.backups.records import Backup, BackupFile, BackupKind, PreviousBackup
from squizzle.errors import BackupDamagedError
from squizzle.proof.records import DatabaseDigest, SchemaDigest, SchemaObject, TableDigest

FORMAT_VERSION = 2
READABLE_FORMATS = (1, 2)
"""Format 1 knew only full dumps: no chains, no positions of a cluster's copy."""


def to_json(backup: Backup) -> str:
    """The manifest's text; starts with the keys that the command's contract promises."""
    document = document_of(backup)
    text = json.dumps(document, ensure_ascii=False, indent=1)
    # The last line of defence against a damaged manifest: a hash over everything above it.
    return json.dumps({"manifest_sha256": _text_hash(text), "manifest": document}, ensure_ascii=False, indent=1) + "\n"


def manifest_hash(backup: Backup) -> str:
    """The hash that seals the manifest; the next backup of the database names it."""
    return _text_hash(json.dumps(document_of(backup), ensure_ascii=False, indent=1))


def document_of(backup: Backup) -> dict[str, Any]:
    """What the manifest says, as JSON types; starts with the keys that the command's contract promises.

    Of an encrypted backup it is what everybody can read, whether its key is here or not: its hash is always the same.
    """
    backup = backup.as_stored
    document: dict[str, Any] = {
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
        "chain": list(backup.chain),
        "database": backup.database,
        "identity_id": backup.identity_id,
        "system_identifier": backup.system_identifier,
        "client_version": backup.client_version,
        "timeline": backup.timeline,
        "stop_lsn": backup.stop_lsn,
        "digest_lsn": backup.digest_lsn,
        "previous": None
        if backup.previous is None
        else {"id": backup.previous.id, "manifest_sha256": backup.previous.manifest_sha256},
        "encryption": dict(backup.encryption),
        "details": dict(backup.details),
        "files": [{"path": one.path, "size_bytes": one.size_bytes, "sha256": one.sha256} for one in backup.files],
    }
    digest = backup.digest
    if digest is not None:
        document |= {
            "schema": {"strict": digest.schema.strict, "logical": digest.schema.logical},
            "objects": [[one.kind, one.name, one.parent, one.strict, one.logical] for one in digest.schema.objects],
            "tables": {one.table: {"rows": one.rows, "digest": one.digest} for one in digest.tables},
            "sequences": dict(digest.sequences),
        }
    else:
        document |= {"schema": None, "objects": None, "tables": None, "sequences": None}
    return document | {"not_covered": list(backup.not_covered)}


def _text_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def from_json(text: str, *, source: str) -> Backup:
    """Read a manifest of this format or of an earlier one.

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
        if document["format_version"] not in READABLE_FORMATS:
            raise BackupDamagedError(
                f"{source} has format {document['format_version']}, this program reads {FORMAT_VERSION} and older",
                hint="use the version of squizzle that made it, or a newer one",
            )
        return _from_document(document)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise BackupDamagedError(
            f"{source} is not a manifest: {type(exc).__name__}", hint="use another backup"
        ) from exc


def _from_document(document: dict[str, Any]) -> Backup:
    added = _ADDED_IN_2 if document["format_version"] == 1 else document
    previous = added["previous"]
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
        digest=_digest(document),
        timeline=added["timeline"],
        stop_lsn=added["stop_lsn"],
        digest_lsn=added["digest_lsn"],
        chain=tuple(document["chain"]),
        previous=None if previous is None else PreviousBackup(**previous),
        encryption=dict(added["encryption"]),
        details=dict(added["details"]),
        not_covered=tuple(document["not_covered"]),
    )


_ADDED_IN_2: dict[str, Any] = {
    "timeline": None,
    "stop_lsn": "",
    "digest_lsn": "",
    "previous": None,
    "encryption": {},
    "details": {},
}


def _digest(document: dict[str, Any]) -> DatabaseDigest | None:
    parts = [document[key] for key in ("schema", "objects", "tables", "sequences")]
    if all(part is None for part in parts):
        return None
    return DatabaseDigest(
        schema=SchemaDigest(**document["schema"], objects=tuple(_objects(document["objects"]))),
        tables=tuple(TableDigest(table=name, **one) for name, one in document["tables"].items()),
        sequences=dict(document["sequences"]),
    )


def _objects(rows: Iterable[list[str]]) -> Iterable[SchemaObject]:
    for kind, name, parent, strict, logical in rows:
        yield SchemaObject(kind=kind, name=name, parent=parent, strict=strict, logical=logical)
