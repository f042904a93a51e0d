"""One file of the log into the archive, and back: what `archive_command` and `restore_command` run."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from squizzle.backups.wal.archive import WalArchive
from squizzle.backups.wal.header import HEADER_BYTES, header_problem, read_header
from squizzle.backups.wal.names import WalKind, WalName, parse_name
from squizzle.backups.wal.stored import (
    COMPRESSED,
    ENCRYPTED,
    HASH,
    HashingReader,
    compressed,
    hash_line,
    plain,
    read_hash,
)
from squizzle.errors import BackupDamagedError, InvalidInputError, KeyNotUsableError, RefusedError, ToolError

_CHUNK = 1 << 20
_BEING_FETCHED = ".fetching"


@dataclass(frozen=True, kw_only=True, slots=True)
class Archived:
    """A file of the log that is in the archive now.

    Attributes:
        name: As it lies there.
        system_identifier: The cluster that it belongs to.
        was_there: Whether it had been archived before, with the same content.
    """

    name: str
    system_identifier: str
    was_there: bool


def archive_wal(
    archive: WalArchive, path: Path, name: str, *, system_identifier: str, compress: bool = False
) -> Archived:
    """Put one file of the log into the archive; it and its hash are durable when this returns.

    The same again is success, as PostgreSQL demands of whoever archives: after a crash it asks again for what it cannot
    know was archived (manual, "Setting Up WAL Archiving"). The hash is written last, so that a file without one is one
    whose archiving was not finished, and the next try finishes it.

    Args:
        archive: Where to.
        path: The file, `%p`.
        name: Its name, `%f`.
        system_identifier: Of the cluster that archives.
        compress: Store it compressed with zstd.

    Raises:
        InvalidInputError: It is no file of the log, or cannot be read.
        RefusedError: The archive has another content under this name, or it is a segment of another cluster.
        BackupDamagedError: The file is no whole segment.
        ToolError: The store is full or fails; the name stays free.
    """
    parsed = parse_name(name)
    try:
        with path.open("rb") as file:
            _refuse_foreign(file, parsed, path, system_identifier)
            found = _settled(archive, file, name, system_identifier)
            if found is not None:
                return found
            stored = name + COMPRESSED if compress and parsed.kind.has_header else name
            file.seek(0)
            try:
                source = compressed(file) if stored != name else cast("IO[bytes]", file)
                digest = archive.put_new(system_identifier, stored, source)
            except FileExistsError:
                # Another writer of the same archive was faster.
                found = _settled(archive, file, name, system_identifier)
                if found is None:
                    raise ToolError(f"{stored} was taken away while it was compared", hint="try again") from None
                return found
    except OSError as exc:
        raise InvalidInputError(
            f"{path} cannot be read: {exc.strerror or exc}", hint="PostgreSQL puts the file's path in for %p"
        ) from exc
    _put_hash(archive, stored, digest, system_identifier)
    return Archived(name=stored, system_identifier=system_identifier, was_there=False)


def _refuse_foreign(file: IO[bytes], name: WalName, path: Path, system_identifier: str) -> None:
    if not name.kind.has_header:
        return
    header = read_header(file.read(HEADER_BYTES), source=str(path))
    problem = header_problem(header, name, file.seek(0, io.SEEK_END), system_identifier)
    if problem:
        raise RefusedError(
            f"{path} was not archived as {name.text}: {problem}",
            hint="each cluster archives its own segments, from its own data folder",
        )


def _settled(archive: WalArchive, file: IO[bytes], name: str, system_identifier: str) -> Archived | None:
    """What is archived under this name already, if it is the same; None when there is nothing."""
    for stored in (name, name + COMPRESSED):
        try:
            with archive.open(system_identifier, stored) as there:
                reader = HashingReader(there)
                with plain(stored, cast("IO[bytes]", reader)) as content:
                    same = _same(file, content)
                digest = reader.finish()
        except FileNotFoundError:
            continue
        if not same:
            raise RefusedError(
                f"{archive.address} has another {stored} of the cluster {system_identifier}; it was not replaced",
                hint="two servers archive to one place (a restored or promoted copy?): give each its own store",
            )
        _put_hash(archive, stored, digest, system_identifier)
        return Archived(name=stored, system_identifier=system_identifier, was_there=True)
    return None


def _same(file: IO[bytes], content: IO[bytes]) -> bool:
    file.seek(0)
    while True:
        ours = file.read(_CHUNK)
        theirs = _read_fully(content, len(ours) or 1)
        if ours != theirs:
            return False
        if not ours:
            return True


def _read_fully(source: IO[bytes], size: int) -> bytes:
    parts = []
    while size and (part := source.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _put_hash(archive: WalArchive, stored: str, digest: str, system_identifier: str) -> None:
    try:
        archive.put_new(system_identifier, stored + HASH, io.BytesIO(hash_line(stored, digest).encode()))
    except FileExistsError:
        there = read_hash(archive, system_identifier, stored)
        if there != digest:
            raise RefusedError(
                f"{stored} in {archive.address} has the SHA-256 {digest[:16]}…, the file beside it says "
                f"{(there or '')[:16]}…",
                hint=f"the segment is what the server has; move {stored}{HASH} away, it is made anew",
            ) from None


def fetch_wal(archive: WalArchive, name: str, target: Path, *, system_identifier: str) -> bool:
    """Get one file of the log back, compared with its hash; the archive is only read.

    Args:
        archive: Where from.
        name: Its name, `%f`.
        target: Where to, `%p`; appears whole or not at all.
        system_identifier: Of the cluster that recovers.

    Returns:
        Whether there is such a file. False only when there is none after it either: this is where the log ends.

    Raises:
        InvalidInputError: The name is none of a file of the log.
        KeyNotUsableError: It is encrypted, and its key is not here.
        BackupDamagedError: It is damaged, or missing between others, so recovery must not end here.
        ToolError: The archive cannot be read, or the target not written.
    """
    parsed = parse_name(name)
    for stored in (name, name + COMPRESSED):
        try:
            opened = archive.open(system_identifier, stored)
        except FileNotFoundError:
            continue  # of this call alone: a target that is not there must not look like the end of the log
        with opened as file:
            _fetch(archive, stored, file, parsed, target, system_identifier)
        return True
    if system_identifier not in archive.clusters():
        raise ToolError(
            f"{archive.address} has no archive of the cluster {system_identifier}",
            hint="is the disk mounted, and is it the right store? `squizzle wal --store …` lists what it holds",
        )
    _refuse_encrypted(archive, system_identifier)
    _refuse_hole(archive, parsed, system_identifier)
    return False


def _fetch(
    archive: WalArchive, stored: str, file: IO[bytes], name: WalName, target: Path, system_identifier: str
) -> None:
    expected = read_hash(archive, system_identifier, stored)
    if expected is None:
        raise BackupDamagedError(
            f"{stored} in {archive.address} has no hash beside it: its archiving was interrupted, or it was removed",
            hint=f"if the server that wrote it is lost and you trust it: sha256sum {stored} > {stored}{HASH}",
        )
    temporary = target.with_name(target.name + _BEING_FETCHED)
    try:
        reader = HashingReader(file)
        with temporary.open("wb") as fetched, plain(stored, cast("IO[bytes]", reader)) as content:
            while chunk := content.read(_CHUNK):
                fetched.write(chunk)
        problem = "" if reader.finish() == expected else "its content is not what its SHA-256 says"
        problem = problem or _content_problem(temporary, name, system_identifier)
        if problem:
            raise BackupDamagedError(
                f"{stored} in {archive.address} is damaged: {problem}",
                hint="put an intact copy in its place, or recover to a point before it",
            )
        temporary.replace(target)
    except OSError as exc:
        raise ToolError(
            f"{stored} could not be copied to {target}: {exc.strerror or exc}",
            hint="check free space, owner and mode there, and that the archive's disk is well",
        ) from exc
    finally:
        with suppress(OSError):  # its folder may be what is missing
            temporary.unlink()


def _content_problem(path: Path, name: WalName, system_identifier: str) -> str:
    if not name.kind.has_header:
        return ""
    with path.open("rb") as file:
        header = read_header(file.read(HEADER_BYTES), source=name.text)
    return header_problem(header, name, path.stat().st_size, system_identifier)


def _refuse_encrypted(archive: WalArchive, system_identifier: str) -> None:
    """Files that cannot be read for want of a key must not look like the end of the log."""
    if any(one.name.endswith(ENCRYPTED) for one in archive.files(system_identifier)):
        raise KeyNotUsableError(
            f"the files of the log in {archive.address} are encrypted, and no key is named",
            hint="name it: fetch-wal … --key-file FILE",
        )


def _refuse_hole(archive: WalArchive, name: WalName, system_identifier: str) -> None:
    """Tell the end of the log from a hole in it: PostgreSQL would end recovery at both, and go into service."""
    if name.kind is not WalKind.SEGMENT:
        return
    files = archive.files(system_identifier, name.text[:8])
    for one in files:
        later = one.name.removesuffix(COMPRESSED)
        if len(later) == len(name.text) and later > name.text:
            raise BackupDamagedError(
                f"{name.text} is missing from {archive.address}, which has {one.name} after it",
                hint="find it (the server's pg_wal, another copy), or recover to a point before it",
            )
    hashes = {name.text + HASH, name.text + COMPRESSED + HASH}
    for one in files:
        if one.name in hashes:  # written last, so there was a segment
            raise BackupDamagedError(
                f"{name.text} is missing from {archive.address}, which still has its hash {one.name}",
                hint="find it (the server's pg_wal, another copy), or recover to a point before it",
            )
