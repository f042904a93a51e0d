"""A migration drops a table; rows that came after the backup are lost with it."""

from __future__ import annotations

from flows.disasters.as_in_an_emergency import read_again, recover, set_the_stage
from squizzle.drills.records import DrillScenario
from squizzle.drills.victims import Victim
from tasks.backups import damage_backup
from tasks.drilling import Stage, notice_by_fingerprints
from tasks.migrations import play_migration
from tasks.scratch import DISASTER, MIGRATIONS
from tasks.steps import now

USERS = Victim(schema="public", table="users", column="family_name", kind="text")


def play(stage: Stage) -> None:
    """Drop the users table with CASCADE; with BROKEN_BACKUP, a bit of the only backup was flipped before."""
    place, book = stage.place, stage.book
    backup, steady = set_the_stage(stage)
    if stage.scenario.name is DrillScenario.BROKEN_BACKUP:
        damage_backup(place.store, backup)
    play_migration(place.database, MIGRATIONS, DISASTER)
    book.strike("a migration dropped the table users with CASCADE", now())
    book.noticed(notice_by_fingerprints(place.database, steady))
    recover(stage, folders=(MIGRATIONS, DISASTER))
    read_again(stage, USERS)
