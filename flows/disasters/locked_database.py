"""A migration of another tool hangs behind a forgotten transaction, and everybody hangs behind it."""

from __future__ import annotations

from datetime import timedelta

from flows.disasters.as_in_an_emergency import agreed, go_on_writing, make_it_work
from flows.release_locks import carry_out_release
from squizzle.drills.scenarios import ANSWERED_AGAIN, NOBODY_WAITS, ONLY_THE_BLOCKER, WENT_THROUGH
from squizzle.health.release_plan import ReleasePolicy
from squizzle.reports.locks import summary
from tasks.actors import forgotten_transaction, hanging_statement, reconnecting_clients
from tasks.drilling import PATIENCE, Stage, choose_victim, compare_with_steady, notice_locks
from tasks.health import see_locks
from tasks.scratch import make_application
from tasks.steps import now

# In an emergency minutes; a drill has just made what it wants to be rid of.
POLICY = ReleasePolicy(idle_longer_than=timedelta(), waiting_longer_than=timedelta())


def play(stage: Stage) -> None:
    """Let a transaction be forgotten, a migration hang behind it, and clients behind that; then release."""
    place, book = stage.place, stage.book
    make_it_work(stage)
    steady = go_on_writing(stage)
    victim = choose_victim(place.database)
    application = make_application(place)
    change = f"ALTER TABLE {victim.quoted} ADD CONSTRAINT squizzle_drill CHECK (true) NOT VALID"
    with (
        forgotten_transaction(application, victim) as forgotten,
        reconnecting_clients(application, victim) as clients,
        hanging_statement(place.database, change) as hanging,
    ):
        book.strike(f"a migration of another tool waits behind a transaction that has read {victim.name}", now())
        book.noticed(notice_locks(place.database, blocker=forgotten, waiter=hanging.pid))
        with agreed():
            done = carry_out_release(place.database, POLICY, dry_run=False, patience=PATIENCE)
        book.remedy = "release_locks"
        went_through = hanging.wait(PATIENCE)
        book.note(recovered_at=went_through)
        ended = [one.ending.session.pid for one in done.ended]
        book.check(ONLY_THE_BLOCKER, is_so=ended == [forgotten], detail="; ".join(one.sentence() for one in done.ended))
        book.check(WENT_THROUGH, is_so=went_through is not None, detail="it has its lock")
        is_answered = clients.wait_for_more(clients.answers, PATIENCE)
        book.check(ANSWERED_AGAIN, is_so=is_answered, detail=f"{clients.answers:,} answers")
        picture = see_locks(place.database)
        book.check(NOBODY_WAITS, is_so=not picture.waits, detail=summary(picture))
    book.unharmed = compare_with_steady(place.database, steady)
