"""What an increment builds on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from squizzle.backups.files import describe_file
from squizzle.backups.order import Order
from squizzle.backups.physical.copying import SERVER_MANIFEST
from squizzle.backups.physical.unchanged import RANGES_FILE
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.source import Source
from squizzle.backups.store import BackupStore, safe_name
from squizzle.errors import BackupDamagedError, InvalidInputError
from squizzle.postgres.access import Connection

_FIRST_WITH_INCREMENTS = 170000


def base_of(order: Order, connection: Connection, source: Source) -> Backup | None:
    """The copy that the order's builds on; None for a whole one.

    Raises:
        InvalidInputError: No increment is possible, and a whole copy instead was not asked for. Nothing was begun.
    """
    if order.kind is not BackupKind.INCREMENTAL:
        return None
    try:
        refuse_without_summaries(connection)
        return find_base(order.store, source, order.target.database)
    except InvalidInputError:
        if order.copying.or_full:
            return None
        raise


def refuse_without_summaries(connection: Connection) -> None:
    """An increment needs to know which blocks changed; the server notes that from 17 on, when it is told to.

    Raises:
        InvalidInputError: It does not. Nothing was begun.
    """
    if connection.info.server_version < _FIRST_WITH_INCREMENTS:
        raise InvalidInputError(
            f"PostgreSQL {connection.info.server_version // 10000} makes no increments; 17 is the first that does",
            hint="take a copy of the whole cluster (`squizzle backup physical`) or a dump (`squizzle backup full`)",
        )
    if connection.execute("SHOW summarize_wal").fetchone() != ("on",):
        raise InvalidInputError(
            "the server does not note which blocks change (summarize_wal is off), which an increment needs",
            hint="ALTER SYSTEM SET summarize_wal = on; SELECT pg_reload_conf(); then take a new copy of the cluster",
        )


def makes_increments(connection: Connection) -> bool:
    """Whether the server could make increments at all, had they a copy to build on."""
    try:
        refuse_without_summaries(connection)
    except InvalidInputError:
        return False
    return True


def find_base(store: BackupStore, source: Source, database: str) -> Backup:
    """The newest copy of the same cluster, whole or an increment, with its chain complete.

    Raises:
        InvalidInputError: There is none, or the server is on another timeline now. Nothing was begun.
    """
    ids = store.list_ids()
    for backup_id in ids:
        if f"-{safe_name(database)}-" not in backup_id:
            continue
        try:
            backup = store.read_header(backup_id)
        except BackupDamagedError:
            continue  # an increment on something damaged would be worth nothing
        if not backup.kind.is_cluster or backup.system_identifier != source.system_identifier:
            continue
        if any(member not in ids for member in backup.chain):
            continue
        if backup.timeline != source.timeline:
            raise InvalidInputError(
                f"the server is on timeline {source.timeline}, the last copy {backup.id} on {backup.timeline}",
                hint="take a new copy of the whole cluster: squizzle backup physical",
            )
        return store.read(backup_id)
    raise InvalidInputError(
        f"there is no copy of this cluster in {store.address} to build an increment on",
        hint="take one first: squizzle backup physical",
    )


@contextmanager
def server_manifest_of(store: BackupStore, base: Backup | None) -> Iterator[Path | None]:
    """The server's own manifest of a copy, compared with ours, beside what it knows of ranges; None for no copy.

    Raises:
        BackupDamagedError: It is not the file that was stored.
    """
    if base is None:
        yield None
        return
    with store.fetch(base, only=(SERVER_MANIFEST, RANGES_FILE)) as folder:
        path = folder / SERVER_MANIFEST
        wanted = next((file for file in base.files if file.path == SERVER_MANIFEST), None)
        if wanted is None or not path.is_file() or describe_file(path, folder) != wanted:
            raise BackupDamagedError(
                f"backup {base.id} is damaged: its {SERVER_MANIFEST} is not the one that was stored",
                hint="take a new copy of the whole cluster: squizzle backup physical",
            )
        yield path
