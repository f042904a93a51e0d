"""Signing certificates: a chain of hashes shows a change, a signature shows that nobody without the key wrote it."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping

from squizzle.errors import KeyNotUsableError
from squizzle.postgres.secret import Secret
from squizzle.rehearsal.certificate import certificate_hash
from squizzle.rehearsal.records import Certificate

_ALGORITHM = "hmac-sha256"
# What else may ever be signed with the same key says something else here.
_PURPOSE = b"squizzle certificate\n"
# RFC 2104, section 3: a key shorter than the hash (32 bytes) weakens it.
_LEAST_BYTES = 32


def signing_key(variable: str | None, environ: Mapping[str, str] = os.environ) -> Secret | None:
    """The key of an environment variable; None where none is configured.

    Raises:
        KeyNotUsableError: The variable is not set, or what it holds is too short for a key.
    """
    if variable is None:
        return None
    text = environ.get(variable, "")
    if len(text.encode()) < _LEAST_BYTES:
        what = f"holds fewer than {_LEAST_BYTES} bytes" if text else "is not set"
        raise KeyNotUsableError(
            f"the variable {variable}, which [rehearsal] signing_key_env names, {what}",
            hint=f"export it; `openssl rand -hex {_LEAST_BYTES}` makes a key",
        )
    return Secret(text)


def sign(certificate: Certificate, key: Secret) -> str:
    """The signature of a certificate: HMAC-SHA256 over its hash, which covers everything else that it says."""
    made = hmac.new(key.reveal().encode(), _PURPOSE + certificate_hash(certificate).encode(), hashlib.sha256)
    return f"{_ALGORITHM}:{made.hexdigest()}"


def is_signed_by(certificate: Certificate, key: Secret) -> bool:
    """Whether its signature was made with this key and of what it says now."""
    return hmac.compare_digest(certificate.signature.encode(), sign(certificate, key).encode())
