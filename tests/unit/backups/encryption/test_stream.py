"""An encrypted file comes back as it was, or not at all: nothing in it can be changed, cut off, moved or exchanged."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from functools import partial

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from squizzle.backups.encryption import stream
from squizzle.backups.encryption.stream import DecryptingStream, EncryptingStream, plain_size
from squizzle.errors import BackupDamagedError

KEY = bytes(range(32))
PLACE = "20250301T120000Z-shop-abcdef/dump/1.dat"
CHUNK = 64
SEALED_CHUNK = CHUNK + 16
HEADER = 40
CONTENT = bytes(range(256)) + b"and a short last chunk"


@pytest.fixture(autouse=True, scope="module")
def small_chunks() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "CHUNK", CHUNK)
        yield


def encrypt(content: bytes, *, key: bytes = KEY, place: str = PLACE) -> bytes:
    return EncryptingStream(io.BytesIO(content), key, place=place).read()


def decrypt(sealed: bytes, *, key: bytes = KEY, place: str = PLACE) -> bytes:
    return DecryptingStream(io.BytesIO(sealed), key, place=place, what="1.dat").read()


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, len(CONTENT)])
def test_a_file_comes_back_as_it_was_and_its_length_shows(size: int) -> None:
    sealed = encrypt(CONTENT[:size])

    assert decrypt(sealed) == CONTENT[:size]
    assert plain_size(len(sealed)) == size
    assert encrypt(CONTENT[:size]) != sealed


def test_the_format_is_the_one_that_is_described() -> None:
    """Written anew from docs/adr/0020, so that files of today can be read in ten years."""
    sealed = encrypt(CONTENT)

    salt, body = sealed[8:HEADER], sealed[HEADER:]
    file_key = HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"squizzle file key").derive(KEY)
    chunks = [body[at : at + SEALED_CHUNK] for at in range(0, len(body), SEALED_CHUNK)]
    plain = b"".join(
        AESGCM(file_key).decrypt(
            number.to_bytes(11, "big") + bytes([number == len(chunks) - 1]), chunk, b"SQZENC1\n" + PLACE.encode()
        )
        for number, chunk in enumerate(chunks)
    )
    assert sealed[:8] == b"SQZENC1\n"
    assert plain == CONTENT


def _chunks(sealed: bytes) -> list[bytes]:
    return [sealed[at : at + SEALED_CHUNK] for at in range(HEADER, len(sealed), SEALED_CHUNK)]


@given(st.data())
def test_a_flipped_bit_anywhere_is_found(data: st.DataObject) -> None:
    sealed = bytearray(encrypt(CONTENT))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(BackupDamagedError, match=r"1\.dat cannot be decrypted"):
        decrypt(bytes(sealed))


@given(st.integers(0, HEADER + len(CONTENT) + 5 * 16 - 1))
def test_what_was_cut_anywhere_is_found(length: int) -> None:
    with pytest.raises(BackupDamagedError, match="cannot be decrypted"):
        decrypt(encrypt(CONTENT)[:length])


@pytest.mark.parametrize(
    "change",
    [
        lambda chunks: [chunks[1], chunks[0], *chunks[2:]],
        lambda chunks: [*chunks[:2], *chunks[3:]],
        lambda chunks: [chunks[0], *chunks],
        lambda chunks: chunks[:-1],
        lambda chunks: [*chunks, chunks[-1]],
        lambda chunks: [chunks[-1]],
    ],
)
def test_chunks_that_were_moved_left_out_or_repeated_are_found(change: Callable[[list[bytes]], list[bytes]]) -> None:
    sealed = encrypt(CONTENT)

    with pytest.raises(BackupDamagedError):
        decrypt(sealed[:HEADER] + b"".join(change(_chunks(sealed))))


def test_chunks_of_another_file_are_found_though_the_key_is_the_same() -> None:
    one, other = encrypt(CONTENT), encrypt(CONTENT)

    with pytest.raises(BackupDamagedError):
        decrypt(one[:HEADER] + b"".join([_chunks(other)[0], *_chunks(one)[1:]]))


def test_a_file_is_of_use_only_in_its_place_and_with_its_key() -> None:
    sealed = encrypt(CONTENT)

    for changed in (partial(decrypt, place=f"{PLACE}x"), partial(decrypt, key=bytes(32))):
        with pytest.raises(BackupDamagedError, match="written for another place"):
            changed(sealed)


@pytest.mark.parametrize("size", [0, HEADER, HEADER + 15, HEADER + SEALED_CHUNK + 1])
def test_no_encrypted_file_has_such_a_length(size: int) -> None:
    with pytest.raises(ValueError, match="no encrypted file"):
        plain_size(size)


class Trickle(io.RawIOBase):
    """A pipe: so many bytes, a few at a time."""

    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, size: int = -1) -> bytes:
        count = min(size, 60_000, self.left)
        self.left -= count
        return bytes(count)


def test_memory_does_not_grow_with_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "CHUNK", 1 << 20)
    size = 40 << 20
    sealing = EncryptingStream(Trickle(size), KEY, place=PLACE)
    opening = DecryptingStream(sealing, KEY, place=PLACE, what="1.dat")
    tracemalloc.start()
    try:
        found = 0
        while chunk := opening.read(1 << 20):
            found += len(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert found == size == sealing.size_bytes
    assert peak < 12 << 20
