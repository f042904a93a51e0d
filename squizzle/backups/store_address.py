"""Addresses of stores that are folders. Imported where starting fast counts, so it imports next to nothing itself."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit


def folder_of_address(address: str) -> Path | None:
    """The folder of `file:///folder` or of a plain path; None for any other address."""
    parts = urlsplit(address)
    if not parts.scheme and address:
        return Path(address)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"} and parts.path:
        return Path(unquote(parts.path))
    return None
