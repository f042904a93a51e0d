"""A database has to be again as it was at a random moment: by a copy of the cluster and the log behind it."""

from __future__ import annotations

from squizzle.backups.records import BackupKind
from squizzle.drills.scenarios import NO_COPY_ARCHIVES, UP_TO_THE_MOMENT
from squizzle.drills.writer import Moment
from squizzle.recovery.ways import Way
from tasks.backups import take_backup
from tasks.drill_writing import rounds_there, write_and_note
from tasks.drilling import Stage, compare_with_steady, database_size, notice_by_fingerprints
from tasks.migrations import apply_migrations
from tasks.own_servers import OwnServer, archiving_server, await_log
from tasks.recovery import read_as_application
from tasks.restoring import RestoreCase, find_restore, restore_it, swap_it_in, target_of
from tasks.scratch import MIGRATIONS, load_shop_data, make_shop_database
from tasks.steps import now
from tasks.surroundings import Bystander, compare_with, look_at

ROUNDS = 12


def play(stage: Stage) -> None:
    """Write rounds of changes behind a copy of the cluster, and go back to a random moment between two of them.

    The server that archives is one of its own; the stage's stays as it is.
    """
    with archiving_server(stage.place) as own:
        place, book = own.place, stage.book
        make_shop_database(place)
        apply_migrations(place.database, MIGRATIONS)
        load_shop_data(place, scale=stage.scale)
        backup = take_backup(place.database, place.store, kind=BackupKind.PHYSICAL)
        moment = write_and_note(place.database, seed=stage.seed, rounds=ROUNDS)
        book.size_bytes = database_size(place.database)
        book.note(backup=backup, steady=moment.digest)
        around = (Bystander(server=own.maintenance, store=place.store, books=False),)
        was = look_at(around)
        book.strike(f"a client changed rows from {moment.words} on", now())
        book.noticed(notice_by_fingerprints(place.database, moment.digest))
        await_log(own, place.store)
        _go_back(stage, own, moment)
        book.check_untouched(NO_COPY_ARCHIVES, compare_with(around, was))


def _go_back(stage: Stage, own: OwnServer, moment: Moment) -> None:
    """As a person does with `restore-backup`: to a time, beside, compared, and then in its place."""
    place, book = own.place, stage.book
    case = RestoreCase(
        database=place.database,
        store=place.store,
        backup_id="",
        target=target_of("time", moment.at.isoformat(sep=" ")),
        into=place.names.restored,
        tables=(),
        switch_over=True,
    )
    plan = find_restore(case)
    book.note(copy=restore_it(case, plan).comparison)
    book.note(kept_as=swap_it_in(case, plan).kept_as, recovered_at=now())
    book.remedy = Way.POINT_IN_TIME.value
    book.unharmed = compare_with_steady(place.database, moment.digest)
    there = rounds_there(place.database)
    book.check(
        UP_TO_THE_MOMENT, is_so=there == moment.rounds, detail=f"round {there} of {ROUNDS} is the last ({moment.words})"
    )
    role = place.names.application
    book.note(application_reads=read_as_application(place.database, role=role, table=("public", "users")))
