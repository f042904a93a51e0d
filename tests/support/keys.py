"""Keys for backups that tests encrypt."""

from __future__ import annotations

import base64
import secrets

from squizzle.backups.encryption.keys import KeyRing, LocalKey, parse_keys


def random_key() -> str:
    """A master key as a person keeps it."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def random_keys() -> KeyRing:
    """A ring of one key that nobody else has."""
    return ring_of(random_key())


def ring_of(*texts: str) -> KeyRing:
    """A ring of keys, the first one for what is new."""
    keys: tuple[LocalKey, ...] = parse_keys("\n".join(texts), where="the test")
    return KeyRing(lambda: keys)
