"""Numbers of things for a person: `1 backup`, `2 backups`, `12,000 rows`."""

from __future__ import annotations


def number_of(count: int, noun: str, plural: str = "") -> str:
    """A number with its noun.

    Args:
        count: How many.
        noun: For one of them.
        plural: For several, where that is not the noun with an s.
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
