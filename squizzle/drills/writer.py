"""A client that writes while a drill runs, and notes what there was when: what came back is compared with its notes."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql

from squizzle.postgres.access import Connection
from squizzle.postgres.translation import translate_error
from squizzle.proof.digests import digest_database
from squizzle.proof.records import DatabaseDigest

TABLE = "drill_round"
_MAKE = f"CREATE TABLE IF NOT EXISTS {TABLE} (number integer PRIMARY KEY, changed integer NOT NULL)"
# Each changes what a restore of an earlier or a later moment would not have; none needs a row that another one takes.
_CHANGES = (
    "UPDATE stock_levels SET on_hand = on_hand + 1 WHERE product_id %% 5 = %(draw)s",
    "UPDATE products SET price = price + 0.01 WHERE id %% 5 = %(draw)s",
    "DELETE FROM reviews WHERE id = (SELECT max(id) FROM reviews)",
    "UPDATE orders SET note = format('round %%s', %(number)s::int) WHERE id %% 5 = %(draw)s",
)
_NOW = "SELECT clock_timestamp()"


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """A moment at which nobody wrote, and everything that there was.

    Attributes:
        at: By the server's clock: after the round before had committed, and before the next one began.
        rounds: How many rounds had committed.
        digest: Of the whole database.
        seed: Gives the same rounds and the same moment again.
    """

    at: datetime
    rounds: int
    digest: DatabaseDigest
    seed: int

    @property
    def words(self) -> str:
        """For a person."""
        return f"{self.at:%H:%M:%S.%f} UTC, behind round {self.rounds} (seed {self.seed})"


def write_rounds(connection: Connection, *, seed: int, rounds: int) -> Moment:
    """Write rounds of changes, each in a transaction of its own, and note a random moment between two of them.

    Args:
        connection: A session in the example's database; nobody else writes to it.
        seed: What is random is drawn with it.
        rounds: At least 2: what comes behind the moment has to be seen in the log, or nobody knows that it is reached.

    Returns:
        The moment, and what there was.

    Raises:
        DatabaseError: The session was lost; what had committed stays.
    """
    draw = random.Random(seed)  # noqa: S311 - to be played again, not to be a secret
    chosen, share = draw.randint(1, rounds - 1), draw.random()
    try:
        connection.execute(_MAKE.encode())
        for number in range(1, chosen + 1):
            _write(connection, draw, number)
        after = _clock(connection)
        digest = digest_database(connection)
        before = _clock(connection)
        for number in range(chosen + 1, rounds + 1):
            _write(connection, draw, number)
    except psycopg.Error as exc:
        raise translate_error(exc, doing="write as a client of the drill") from exc
    return Moment(at=after + share * (before - after), rounds=chosen, digest=digest, seed=seed)


def last_round(connection: Connection) -> int:
    """The newest round that a database has; 0 for none.

    Raises:
        DatabaseError: The session was lost, or the table is not there.
    """
    query = sql.SQL("SELECT coalesce(max(number), 0) FROM {}").format(sql.Identifier(TABLE))
    try:
        row = connection.execute(query).fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="see how far the drill's client had come") from exc
    return int(row[0]) if row else 0


def _write(connection: Connection, draw: random.Random, number: int) -> None:
    change, given = draw.choice(_CHANGES), {"draw": draw.randrange(5), "number": number}
    with connection.transaction():
        changed = connection.execute(change.encode(), given).rowcount
        connection.execute(f"INSERT INTO {TABLE} VALUES (%s, %s)".encode(), (number, changed))  # noqa: S608


def _clock(connection: Connection) -> datetime:
    row = connection.execute(_NOW).fetchone()
    if row is None or not isinstance(row[0], datetime):
        raise AssertionError("a SELECT of the clock returned none")
    return row[0]
