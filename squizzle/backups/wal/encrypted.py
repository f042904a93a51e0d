"""An archive of the log that only its key can read: each file brings its own key along, wrapped by a master key."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import IO, Any, cast

from squizzle.backups.encryption.keys import KeyRing
from squizzle.backups.encryption.stream import DecryptingStream, EncryptingStream, plain_size, read_fully
from squizzle.backups.wal.archive import ArchivedFile, WalArchive
from squizzle.backups.wal.stored import ENCRYPTED
from squizzle.errors import BackupDamagedError

# Before the encrypted file stands what a backup has in its manifest, filled up with spaces: so a file's own length
# tells that of its content. A key of KMS and its name take less than half of it.
_ENVELOPE_BYTES = 1024
_BUFFER_BYTES = 1 << 20


class EncryptedArchive:
    """Files of the log in another archive, encrypted, as `<name>.enc`. What lies there unencrypted is read, too.

    The hashes are those of the content, as without encryption, and are encrypted themselves.

    Args:
        inner: The other archive.
        keys: Master keys.
    """

    def __init__(self, inner: WalArchive, keys: KeyRing) -> None:
        self._inner = inner
        self._keys = keys

    @property
    def address(self) -> str:
        """That of the other archive."""
        return self._inner.address

    def put_new(self, system_identifier: str, name: str, source: IO[bytes]) -> str:
        """Encrypt and store a file under a name that is free; see `WalArchive.put_new`.

        Returns:
            The SHA-256 of the content.

        Raises:
            KeyNotUsableError: There is no master key to be had; the name stays free.
        """
        owner = _owner(system_identifier, name)
        key = self._keys.new_data_key(owner)
        envelope = json.dumps(dict(key.for_manifest)).encode().ljust(_ENVELOPE_BYTES)
        stream = EncryptingStream(source, key.plain, place=owner)
        self._inner.put_new(system_identifier, name + ENCRYPTED, cast("IO[bytes]", _Joined(envelope, stream)))
        return stream.sha256

    def open(self, system_identifier: str, name: str) -> AbstractContextManager[IO[bytes]]:
        """Read the content of a file; see `WalArchive.open`.

        Raises:
            KeyNotUsableError: When it is entered: the file's key is not here.
            BackupDamagedError: When it is entered or read: it was changed or cut, or belongs elsewhere.
        """
        try:
            opened = self._inner.open(system_identifier, name + ENCRYPTED)
        except FileNotFoundError:
            return self._inner.open(system_identifier, name)
        return self._decrypting(opened, system_identifier, name)

    @contextmanager
    def _decrypting(
        self, opened: AbstractContextManager[IO[bytes]], system_identifier: str, name: str
    ) -> Iterator[IO[bytes]]:
        owner = _owner(system_identifier, name)
        what = f"{name}{ENCRYPTED} in {self.address}"
        with opened as file:
            key = self._keys.data_key(_envelope(file, what), owner)
            yield io.BufferedReader(DecryptingStream(file, key, place=owner, what=what), _BUFFER_BYTES)

    def files(self, system_identifier: str, prefix: str = "") -> tuple[ArchivedFile, ...]:
        """The files whose names begin so, with the lengths of their contents; see `WalArchive.files`."""
        found = {one.name: one for one in map(_as_plain, self._inner.files(system_identifier, prefix))}
        return tuple(found[name] for name in sorted(found))

    def remove(self, system_identifier: str, names: Sequence[str]) -> None:
        """Remove files, encrypted or not, in this order; see `WalArchive.remove`."""
        self._inner.remove(system_identifier, [form for name in names for form in (name + ENCRYPTED, name)])

    def clusters(self) -> tuple[str, ...]:
        """The system identifiers that there are files of."""
        return self._inner.clusters()


class _Joined(io.RawIOBase):
    """One text after the other, in bounded memory."""

    def __init__(self, first: bytes, second: EncryptingStream) -> None:
        super().__init__()
        self._parts = itertools.chain([first], iter(lambda: second.read(_BUFFER_BYTES), b""))

    def read(self, size: int = -1) -> bytes:  # noqa: ARG002 - whoever stores it takes what comes
        """The next part; empty at the end."""
        return next(self._parts, b"")


def _owner(system_identifier: str, name: str) -> str:
    return f"wal/{system_identifier}/{name}"


def _envelope(file: IO[bytes], what: str) -> dict[str, str]:
    try:
        document: Any = json.loads(read_fully(file, _ENVELOPE_BYTES))
        return {str(name): str(value) for name, value in document.items()}
    except (ValueError, AttributeError) as exc:
        raise BackupDamagedError(
            f"{what} is damaged: its envelope cannot be read",
            hint="put an intact copy in its place, or recover to a point before it",
        ) from exc


def _as_plain(file: ArchivedFile) -> ArchivedFile:
    if not file.name.endswith(ENCRYPTED):
        return file
    try:
        size = plain_size(file.size_bytes - _ENVELOPE_BYTES)
    except ValueError:  # cut: then its length is none that a file of the log has
        size = file.size_bytes
    return replace(file, name=file.name.removesuffix(ENCRYPTED), size_bytes=size)
