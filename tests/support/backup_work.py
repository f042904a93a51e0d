"""What is done with backups, to be killed in the middle of it (`tests.support.killed`)."""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from squizzle.backups.catalogue import carry_out_pruning, plan_pruning
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.manifest import from_json
from squizzle.backups.order import Order
from squizzle.backups.records import BackupKind
from squizzle.backups.s3 import lease, uploads
from squizzle.backups.s3.settings import S3Settings
from squizzle.backups.s3.store import S3Store
from squizzle.backups.settings import Retention
from squizzle.backups.store import BackupStore, previous_backup
from squizzle.backups.taking import take_backup
from squizzle.postgres.access import ServerAccess
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import ClientPrograms

PART = 5 << 20
"""The smallest that S3 takes."""

ONLY_THE_NEWEST = Retention(daily=1, weekly=0, monthly=0)
LATER = datetime(2031, 1, 1, tzinfo=UTC)


def store_of(place: Mapping[str, Any]) -> BackupStore:
    """The store that a test speaks of: `{"folder": …}` or the settings of a bucket."""
    return FolderStore(Path(place["folder"])) if "folder" in place else S3Store(S3Settings(**place))


def _opened(place: Mapping[str, Any]) -> BackupStore:
    # Dead after a second, and a file of 6 MB in two parts: as after twenty minutes, and of 32 MB.
    lease.LEASE = timedelta(seconds=1)
    uploads._GROWS_AFTER = ((uploads.MOST_PARTS, PART),)
    return store_of(place)


def publish(begin: Callable[[], None], *, place: Mapping[str, Any], manifest: str, backup_id: str, size: int) -> None:
    """A backup of two files that programs wrote and one that is streamed, without any program."""
    store = _opened(place)
    begin()
    _publish(store, manifest, backup_id, size)


def _publish(store: BackupStore, manifest: str, backup_id: str, size: int) -> None:
    draft = from_json(manifest, source="the test")
    with store.receive(backup_id) as incoming:
        (incoming.folder / "dump").mkdir()
        (incoming.folder / "dump" / "toc.dat").write_text("rows")
        (incoming.folder / "globals.sql").write_text("roles")
        incoming.stream("cluster.tar", io.BytesIO(bytes(size)))
        previous = previous_backup(store, draft.database, draft.system_identifier)
        files = incoming.describe()
        incoming.publish(replace(draft, id=backup_id, location=backup_id, files=files, previous=previous))


def prune(begin: Callable[[], None], *, place: Mapping[str, Any], manifest: str) -> None:
    """Have three backups, and remove all but the newest."""
    store = _opened(place)
    for number in range(len(store.list_ids()), 3):
        _publish(store, manifest, f"20250301T12000{number}Z-shop-{secrets.token_hex(3)}", 10)
    begin()
    plan = plan_pruning(store, ONLY_THE_NEWEST, now=LATER)
    carry_out_pruning(store, plan, by="ann", reason="a test", now=LATER)


def clean(begin: Callable[[], None], *, place: Mapping[str, Any]) -> None:
    """What every backup begins with."""
    store = _opened(place)
    begin()
    store.remove_leftovers()


def take(
    begin: Callable[[], None],
    *,
    place: Mapping[str, Any],
    server_access: Mapping[str, Any],
    database: str,
    programs: Mapping[str, Any],
    kind: str,
    suffix: str,
) -> None:
    """A real backup of a real database."""
    order = Order(
        access=ServerAccess(**server_access),
        target=Target(database=database, schema="public"),
        store=_opened(place),
        kind=BackupKind(kind),
        programs=ClientPrograms(**{**programs, "folder": Path(programs["folder"])}),
    )
    begin()
    take_backup(order, suffix=suffix)
