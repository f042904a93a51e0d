"""Notes that name each other by hash, and what is kept of them when their backup is removed on purpose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from squizzle.backups.sealed import open_sealed
from squizzle.backups.store import BackupStore, notes_of
from squizzle.errors import BackupDamagedError

CHAIN = "chain"
"""Under this name a note says its place in a chain."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """The place of a note in a chain.

    Attributes:
        id: Of the note.
        sha256: Of what it says.
        previous: The notes before it, by id, with the hash that each had then.
    """

    id: str
    sha256: str
    previous: Mapping[str, str]

    def as_document(self) -> dict[str, Any]:
        """JSON types."""
        return {"id": self.id, "sha256": self.sha256, "previous": dict(self.previous)}


def link_of(document: Mapping[str, Any]) -> Link:
    """What `Link.as_document` made.

    Raises:
        KeyError, TypeError: It is none.
    """
    previous = document["previous"]
    if not isinstance(previous, dict):
        raise TypeError("no links")
    return Link(
        id=str(document["id"]),
        sha256=str(document["sha256"]),
        previous={str(name): str(sha256) for name, sha256 in previous.items()},
    )


def links_beside(store: BackupStore, backup_id: str) -> tuple[Link, ...]:
    """The places of all chained notes beside a backup; a damaged note has none."""
    found = []
    for name, text in store.texts(notes_of(backup_id)).items():
        try:
            document = open_sealed(text, name)
            if CHAIN in document:
                found.append(link_of(document[CHAIN]))
        except (BackupDamagedError, KeyError, TypeError):
            continue  # said where notes are read
    return tuple(found)
