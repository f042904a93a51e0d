"""A migration loses an index: every row is there, and what the application asks most takes many times as long."""

from __future__ import annotations

from flows.disasters.as_in_an_emergency import go_on_writing, make_it_work
from squizzle.drills.sabotage import VERSION, write_migration
from squizzle.drills.scenarios import INDEX_IS_BACK, QUICK_AGAIN
from tasks.drilling import (
    Stage,
    choose_index,
    compare_with_steady,
    count_queries,
    measure_queries,
    notice_slower_queries,
)
from tasks.health import note_query_costs
from tasks.migrations import play_migration, roll_back_migration
from tasks.steps import now


def play(stage: Stage) -> None:
    """Note what queries cost, drop the index, wait until the rule fires, and run the down script, with clients in."""
    place, book = stage.place, stage.book
    make_it_work(stage)
    count_queries(place.database)
    steady = go_on_writing(stage)
    lost, values = choose_index(place.database)
    usual = measure_queries(place.database, lost, values)
    note_query_costs(place.database, label="before the drill's disaster")
    folder = write_migration(place.folder / "slower", up=lost.drop, down=lost.definition)
    play_migration(place.database, *stage.migrations, folder)
    book.strike(f"a migration dropped the index {lost.index} of {lost.schema}.{lost.table}", now())
    book.noticed(notice_slower_queries(place.database, lost, values))
    slow = measure_queries(place.database, lost, values)
    roll_back_migration(place.database, *stage.migrations, folder, version=VERSION)
    book.remedy = "roll_back"
    quick = measure_queries(place.database, lost, values)
    book.note(recovered_at=now())
    shown = f"{usual:,.2f} ms before, {slow:,.2f} ms without the index, {quick:,.2f} ms with it again"
    # Half of what it cost without: the rule's own factor, the other way round; a busy machine does not reach that.
    book.check(QUICK_AGAIN, is_so=quick * 2 <= slow, detail=shown)
    book.unharmed = compare_with_steady(place.database, steady)
    different = book.unharmed.other_sentences()
    book.check(INDEX_IS_BACK, is_so=not different, detail="; ".join(different) or "every definition is as before")
