"""What lies around a drill: looked at before and after, so that a report can say that nothing of it was touched."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from squizzle.backups.store import BackupStore
from squizzle.backups.wal.archive import WalArchive
from squizzle.backups.wal.open_archive import archive_of
from squizzle.drills.untouched import Surroundings, Untouched, compare_surroundings, look_around
from squizzle.errors import InvalidInputError
from tasks.sources import DatabaseSource, StoreSource
from tasks.steps import step


@dataclass(frozen=True, kw_only=True, slots=True)
class Bystander:
    """A server and its store that a drill has no business with.

    Attributes:
        server: Any database of it; that on a drill's own server, whatever else is there.
        store: Its backups and the archive of its log; None for none.
        books: Whether Squizzle's own tables must stay as they are, too: on the server that a drill is played on the
            recovery keeps its books, in the maintenance database.
    """

    server: DatabaseSource
    store: StoreSource | None
    books: bool = True


def _seen(found: tuple[Surroundings, ...]) -> str:
    names = [name for one in found for name in one.databases]
    missing = [sentence for one in found for sentence in one.not_seen]
    return missing[0] if missing else f"{', '.join(names)} and {sum(len(one.backups) for one in found)} backups"


@step("Look at what must stay as it is", timeout=timedelta(hours=2), detail=_seen)
def look_at(bystanders: tuple[Bystander, ...]) -> tuple[Surroundings, ...]:
    """Note every database, role, backup and archived file but the drills' own; nothing is changed."""
    return _look(bystanders)


@step("Compare it with what is there now", timeout=timedelta(hours=2), detail=lambda found: found.words)
def compare_with(bystanders: tuple[Bystander, ...], before: tuple[Surroundings, ...]) -> Untouched:
    """Look again, and compare."""
    found = [compare_surroundings(was, now) for was, now in zip(before, _look(bystanders), strict=True)]
    return Untouched(
        changed=tuple(sentence for one in found for sentence in one.changed),
        not_seen=tuple(sentence for one in found for sentence in one.not_seen),
        seen="; ".join(one.seen for one in found),
    )


def _look(bystanders: tuple[Bystander, ...]) -> tuple[Surroundings, ...]:
    return tuple(look_around(one.server.access(), *_open(one.store), books=one.books) for one in bystanders)


def _open(store: StoreSource | None) -> tuple[BackupStore | None, WalArchive | None]:
    if store is None:
        return None, None
    place = store.open()
    try:
        return place, archive_of(place)
    except InvalidInputError:  # no log can lie in a store of this kind
        return place, None
