"""Keys of keys: a master key wraps a data key for each backup, so it never meets a row and is never in the store."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from squizzle.backups.encryption.stream import CIPHER, KEY_BYTES, derive
from squizzle.errors import BackupDamagedError, KeyNotUsableError

FORMAT = "1"
"""Of the encrypted files, the wrapped key and the sealed manifest together."""

_NONCE_BYTES = 12
_ID_BYTES = 8
_HEX_DIGITS = 2 * KEY_BYTES
# 32 random bytes have 30 different values on average, fewer than 20 never; a text typed in as hex has.
_FEWEST_VALUES = 16
_HOW = "make one with `(umask 077; openssl rand -base64 32 > FILE)`"


@dataclass(frozen=True, kw_only=True, slots=True)
class DataKey:
    """The key of one backup.

    Attributes:
        plain: 32 bytes; never shown, never stored.
        wrapped: The same encrypted by a master key, as text.
        master: Which master key that was.
    """

    plain: bytes = field(repr=False)
    wrapped: str
    master: str

    @property
    def for_manifest(self) -> Mapping[str, str]:
        """What a manifest says of it, without any secret."""
        return {"cipher": CIPHER, "format": FORMAT, "key": self.master, "wrapped_key": self.wrapped}


class MasterKey(Protocol):
    """Something that wraps data keys."""

    @property
    def id(self) -> str:
        """Tells it from others, without saying anything about it."""

    def new_data_key(self, owner: str) -> DataKey:
        """A random data key that only its owner's name unwraps.

        Raises:
            KeyNotUsableError: The service that keeps the master key refuses or fails.
        """

    def unwrap(self, wrapped: str, master: str, owner: str) -> bytes | None:
        """A data key; None when another master key wrapped it.

        Raises:
            BackupDamagedError: This key wrapped it, but not so, or not for this owner.
            KeyNotUsableError: The service that keeps the master key refuses or fails.
        """


class LocalKey:
    """A master key of 32 bytes that we hold ourselves.

    Args:
        key: Random bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self.id = derive(key, salt=None, info=b"squizzle key id", length=_ID_BYTES).hex()

    def __repr__(self) -> str:
        return f"LocalKey({self.id})"

    def new_data_key(self, owner: str) -> DataKey:
        """A random data key; see `MasterKey.new_data_key`."""
        plain, nonce = os.urandom(KEY_BYTES), os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, plain, _owned(owner))
        return DataKey(plain=plain, wrapped=base64.b64encode(sealed).decode("ascii"), master=self.id)

    def unwrap(self, wrapped: str, master: str, owner: str) -> bytes | None:
        """A data key; see `MasterKey.unwrap`."""
        if master != self.id:
            return None
        try:
            sealed = base64.b64decode(wrapped, validate=True)
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _owned(owner))
        except (InvalidTag, ValueError) as exc:
            raise BackupDamagedError(
                f"the key that {owner} brings along was changed, or belongs to something else",
                hint="use another backup; keep this one for finding out what happened to it",
            ) from exc


class KeyRing:
    """Master keys: the first encrypts what is new, all of them decrypt.

    Args:
        find: Gives the keys, at least one. It is called when a key is needed first: whoever only lists needs none.
    """

    def __init__(self, find: Callable[[], tuple[MasterKey, ...]]) -> None:
        self._find = find
        self._known: dict[tuple[str, str], bytes] = {}

    @cached_property
    def _keys(self) -> tuple[MasterKey, ...]:
        return self._find()

    def new_data_key(self, owner: str) -> DataKey:
        """A new data key, wrapped by the first master key.

        Args:
            owner: The id of the backup.

        Raises:
            KeyNotUsableError: There is no master key to be had.
        """
        return self._keys[0].new_data_key(owner)

    def data_key(self, encryption: Mapping[str, str], owner: str) -> bytes:
        """The data key that a manifest brings along.

        Args:
            encryption: What the manifest says.
            owner: The id of the backup.

        Raises:
            KeyNotUsableError: None of our master keys wrapped it, or it is of a newer format.
            BackupDamagedError: One of them did, but it was changed since.
        """
        master, wrapped = encryption.get("key", ""), encryption.get("wrapped_key", "")
        if (encryption.get("cipher"), encryption.get("format")) != (CIPHER, FORMAT):
            raise KeyNotUsableError(
                f"{owner} is encrypted in a way that this program does not know",
                hint="use the version of squizzle that made it, or a newer one",
            )
        if (owner, wrapped) not in self._known:
            found = (key.unwrap(wrapped, master, owner) for key in self._keys)
            plain = next((one for one in found if one is not None), None)
            if plain is None:
                ours = ", ".join(key.id for key in self._keys)
                raise KeyNotUsableError(
                    f"{owner} is encrypted with the key {master}; the keys here are {ours}",
                    hint='add that key below the others (docs/stores.md, "Encryption")',
                )
            self._known[owner, wrapped] = plain
        return self._known[owner, wrapped]


def read_key_file(path: Path) -> tuple[LocalKey, ...]:
    """The keys of a file that nobody else can read.

    Raises:
        KeyNotUsableError: Others can read it, or it holds no keys. Its content is never repeated.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            if mode & 0o077:
                raise KeyNotUsableError(
                    f"the key file {path} has mode {mode:04o}: others can read the key", hint=f"chmod 600 {path}"
                )
            text = file.read().decode("ascii", errors="replace")
    except OSError as exc:
        raise KeyNotUsableError(f"the key file {path} cannot be read: {exc.strerror}", hint=_HOW) from exc
    return parse_keys(text, where=f"the key file {path}")


def parse_keys(text: str, *, where: str) -> tuple[LocalKey, ...]:
    """Keys, one a line; the first one encrypts. What stands behind `#` is a comment.

    Args:
        text: Each key is 32 bytes as base64 or as 64 hexadecimal digits.
        where: Where it was found, for messages.

    Raises:
        KeyNotUsableError: One is no key, or there is none. The text is never repeated.
    """
    found = tuple(LocalKey(key) for key in _parse(text, where))
    if not found:
        raise KeyNotUsableError(f"there is no key in {where}", hint=_HOW)
    return found


def _parse(text: str, where: str) -> Iterator[bytes]:
    for number, line in enumerate(text.splitlines(), start=1):
        for word in line.partition("#")[0].split():
            key = _decode(word)
            if len(key) != KEY_BYTES:
                problem = f"line {number} of {where} is no key: 32 bytes as base64, or 64 hexadecimal digits"
                raise KeyNotUsableError(problem, hint=_HOW)
            if len(set(key)) < _FEWEST_VALUES:
                raise KeyNotUsableError(f"the key in line {number} of {where} is not random", hint=_HOW)
            yield key


def _decode(word: str) -> bytes:
    try:
        return bytes.fromhex(word) if len(word) == _HEX_DIGITS else base64.b64decode(word, validate=True)
    except (ValueError, binascii.Error):
        return b""


def _owned(owner: str) -> bytes:
    return b"squizzle data key of " + owner.encode()
