"""How one file is encrypted: in chunks, so that it needs no memory, and none can be cut off, moved or exchanged.

This is the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: "Online Authenticated-Encryption and its
Nonce-Reuse Misuse-Resistance", 2015) over AES-256-GCM: a key for this file alone, made of the data key and a random
salt (HKDF-SHA256, RFC 5869); the nonce of a chunk is its number and whether it is the last one; the place where the
file lies is authenticated with every chunk. The format is in docs/adr/0020.
"""

from __future__ import annotations

import hashlib
import io
import os
from typing import IO, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from squizzle.errors import BackupDamagedError

CIPHER = "AES-256-GCM"
KEY_BYTES = 32

CHUNK = 1 << 20
"""Bytes of content in every chunk but the last, which may be shorter or empty."""

_MAGIC = b"SQZENC1\n"
_SALT_BYTES = 32
_TAG_BYTES = 16
_HEADER_BYTES = len(_MAGIC) + _SALT_BYTES
_INFO = b"squizzle file key"


class EncryptingStream(io.RawIOBase):
    """What a file becomes, read while the file is read; its plain length and hash are known at the end.

    Args:
        source: The file. It is read to its end and not closed.
        key: The data key, 32 bytes.
        place: Where it will lie; only there it can be decrypted.
    """

    def __init__(self, source: IO[bytes], key: bytes, *, place: str) -> None:
        super().__init__()
        salt = os.urandom(_SALT_BYTES)
        self._source = source
        self._cipher = _file_cipher(key, salt)
        self._place = _MAGIC + place.encode()
        self._pending = memoryview(_MAGIC + salt)
        self._number = 0
        self._next: bytes | None = None
        self._is_done = False
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    @property
    def sha256(self) -> str:
        """Of the content that was read so far."""
        return self._digest.hexdigest()

    def readable(self) -> bool:
        """It is read only."""
        return True

    def readinto(self, buffer: Any) -> int:
        """As of a file."""
        if not self._pending and not self._is_done:
            self._pending = memoryview(self._encrypt_next())
        count = min(len(buffer), len(self._pending))
        buffer[:count] = self._pending[:count]
        self._pending = self._pending[count:]
        return count

    def _encrypt_next(self) -> bytes:
        content = self._read_chunk() if self._next is None else self._next
        self._next = self._read_chunk() if len(content) == CHUNK else b""
        self._is_done = not self._next
        nonce = _nonce(self._number, is_last=self._is_done)
        self._number += 1
        return self._cipher.encrypt(nonce, content, self._place)

    def _read_chunk(self) -> bytes:
        chunk = read_fully(self._source, CHUNK)
        self._digest.update(chunk)
        self.size_bytes += len(chunk)
        return chunk


class DecryptingStream(io.RawIOBase):
    """The content of an encrypted file; nothing of a chunk is given before the chunk was authenticated.

    Args:
        source: The encrypted file. It is read to its end and not closed.
        key: The data key, 32 bytes.
        place: Where it lies.
        what: What messages call it.

    Raises:
        BackupDamagedError: From reading: it was changed, cut, put together anew, or belongs elsewhere.
    """

    def __init__(self, source: IO[bytes], key: bytes, *, place: str, what: str) -> None:
        super().__init__()
        header = read_fully(source, _HEADER_BYTES)
        self._what = what
        if len(header) != _HEADER_BYTES or not header.startswith(_MAGIC):
            raise self._damaged("it is no encrypted file of ours, or of a newer format")
        self._source = source
        self._cipher = _file_cipher(key, header[len(_MAGIC) :])
        self._place = _MAGIC + place.encode()
        self._pending = memoryview(b"")
        self._number = 0
        self._next = self._read_chunk()
        self._is_done = False

    def readable(self) -> bool:
        """It is read only."""
        return True

    def readinto(self, buffer: Any) -> int:
        """As of a file."""
        while not self._pending and not self._is_done:
            self._pending = memoryview(self._decrypt_next())
        count = min(len(buffer), len(self._pending))
        buffer[:count] = self._pending[:count]
        self._pending = self._pending[count:]
        return count

    def _decrypt_next(self) -> bytes:
        sealed, self._next = self._next, self._read_chunk()
        self._is_done = not self._next
        nonce = _nonce(self._number, is_last=self._is_done)
        self._number += 1
        try:
            return self._cipher.decrypt(nonce, sealed, self._place)
        except (InvalidTag, ValueError) as exc:  # ValueError: shorter than its authentication
            raise self._damaged("it was changed or cut, or it was written for another place") from exc

    def _read_chunk(self) -> bytes:
        return read_fully(self._source, CHUNK + _TAG_BYTES)

    def _damaged(self, why: str) -> BackupDamagedError:
        return BackupDamagedError(
            f"{self._what} cannot be decrypted: {why}; nothing was restored from it",
            hint="use another backup; keep this one for finding out what happened to it",
        )


def plain_size(stored_bytes: int) -> int:
    """How long the content of an encrypted file is, told from its own length. Pure.

    Raises:
        ValueError: No encrypted file has this length.
    """
    chunks, rest = divmod(stored_bytes - _HEADER_BYTES, CHUNK + _TAG_BYTES)
    chunks += rest > 0
    if chunks < 1 or 0 < rest < _TAG_BYTES:
        raise ValueError(f"{stored_bytes} bytes are no encrypted file")
    return stored_bytes - _HEADER_BYTES - chunks * _TAG_BYTES


def derive(key: bytes, *, salt: bytes | None, info: bytes, length: int) -> bytes:
    """Bytes that say nothing about the key they are made of (HKDF-SHA256, RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(key)


def read_fully(source: IO[bytes], size: int) -> bytes:
    """So many bytes, fewer only at the end: a pipe gives less at a time than it is asked for."""
    first = source.read(size) or b""
    if len(first) in {0, size}:
        return first
    content = bytearray(first)
    while len(content) < size and (more := source.read(size - len(content))):
        content += more
    return bytes(content)


def _file_cipher(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(derive(key, salt=salt, info=_INFO, length=KEY_BYTES))


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])
