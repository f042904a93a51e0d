"""The server is gone with its data, and only the store is left: it is rebuilt on a new server."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime
from functools import partial

from blocks import BackupFolder
from squizzle.backups.proofs import Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.drills.scenarios import BY_THE_LOG, EVERY_DATABASE, NEXT_BACKUP
from squizzle.durations import words
from squizzle.recovery.rebuild.records import RebuiltServer
from squizzle.recovery.scratch import drill_names, is_of_run, run_database
from tasks.backups import take_backup, verify_backup
from tasks.drilling import Stage, compare_with_steady, database_size
from tasks.migrations import apply_migrations
from tasks.own_servers import (
    OwnServer,
    await_log,
    empty_server,
    lose_server,
    make_ledger,
    notice_by_connection,
    server_of_copy,
    server_to_lose,
)
from tasks.rebuilding import find_saved, rebuild_it
from tasks.recovery import read_as_application
from tasks.scratch import MIGRATIONS, load_shop_data, make_shop_database, write_more_orders
from tasks.steps import now

LATE_ORDERS = 25


def play(stage: Stage) -> None:
    """Lose a server of two databases that were saved with their roles, and bring all of it back on an empty one.

    The server that is lost and the empty one are the drill's own; the stage's keeps nothing but what the store holds.
    """
    book, store, run_id = stage.book, stage.place.store, stage.place.run_id
    with ExitStack() as stack:
        lost, log = stack.enter_context(server_to_lose(stage.place))
        backup = _save(lost, scale=stage.scale)
        copy = take_backup(lost.place.database, log, kind=BackupKind.PHYSICAL)
        steady = write_more_orders(lost.place, orders=LATE_ORDERS)
        book.note(backup=backup, steady=steady)
        archived = await_log(lost, log)
        book.size_bytes = database_size(lost.place.database)
        book.strike("a server was killed, and its data folder is gone", lose_server(lost))
        book.noticed(notice_by_connection(lost))
        new = stack.enter_context(empty_server(stage.place))
        ours = partial(is_of_run, run_id=run_id)
        saved = find_saved(new.maintenance, store, cluster=backup.system_identifier, wanted=ours)
        done = rebuild_it(new.maintenance, store, saved)
        book.remedy = "rebuild"
        _look(stage, new, done)
        _look_at_copy(stage, log, copy, archived.time)


def _databases(run_id: str) -> tuple[str, str]:
    """A shop, and a ledger beside it."""
    return drill_names(run_id).database, run_database(run_id, "ledger")


def _save(lost: OwnServer, *, scale: float) -> Backup:
    """Make both databases, and save them and the roles; returns the shop's backup."""
    place = lost.place
    make_shop_database(place)
    apply_migrations(place.database, MIGRATIONS)
    load_shop_data(place, scale=scale)
    ledger = lost.database(_databases(place.run_id)[1])
    make_ledger(place.database, ledger, owner=place.names.owner)
    take_backup(ledger, place.store)
    take_backup(place.database, place.store, kind=BackupKind.GLOBALS)
    return take_backup(place.database, place.store)


def _look(stage: Stage, new: OwnServer, done: RebuiltServer) -> None:
    """What clients find on the new server, and whether it is a server that can be saved in its turn."""
    place, book = new.place, stage.book
    found = {one.backup.database: one for one in done.databases}
    gone = [f"{name} is not there" for name in _databases(place.run_id) if name not in found]
    said = "; ".join((*gone, *done.sentences)) or f"{done.rows:,} rows in {' and '.join(found)}"
    book.check(EVERY_DATABASE, is_so=done.is_whole and not gone, detail=said)
    shop = found.get(place.names.database)
    if shop is None or not shop.is_equal:
        return
    reads = read_as_application(place.database, role=place.names.application, table=("public", "users"))
    book.note(final=shop.comparison, application_reads=reads, recovered_at=now())
    backup = take_backup(place.database, place.store)
    proof = verify_backup(place.store, backup)
    book.check(NEXT_BACKUP, is_so=proof.verdict is Verdict.PASS, detail=f"{backup.id}, {backup.rows:,} rows")


def _look_at_copy(stage: Stage, log: BackupFolder, copy: Backup, archived_at: datetime) -> None:
    """The other way back, which loses less: everything up to the last of the log that was archived."""
    book, begun = stage.book, now()
    steady, lost_at = book.evidence.steady, book.evidence.disaster_at
    if steady is None or lost_at is None:
        raise AssertionError("the state before the disaster is noted before it")
    with server_of_copy(stage.place, log, copy) as again:
        found = compare_with_steady(again.place.database, steady)
    said = f"in {words(now() - begun)}, and loses {words(lost_at - archived_at)} of writes"
    detail = "; ".join(found.row_sentences()) or f"{steady.rows:,} rows, {said}"
    book.check(BY_THE_LOG, is_so=not found.different_tables, detail=detail)
