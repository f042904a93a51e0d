"""Certificates beside the backups that they were made with, each naming the one before it by its hash."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from squizzle.backups.catalogue import read_removals
from squizzle.backups.chained import CHAIN, Link, link_of
from squizzle.backups.manifest import manifest_hash
from squizzle.backups.records import Backup
from squizzle.backups.sealed import open_sealed, seal
from squizzle.backups.store import BackupStore, notes_of
from squizzle.errors import BackupDamagedError, InvalidInputError, KeyNotUsableError
from squizzle.postgres.secret import Secret
from squizzle.rehearsal.certificate import certificate_hash, certificate_of, document_of, from_json, to_json
from squizzle.rehearsal.records import Certificate, PreviousCertificate
from squizzle.rehearsal.signature import is_signed_by, sign

_PREFIX = "certificate-"
_ID = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
_LONGEST_ID = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificates:
    """The certificates of a store.

    Attributes:
        found: Newest first.
        damaged: Those that cannot be believed, one sentence each.
        locked: Those that only a key shows which is not here, one sentence each.
    """

    found: tuple[Certificate, ...] = ()
    damaged: tuple[str, ...] = ()
    locked: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class CertificateCheck:
    """What became of the certificates of a store.

    Attributes:
        count: How many there are.
        problems: What was changed or taken away behind our back, one sentence each.
        notes: What a reader may wonder about and is as it should be, one sentence each.
    """

    count: int
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Note:
    """One certificate as it lies in the store; the certificate is None when its key is not here.

    `is_of_this_backup`: whether the manifest of the backup is the one that it is about.
    """

    backup_id: str
    is_of_this_backup: bool
    database: str
    link: Link
    certificate: Certificate | None
    locked: str = ""


def new_certificate_id(issued_at: datetime, version: str) -> str:
    """An id that sorts by time and that nobody else makes at the same moment."""
    told = "".join(one if one in _ID else "-" for one in version)[:40]
    return f"{issued_at.astimezone(UTC):%Y%m%dT%H%M%S%fZ}-{told}-{secrets.token_hex(3)}"


def write_certificate(store: BackupStore, draft: Certificate, *, key: Secret | None = None) -> Certificate:
    """Put a certificate beside its backup, as the newest of its database's chain; none is ever replaced.

    It names every certificate of the database that no other names: the one before it, and others only where two
    rehearsals wrote at the same time. Beside an encrypted backup it is encrypted with that backup's key, for it holds
    statements and keys of rows; the chain can be checked without the key.

    Args:
        store: Where the backup lies.
        draft: What was proven. An empty id gets one; what it says of the certificates before it is replaced. One that
            was written already is left as it is.
        key: It is signed with this; None: it is not signed.

    Returns:
        The certificate as it was written.

    Raises:
        InvalidInputError: There is no such backup, or the id cannot be that of a file, or is another's; nothing was
            written.
        BackupDamagedError: The backup's manifest is damaged; nothing was written.
        KeyNotUsableError: The backup is encrypted, and its key is not here; nothing was written.
        ToolError: The store cannot be written.
    """
    backup = store.read_header(draft.backup_id)
    notes, _ = _read_notes(store)
    written = next((note.certificate for note in notes if draft.id and note.link.id == draft.id), None)
    if written is not None:
        return _written_before(draft, written)
    heads = _heads(note for note in notes if note.database == draft.database)
    previous = heads[0] if heads else PreviousCertificate(id="", sha256="")
    certificate = replace(
        draft,
        id=draft.id or new_certificate_id(draft.issued_at, draft.version),
        previous_id=previous.id,
        previous_sha256=previous.sha256,
        beside=heads[1:],
        signature="",
    )
    if key is not None:
        certificate = replace(certificate, signature=sign(certificate, key))
    path = _path(certificate)
    store.put_text(path, seal(_document(store, backup, path, certificate)))
    return certificate


def _written_before(draft: Certificate, written: Certificate) -> Certificate:
    """The one that is there: whoever did not hear that it was written writes it again."""
    chain = ("previous_id", "previous_sha256", "beside", "signature")
    if replace(draft, **{name: getattr(written, name) for name in chain}) != written:
        raise InvalidInputError(
            f"there is a certificate {draft.id} already, and it says something else",
            hint="leave the id empty; it gets one of its own",
        )
    return written


def _path(certificate: Certificate) -> str:
    if len(certificate.id) > _LONGEST_ID or not set(certificate.id) <= _ID:
        raise InvalidInputError(
            f"{certificate.id!r} cannot name a certificate",
            hint=f"use letters, digits, '-', '_' and '.', at most {_LONGEST_ID} of them",
        )
    return f"{notes_of(certificate.backup_id)}/{_PREFIX}{certificate.id}.json"


def _document(store: BackupStore, backup: Backup, path: str, certificate: Certificate) -> dict[str, Any]:
    """What is written: what everybody may read, and the certificate, which beside an encrypted backup is encrypted."""
    document: dict[str, Any] = {
        "backup_id": certificate.backup_id,
        "backup_sha256": certificate.backup_sha256,
        "database": certificate.database,
        "version": certificate.version,
        "verdict": certificate.verdict.value,
        "issued_at": certificate.issued_at.isoformat(),
        CHAIN: _link(certificate).as_document(),
    }
    if not backup.encryption:
        return document | {"certificate": document_of(certificate)}
    from squizzle.backups.encryption.private_notes import encrypt_note  # noqa: PLC0415 - cryptography costs 30 ms

    return document | {"encrypted": encrypt_note(store, backup, path, to_json(certificate))}


def _link(certificate: Certificate) -> Link:
    previous = {one.id: one.sha256 for one in certificate.beside}
    if certificate.previous_id:
        previous[certificate.previous_id] = certificate.previous_sha256
    return Link(id=certificate.id, sha256=certificate_hash(certificate), previous=previous)


def _heads(notes: Iterable[_Note]) -> tuple[PreviousCertificate, ...]:
    """Those that no other names, newest first."""
    links = [note.link for note in notes]
    named = {name for link in links for name in link.previous}
    heads = [PreviousCertificate(id=link.id, sha256=link.sha256) for link in links if link.id not in named]
    return tuple(sorted(heads, key=lambda head: head.id, reverse=True))


# Reading


def read_certificates(
    store: BackupStore,
    *,
    database: str | None = None,
    version: str | None = None,
    texts: Mapping[str, Mapping[str, str]] | None = None,
) -> Certificates:
    """The certificates of a store, or those of one database or version. A damaged one is named and hides no other.

    Args:
        store: Where they are.
        database: Only its; None for all.
        version: Only its; None for all.
        texts: The notes of each backup by name, where they were read already; None to read them.

    Raises:
        ToolError: The store cannot be read.
    """
    notes, damaged = _read_notes(store, texts)
    found = (
        note.certificate
        for note in notes
        if note.certificate is not None
        and database in {None, note.certificate.database}
        and version in {None, note.certificate.version}
    )
    return Certificates(
        found=tuple(sorted(found, key=lambda one: (one.issued_at, one.id), reverse=True)),
        damaged=damaged,
        locked=tuple(note.locked for note in notes if note.locked),
    )


def _read_notes(
    store: BackupStore, known: Mapping[str, Mapping[str, str]] | None = None
) -> tuple[tuple[_Note, ...], tuple[str, ...]]:
    notes: list[_Note] = []
    damaged: list[str] = []
    for backup_id in store.list_ids() if known is None else known:
        try:
            found = store.texts(notes_of(backup_id)) if known is None else known[backup_id]
            texts = {name: text for name, text in found.items() if name.startswith(_PREFIX)}
            backup = store.read_header(backup_id) if texts else None
        except BackupDamagedError as exc:
            damaged.append(exc.message)
            continue
        except InvalidInputError:  # it was removed since its notes were read
            continue
        for name, text in texts.items():
            path = f"{notes_of(backup_id)}/{name}"
            try:
                if backup is not None:
                    notes.append(_read_note(store, backup, path, text))
            except BackupDamagedError as exc:
                damaged.append(exc.message)
            except (KeyError, TypeError, ValueError, AttributeError) as exc:
                damaged.append(f"{path} is no certificate of ours: {type(exc).__name__}")
    return tuple(notes), tuple(damaged)


def _read_note(store: BackupStore, backup: Backup, path: str, text: str) -> _Note:
    document = open_sealed(text, path)
    note = _Note(
        backup_id=backup.id,
        is_of_this_backup=document["backup_sha256"] == manifest_hash(backup),
        database=str(document["database"]),
        link=link_of(document[CHAIN]),
        certificate=None,
    )
    try:
        certificate = _certificate(store, backup, path, document)
    except KeyNotUsableError as exc:
        return replace(note, locked=f"certificate {note.link.id} cannot be read: {exc.message}")
    if certificate.backup_id != backup.id or _path(certificate) != path:
        raise BackupDamagedError(
            f"certificate {certificate.id} of backup {certificate.backup_id} lies at {path}",
            hint="find out who moved it; `squizzle certificates check` names all that do not count",
        )
    told = (document["backup_sha256"], document["database"], document["version"], document["verdict"])
    meant = (certificate.backup_sha256, certificate.database, certificate.version, certificate.verdict.value)
    if told != meant or note.link != _link(certificate):
        raise BackupDamagedError(
            f"{path} was changed: what everybody can read is not what the certificate says",
            hint="find out who changed it; rehearse the version again",
        )
    return replace(note, certificate=certificate)


def _certificate(store: BackupStore, backup: Backup, path: str, document: dict[str, Any]) -> Certificate:
    if not backup.encryption:
        return certificate_of(document["certificate"], source=path)
    # One that is not encrypted beside a backup that is was written by somebody without the key.
    from squizzle.backups.encryption.private_notes import decrypt_note  # noqa: PLC0415 - cryptography costs 30 ms

    text = decrypt_note(store, backup, path, document["encrypted"])
    return from_json(text, source=path)


# The chain


def check_certificates(store: BackupStore, *, key: Secret | None = None) -> CertificateCheck:
    """Look for certificates that were changed, exchanged or taken away behind our back.

    What a certificate names must be there unchanged, or have gone together with a backup that was removed on purpose,
    of which there is a record. The newest certificate of a database is named by none, so that its removal alone cannot
    be seen; and who can write to the store can write a whole chain anew: only a signature shows that.

    Args:
        store: Any; the certificates beside encrypted backups need no key for this.
        key: Certificates must be signed with it; None: signatures are not looked at.

    Raises:
        ToolError: The store cannot be read.
    """
    notes, damaged = _read_notes(store)
    removals, problems = read_removals(store)
    removed = [link for one in removals.values() for link in one.chained]
    problems = [*damaged, *problems, *_broken_links(notes, removed), *_other_backups(notes)]
    if key is not None:
        problems += _unsigned(notes, key)
    return CertificateCheck(
        count=len(notes) + len(damaged), problems=tuple(dict.fromkeys(problems)), notes=tuple(_forks(notes))
    )


def _broken_links(notes: Iterable[_Note], removed: Iterable[Link]) -> Iterator[str]:
    links = [note.link for note in notes]
    there = {link.id: link.sha256 for link in links}
    hashes = {link.id: link.sha256 for link in removed} | there
    for link in (*links, *removed):
        for name, sha256 in link.previous.items():
            found = hashes.get(name)
            if found is None:
                yield (
                    f"certificate {name} is gone or damaged, and no backup was removed with it:"
                    f" {link.id} was written after it"
                )
            elif found != sha256:
                yield f"certificate {name} is not the one that was there when {link.id} was written"


def _other_backups(notes: Iterable[_Note]) -> Iterator[str]:
    for note in notes:
        if not note.is_of_this_backup:
            yield f"the manifest of backup {note.backup_id} is not the one that certificate {note.link.id} is about"


def _unsigned(notes: Iterable[_Note], key: Secret) -> Iterator[str]:
    for note in notes:
        if note.certificate is not None and not is_signed_by(note.certificate, key):
            what = "is signed with another key" if note.certificate.signature else "is not signed"
            yield f"certificate {note.link.id} {what}"


def _forks(notes: Iterable[_Note]) -> Iterator[str]:
    databases: dict[str, list[_Note]] = {}
    for note in notes:
        databases.setdefault(note.database, []).append(note)
    for database, own in databases.items():
        heads = _heads(own)
        if len(heads) > 1:
            names = ", ".join(head.id for head in heads)
            yield f"{database}: {names} were written at the same time; the next certificate will name them all"
