"""Small JSON documents with a hash over themselves, so that a changed one is noticed."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from squizzle.errors import BackupDamagedError

FORMAT_VERSION = 1


def seal(document: dict[str, Any]) -> str:
    """The text of a document, with its format and its hash."""
    document = {"format_version": FORMAT_VERSION, **document}
    text = json.dumps(document, ensure_ascii=False, indent=1)
    return json.dumps({"sha256": _hash(text), "note": document}, ensure_ascii=False, indent=1) + "\n"


def open_sealed(text: str, source: str) -> dict[str, Any]:
    """The document of a text.

    Args:
        text: What `seal` made.
        source: Where it comes from, for messages.

    Raises:
        BackupDamagedError: It was changed, is of a newer format, or was never one of ours.
    """
    try:
        envelope = json.loads(text)
        document: dict[str, Any] = envelope["note"]
        stated = envelope["sha256"]
        version = document["format_version"]
    except (ValueError, KeyError, TypeError) as exc:
        raise BackupDamagedError(
            f"{source} is no document of ours: {type(exc).__name__}",
            hint="find out who changed it; what it says does not count",
        ) from exc
    if _hash(json.dumps(document, ensure_ascii=False, indent=1)) != stated:
        raise BackupDamagedError(
            f"{source} was changed after it was written", hint="find out who changed it; what it says does not count"
        )
    if version != FORMAT_VERSION:
        raise BackupDamagedError(
            f"{source} has format {version}, this program reads {FORMAT_VERSION}",
            hint="use the version of squizzle that wrote it, or a newer one",
        )
    return document


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
