"""What disasters have in common: the stage before, and the recovery, which is that of a real emergency."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flows.recover import recover_noting
from squizzle.backups.records import Backup
from squizzle.errors import RecoveryError
from squizzle.proof.records import DatabaseDigest
from squizzle.recovery.recovery import RecoveryNames
from squizzle.recovery.ways import RecoveryPolicy
from tasks.backups import take_backup
from tasks.drilling import Stage, database_size
from tasks.migrations import apply_migrations
from tasks.recovery import one_recovery, read_as_application
from tasks.recovery_case import WAYS, RecoveryCase
from tasks.scratch import MIGRATIONS, load_shop_data, make_shop_database, write_more_orders

LATE_ORDERS = 25


def set_the_stage(stage: Stage) -> tuple[Backup, DatabaseDigest]:
    """A database that works, with a backup, and with rows that came after it: its steady state is noted."""
    place, book = stage.place, stage.book
    make_shop_database(place)
    apply_migrations(place.database, MIGRATIONS)
    load_shop_data(place, scale=stage.scale)
    backup = take_backup(place.database, place.store)
    steady = write_more_orders(place, orders=LATE_ORDERS)
    book.size_bytes = database_size(place.database)
    book.note(backup=backup, steady=steady)
    return backup, steady


def recover(stage: Stage, *, folders: Sequence[Path], insist: bool = False) -> None:
    """The recovery of a real emergency: shut, assess, decide, take the ways back, compare, let in.

    Args:
        stage: The damaged database is its.
        folders: Migrations, for the down scripts.
        insist: Somebody says that there is damage, though no row is missing.

    Raises:
        RecoveryError: It is not recovered; the book says why, and clients are kept out.
    """
    place, book, notice = stage.place, stage.book, stage.book.notice
    case = RecoveryCase(
        database=place.database,
        store=place.store,
        folders=tuple(folders),
        names=RecoveryNames(restored=place.names.restored, kept=place.names.kept),
        policy=RecoveryPolicy(may_lose_data=True, ways=WAYS),
        insist=insist,
        keep_lost_rows=False,
    )
    with one_recovery(place.database):
        is_open = recover_noting(case, book)
    if notice is not None:
        book.noticed(notice)
    if not is_open:
        raise RecoveryError(book.evidence.error)


def read_again(stage: Stage, table: str) -> None:
    """The application's role reads a table; the book has what it saw."""
    role = stage.place.names.application
    stage.book.note(application_reads=read_as_application(stage.place.database, role=role, table=table))
