"""Everything at once: a migration spoils rows, the next one fails, its way back fails, the newest backup is broken."""

from __future__ import annotations

from flows.disasters.as_in_an_emergency import go_on_writing, make_it_work, read_again, recover, save
from squizzle.drills.sabotage import NEXT_VERSION, write_migration
from squizzle.drills.scenarios import BACK_BY_THEMSELVES, BROKEN_ONE_GIVEN_UP, KEPT_OUT, OLDER_ONE_USED, SCRIPT_FAILED
from squizzle.recovery.ways import Way
from tasks.actors import reconnecting_clients
from tasks.backups import damage_backup
from tasks.drilling import PATIENCE, Stage, choose_victim, notice_failed_migration, play_failing_migration
from tasks.migrations import play_migration
from tasks.scratch import make_application
from tasks.steps import now


def play(stage: Stage) -> None:
    """Let one failure follow another while clients keep coming back; only the backup before the newest is left."""
    place, book = stage.place, stage.book
    make_it_work(stage)
    older = save(stage)
    go_on_writing(stage)
    newest = save(stage)
    go_on_writing(stage)
    damage_backup(place.store, newest)
    victim = choose_victim(place.database)
    folder = place.folder / "cascade"
    write_migration(folder, up=victim.update, down="SELECT the_way_back_was_never_tried()")
    application = make_application(place)
    with reconnecting_clients(application, victim) as clients:
        play_migration(place.database, *stage.migrations, folder)
        write_migration(folder, up="SELECT 1 / 0", down="SELECT 1", version=NEXT_VERSION)
        play_failing_migration(place.database, *stage.migrations, folder)
        book.strike(
            f"a migration spoiled {victim.name}, the next one failed; way back and newest backup are bad", now()
        )
        book.noticed(notice_failed_migration(place.database))
        before = clients.refusals
        recover(stage, folders=(*stage.migrations, folder), insist=True)
        refused = clients.refusals - before
        book.check(KEPT_OUT, is_so=refused > 0, detail=f"turned away {refused:,} times")
        is_back = clients.wait_for_more(clients.answers, PATIENCE)
        book.check(BACK_BY_THEMSELVES, is_so=is_back, detail=f"{clients.answers:,} answers")
    script, broken = _failure(stage, Way.ROLL_BACK.words), _failure(stage, newest.id)
    book.check(SCRIPT_FAILED, is_so=bool(script), detail=script or "it was not tried")
    book.check(BROKEN_ONE_GIVEN_UP, is_so=bool(broken), detail=broken or "it was not tried, or was taken for whole")
    used = book.evidence.backup
    book.check(OLDER_ONE_USED, is_so=used is not None and used.id == older.id, detail=used.id if used else "none")
    read_again(stage, victim)


def _failure(stage: Stage, way: str) -> str:
    """Why a way was given up, by its words or its backup; empty where it was not."""
    return next((one for one in stage.book.evidence.failed if way in one), "")
