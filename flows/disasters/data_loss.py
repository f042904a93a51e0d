"""A migration drops a table; rows that came after the backup are lost with it."""

from __future__ import annotations

from flows.disasters.as_in_an_emergency import read_again, recover, set_the_stage
from squizzle.drills.records import DrillScenario
from squizzle.drills.sabotage import write_migration
from squizzle.drills.victims import Victim
from tasks.backups import damage_backup
from tasks.drilling import Stage, choose_victim, notice_by_fingerprints
from tasks.migrations import play_migration
from tasks.scratch import DISASTER
from tasks.steps import now

USERS = Victim(schema="public", table="users", column="family_name", kind="text")


def play(stage: Stage) -> None:
    """Drop a table with CASCADE; with BROKEN_BACKUP, a bit of the only backup was flipped before."""
    place, book = stage.place, stage.book
    backup, steady = set_the_stage(stage)
    if stage.scenario.name is DrillScenario.BROKEN_BACKUP:
        damage_backup(place.store, backup)
    if stage.data.is_example:
        victim, folder = USERS, DISASTER
    else:
        victim = choose_victim(place.database)
        folder = write_migration(place.folder / "lost", up=f"DROP TABLE {victim.quoted} CASCADE", down=None)
    play_migration(place.database, *stage.migrations, folder)
    book.strike(f"a migration dropped the table {victim.name} with CASCADE", now())
    book.noticed(notice_by_fingerprints(place.database, steady))
    recover(stage, folders=(*stage.migrations, folder))
    read_again(stage, victim)
