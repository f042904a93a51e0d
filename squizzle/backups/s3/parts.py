"""Parts of objects, and the checksums that S3 makes of them (Amazon S3 User Guide, "Checking object integrity")."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A part of an object that was not finished.

    Attributes:
        etag: The service's name for this very content.
        size: In bytes.
        checksum: SHA-256 as S3 writes it; None from a service that lists none.
    """

    etag: str
    size: int
    checksum: str | None

    def holds(self, data: bytearray, digest: bytes) -> bool:
        """Whether it is this content. Where only its MD5 is known, the whole object's checksum says it again."""
        if self.size != len(data):
            return False
        if self.checksum is not None:
            return self.checksum == checksum_text(digest)
        return self.etag.strip('"') == hashlib.md5(data, usedforsecurity=False).hexdigest()


def checksum_of_parts(digests: Sequence[bytes]) -> str:
    """The SHA-256 that S3 gives an object in parts: that of its parts' hashes, with their number."""
    return f"{checksum_text(hashlib.sha256(b''.join(digests)).digest())}-{len(digests)}"


def checksum_text(digest: bytes) -> str:
    """A hash as S3 writes it."""
    return base64.b64encode(digest).decode("ascii")
