"""Keys: where they come from, what is refused, and that none is ever shown."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from squizzle.backups.encryption.keys import LocalKey, parse_keys, read_key_file
from squizzle.backups.encryption.open_keys import open_keys
from squizzle.backups.settings import KeySettings
from squizzle.errors import BackupDamagedError, KeyNotUsableError
from squizzle.postgres.secret import Secret
from tests.support.keys import random_key, ring_of

OWNER = "20250301T120000Z-shop-abcdef"


def test_a_wrapped_key_is_unwrapped_for_its_owner_alone() -> None:
    key = random_key()
    made = ring_of(key).new_data_key(OWNER)

    assert ring_of(key).data_key(made.for_manifest, OWNER) == made.plain
    with pytest.raises(BackupDamagedError, match="belongs to something else"):
        ring_of(key).data_key(made.for_manifest, "20250302T120000Z-shop-abcdef")
    with pytest.raises(BackupDamagedError, match="was changed"):
        ring_of(key).data_key({**made.for_manifest, "wrapped_key": "AAAA"}, OWNER)


def test_after_a_rotation_the_old_key_still_decrypts_and_the_new_one_encrypts() -> None:
    old, new = random_key(), random_key()
    made = ring_of(old).new_data_key(OWNER)
    both = ring_of(new, old)

    assert both.data_key(made.for_manifest, OWNER) == made.plain
    assert both.new_data_key(OWNER).master == ring_of(new).new_data_key(OWNER).master != made.master


def test_a_key_that_is_not_here_is_named_with_those_that_are() -> None:
    made = ring_of(random_key()).new_data_key(OWNER)
    other = ring_of(random_key())

    with pytest.raises(
        KeyNotUsableError, match=rf"{OWNER} is encrypted with the key {made.master}; .* here are"
    ) as caught:
        other.data_key(made.for_manifest, OWNER)
    assert "docs/stores.md" in caught.value.hint
    with pytest.raises(KeyNotUsableError, match="does not know"):
        other.data_key({**made.for_manifest, "format": "2"}, OWNER)


def from_file(key: str, folder: Path) -> KeySettings:
    path = folder / "key"
    path.write_text(f"# the key of {folder}\n{key}  # since March\n")
    path.chmod(0o600)
    return KeySettings(key_file=path)


SOURCES: dict[str, Callable[[str, Path], KeySettings]] = {
    "file": from_file,
    "variable": lambda _key, _folder: KeySettings(key_env="BACKUP_KEYS"),
    "block": lambda key, _folder: KeySettings(keys=Secret(key)),
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_key_comes_from_a_file_a_variable_or_a_block(source: str, tmp_path: Path) -> None:
    key = random_key()
    settings = SOURCES[source](key, tmp_path)

    ring = open_keys(settings, {"BACKUP_KEYS": key})

    assert ring is not None
    assert ring.new_data_key(OWNER).master == ring_of(key).new_data_key(OWNER).master
    assert key not in f"{ring!r}{settings!r}{parse_keys(key, where='x')!r}{ring.new_data_key(OWNER)!r}"


def test_without_a_key_nothing_is_encrypted_and_a_key_is_looked_for_when_it_is_needed() -> None:
    assert open_keys(KeySettings()) is None
    ring = open_keys(KeySettings(key_file=Path("/not/there"), key_env="BACKUP_KEYS"), {})

    assert ring is not None
    with pytest.raises(KeyNotUsableError, match="/not/there cannot be read: No such file"):
        ring.new_data_key(OWNER)
    ring = open_keys(KeySettings(key_env="BACKUP_KEYS"), {})
    assert ring is not None
    with pytest.raises(KeyNotUsableError, match="BACKUP_KEYS, which is not set"):
        ring.new_data_key(OWNER)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = from_file(random_key(), tmp_path).key_file
    assert path is not None
    read_key_file(path)
    path.chmod(mode)

    with pytest.raises(KeyNotUsableError, match=f"has mode {mode:04o}: others can read the key") as caught:
        read_key_file(path)
    assert caught.value.hint == f"chmod 600 {path}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no key in the test"),
        ("# nothing\n\n", "there is no key in the test"),
        ("hunter2", "line 1 of the test is no key"),
        (bytes(range(31)).hex(), "line 1 of the test is no key"),
        (f"{bytes(range(32)).hex()}\n{bytes(range(32)).hex()}0", "line 2 of the test is no key"),
        ("00" * 32, "line 1 of the test is not random"),
        ("é" * 44, "line 1 of the test is no key"),
    ],
    ids=["empty", "comments", "password", "31 bytes", "65 digits", "zeros", "no ASCII"],
)
def test_what_is_no_key_is_refused_and_not_repeated(text: str, said: str) -> None:
    with pytest.raises(KeyNotUsableError, match=said) as caught:
        parse_keys(text, where="the test")

    assert "openssl rand" in caught.value.hint
    assert not text.strip("# \n") or text.strip() not in f"{caught.value.message}{caught.value.hint}"


def test_hexadecimal_and_base64_are_the_same_key() -> None:
    raw = os.urandom(32)
    first, second = parse_keys(f"{raw.hex()} {base64.b64encode(raw).decode()}", where="the test")

    assert first.id == second.id == LocalKey(raw).id
    assert replace(LocalKey(raw).new_data_key(OWNER), wrapped="").master == first.id
