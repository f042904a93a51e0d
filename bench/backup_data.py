"""The database that is saved, and what changes in it between two backups."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate

from bench import peers
from squizzle.postgres.access import CONTROL_DATABASE, ServerAccess, client_environment, connect
from squizzle.postgres.programs import ClientPrograms
from squizzle.proof.digests import digest_database

# With pgbench at scale 50, a third of the bytes are in documents: one narrow table alone is nobody's database.
_DOCUMENTS_A_SCALE = 7200
_WORDS = 2000
_SYLLABLES = ("ba", "con", "de", "el", "fi", "gra", "ho", "in", "ka", "lor", "mi", "ne", "o", "pra", "re", "su", "ti")


def fill(access: ServerAccess, database: str, programs: ClientPrograms, scale: int) -> int:
    """Fill a new database with pgbench's tables, and with documents of words; returns how many rows it has."""
    with client_environment(access, database) as environment:
        peers.run([str(programs.path("pgbench")), "-i", "-q", "-s", str(scale)], environment)
    with connect(access, database, purpose="bench") as connection:
        connection.execute("CREATE TABLE documents (id int PRIMARY KEY, facts jsonb NOT NULL, body text NOT NULL)")
        with connection.cursor() as cursor, cursor.copy("COPY documents FROM STDIN") as copy:
            for row in _documents(scale * _DOCUMENTS_A_SCALE):
                copy.write_row(row)
        connection.execute("VACUUM ANALYZE documents")
        # What is written from now on is summarised, if the server does that.
        connection.execute("CHECKPOINT")
        return digest_database(connection).rows


def change(access: ServerAccess, database: str) -> int:
    """Change one row in a hundred, in one place."""
    with connect(access, database, purpose="bench") as connection:
        connection.execute(
            "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid <= (SELECT max(aid) / 100"
            " FROM pgbench_accounts)"
        )
        connection.execute("CHECKPOINT")
    return 0


@contextmanager
def summaries(access: ServerAccess) -> Iterator[None]:
    """Increments need them; the other benchmarks shall not pay for them."""
    with connect(access, CONTROL_DATABASE, purpose="bench") as connection:
        connection.execute("ALTER SYSTEM SET summarize_wal = on")
        connection.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            connection.execute("ALTER SYSTEM RESET summarize_wal")
            connection.execute("SELECT pg_reload_conf()")


def _documents(count: int) -> Iterator[tuple[int, str, str]]:
    """Words as often as in a language: few are frequent (Zipf); they compress like text."""
    chance = random.Random(1)  # noqa: S311 - the same documents every time, no secret
    words = ["".join(chance.choices(_SYLLABLES, k=chance.randint(1, 4))) for _ in range(_WORDS)]
    weights = list(accumulate(1 / rank for rank in range(1, _WORDS + 1)))
    for number in range(count):
        text = chance.choices(words, cum_weights=weights, k=120)
        facts = {"title": " ".join(text[:6]), "author": f"{text[6]} {text[7]}", "tags": text[8:12], "views": number * 7}
        yield number, json.dumps(facts), " ".join(text[12:])
