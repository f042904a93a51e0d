"""The client of a drill that writes and keeps notes, and what is compared with its notes."""

from __future__ import annotations

from datetime import timedelta

from blocks import PostgresDatabase
from squizzle.drills.writer import Moment, last_round, write_rounds
from squizzle.postgres.access import connect
from tasks.steps import step


@step("Write, and note a random moment", timeout=timedelta(minutes=30), detail=lambda moment: moment.words)
def write_and_note(database: PostgresDatabase, *, seed: int, rounds: int) -> Moment:
    """Write rounds of changes, and note what there was at a random moment between two of them."""
    with connect(database.access(), database.database, purpose="drill") as connection:
        return write_rounds(connection, seed=seed, rounds=rounds)


@step("See how far the client had come", timeout=timedelta(minutes=5), detail=lambda number: f"round {number}")
def rounds_there(database: PostgresDatabase) -> int:
    """The newest round that is there; nothing is changed."""
    with connect(database.access(), database.database, purpose="drill", read_only=True) as connection:
        return last_round(connection)
