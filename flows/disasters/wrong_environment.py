"""A migration lands on the wrong database: nobody had said which one it should be."""

from __future__ import annotations

from flows.disasters.as_in_an_emergency import agreed, go_on_writing, make_it_work
from flows.undo_wrong_environment import plan_mishap, take_back_mishap
from squizzle.drills.sabotage import NEXT_VERSION, write_migration, write_project
from squizzle.drills.scenarios import IN_THE_RIGHT_ONE, REFUSED_BY_NAME, SCHEMA_AS_BEFORE
from tasks.drilling import (
    PATIENCE,
    Stage,
    choose_victim,
    compare_with_steady,
    notice_by_identity,
    refusal_of_identity,
)
from tasks.migrations import play_migration
from tasks.scratch import known_by_id, make_another
from tasks.steps import now


def play(stage: Stage) -> None:
    """Apply a migration to another database than was meant, take it back there, and apply it where it belongs."""
    place, book = stage.place, stage.book
    make_it_work(stage)
    steady = go_on_writing(stage)
    victim = choose_victim(place.database)
    folder = place.folder / "wrong"
    # What both have, so that the history says how the schema was before.
    write_migration(folder / "migrations", up=f"ANALYZE {victim.quoted}", down=None)
    play_migration(place.database, *stage.migrations, folder / "migrations")
    right = make_another(place, "meant")
    wrong = known_by_id(place.database)
    up, down = f"ALTER TABLE {victim.quoted} ADD COLUMN drill text", f"ALTER TABLE {victim.quoted} DROP COLUMN drill"
    write_migration(folder / "migrations", up=up, down=down, version=NEXT_VERSION)
    project = write_project(folder, stage.migrations)
    # As from a shell in which DATABASE_URL was another one: nobody compares what nobody says.
    play_migration(wrong.model_copy(update={"database_id": ""}), *stage.migrations, folder / "migrations")
    book.strike(f"a migration of {right.database} was applied to {wrong.database}", now())
    book.noticed(notice_by_identity(wrong, right))
    with agreed():
        report = plan_mishap(wrong, right, project, (NEXT_VERSION,), accept_loss=False)
        report = take_back_mishap(report, wrong, right, project, then_apply=True, patience=PATIENCE)
    book.remedy = "undo_wrong_environment"
    book.note(recovered_at=now())
    book.check(IN_THE_RIGHT_ONE, is_so=NEXT_VERSION in (report.applied or ()), detail=", ".join(report.applied or ()))
    refused = refusal_of_identity(wrong, right, folder / "migrations")
    book.check(REFUSED_BY_NAME, is_so=bool(refused), detail=refused or "it was let through")
    book.unharmed = compare_with_steady(wrong, steady)
    different, taken = book.unharmed.other_sentences(), report.taken_back
    is_so = not different and taken is not None and taken.schema_is_as_before is True
    book.check(SCHEMA_AS_BEFORE, is_so=is_so, detail="; ".join(different) or "every definition is as before")
