"""A migration spoils every row of a table: none is missing, so only fingerprints can tell."""

from __future__ import annotations

from flows.disasters.as_in_an_emergency import read_again, recover, set_the_stage
from squizzle.drills.sabotage import write_migration
from tasks.drilling import Stage, choose_victim, notice_by_fingerprints
from tasks.migrations import play_migration
from tasks.steps import now


def play(stage: Stage) -> None:
    """Spoil a column of the largest table; the down script does not know what was there before."""
    place, book = stage.place, stage.book
    _, steady = set_the_stage(stage)
    victim = choose_victim(place.database)
    folder = write_migration(place.folder / "corrupted", up=victim.update, down=f"ANALYZE {victim.quoted}")
    play_migration(place.database, *stage.migrations, folder)
    book.strike(f"a migration changed {victim.column} in every row of {victim.name}", now())
    book.noticed(notice_by_fingerprints(place.database, steady))
    # No row is missing, so it takes somebody who knows that they are wrong.
    recover(stage, folders=(*stage.migrations, folder), insist=True)
    read_again(stage, victim)
