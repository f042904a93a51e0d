"""How fast rows are fingerprinted, beside what reading them takes at all, and what people hash rows with instead."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import LiteralString

from psycopg import sql

from bench.backup_data import fill
from bench.replay import scratch_database
from bench.report import Figure, Finding, Picture
from bench.turns import Taken, take_turns
from bench.usage import Meter
from squizzle.postgres.access import CONTROL_DATABASE, Connection, ServerAccess, connect
from squizzle.postgres.programs import find_programs
from squizzle.proof.digests import digest_database
from squizzle.proof.unchanged_rows import RowMemory

FILES = "the tables' files, read one after the other"
COUNTED = "count(*) of each table"
COPIED = "COPY of each table, thrown away"
HASHED = "md5(string_agg(md5(row) ORDER BY key)) of each table"
OURS = "squizzle: fingerprints of rows and schema"
AGAIN = "squizzle: the same again, in a rehearsal, nothing changed"
# Who is compared with, and why it would be faster.
_WHY = {
    FILES: "the files are only read, and nobody looks at what is in them",
    COUNTED: "each row's values are made a text and hashed, where count(*) only looks whether a row is there",
    COPIED: "COPY makes texts, and hashes nothing",
    HASHED: "",
}
_BLOCK = 1 << 20
_TABLES = (("pgbench_accounts", "aid"), ("documents", "id"), ("pgbench_tellers", "tid"), ("pgbench_branches", "bid"))


def measure(access: ServerAccess, *, rounds: int, scale: int) -> Finding:
    """Read the same tables in every way in turn; one more round comes first, so that all of them are in memory."""
    with connect(access, CONTROL_DATABASE, purpose="bench") as control:
        programs = find_programs(explicit=None, server_major=control.info.server_version // 10000)
    with scratch_database(access, "fingerprints") as database:
        rows = fill(access, database, programs, scale)
        with connect(access, database, purpose="bench") as connection:
            ways = _ways(connection)
            megabytes = sum(file.stat().st_size for file in _files(connection)) / 1_000_000
            seconds, processor = _measured(ways, Meter(access), rounds)
    return Finding(
        title=f"Fingerprints of {rows:,} rows",
        method=f"Tables of pgbench at scale {scale}, and documents: {megabytes:,.0f} MB, all in memory; {rounds}"
        " interleaved rounds, medians. The files are read by one process without looking at them: what no way of"
        " reading goes below. CPU: seconds of processor, of the server and all others involved.",
        headings=("how", "s", "min s", "max s", "rows/s", "CPU s", "ratio to count(*)"),
        rows=tuple(
            (
                name,
                *one.cells(".3f"),
                f"{rows / one.median:,.0f}",
                f"{processor[name].median:.2f}",
                f"{one.ratio_to(seconds[COUNTED]):.2f}",
            )
            for name, one in seconds.items()
        ),
        figures=tuple(_figures({name: _speeds(one, rows) for name, one in seconds.items()})),
        picture=Picture(
            title=f"Fingerprints of {rows:,} rows",
            unit="rows/s",
            bars=tuple(_speeds(one, rows).bar(name, is_ours=name in {OURS, AGAIN}) for name, one in seconds.items()),
            is_logarithmic=True,
        ),
        shows_not="tables that the disk has to be waited for, and rows of hundreds of columns.",
    )


def _ways(connection: Connection) -> dict[str, Callable[[], object]]:
    memory = RowMemory()
    memory.start(connection, digest_database(connection))
    return {
        FILES: partial(_read, connection),
        COUNTED: partial(_ask, connection, "SELECT count(*) FROM {table}"),
        COPIED: partial(_copy, connection),
        HASHED: partial(_ask, connection, "SELECT md5(string_agg(md5(t::text), '' ORDER BY {key})) FROM {table} t"),
        OURS: partial(digest_database, connection),
        AGAIN: partial(memory.digest, connection),
    }


def _measured(
    ways: Mapping[str, Callable[[], object]], meter: Meter, rounds: int
) -> tuple[dict[str, Taken], dict[str, Taken]]:
    """Seconds by the clock and of processors."""
    processor: dict[str, list[float]] = {name: [] for name in ways}

    def once(name: str) -> float:
        meter.start()
        begun = time.perf_counter()
        ways[name]()
        seconds = time.perf_counter() - begun
        processor[name].append(meter.seconds())
        return seconds

    contenders = {name: partial(once, name) for name in ways}
    for warm in contenders.values():
        warm()
    taken = take_turns(contenders, rounds, form=".3f")
    return taken, {name: Taken(values=tuple(values[1:])) for name, values in processor.items()}


def _speeds(seconds: Taken, rows: int) -> Taken:
    return Taken(values=tuple(rows / one for one in seconds.values))


def _files(connection: Connection) -> list[Path]:
    names = [table for table, _ in _TABLES]
    query = """
        SELECT current_setting('data_directory') || '/' || pg_relation_filepath(c.oid)
        FROM pg_class c WHERE c.oid = ANY (%s::regclass[]::oid[])
           OR c.oid IN (SELECT reltoastrelid FROM pg_class WHERE oid = ANY (%s::regclass[]::oid[]))
    """
    return [Path(name) for (name,) in connection.execute(query, (names, names))]


def _read(connection: Connection) -> None:
    for file in _files(connection):
        with file.open("rb", buffering=0) as opened:
            while opened.read(_BLOCK):
                """Only that it was read counts."""


def _ask(connection: Connection, query: LiteralString) -> None:
    for table, key in _TABLES:
        connection.execute(sql.SQL(query).format(table=sql.Identifier(table), key=sql.Identifier(key))).fetchone()


def _copy(connection: Connection) -> None:
    for table, _ in _TABLES:
        with connection.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(table))) as copy:
            for _block in copy:
                """Thrown away."""


def _figures(speeds: Mapping[str, Taken]) -> Iterator[Figure]:
    for peer, why in _WHY.items():
        yield speeds[OURS].figure(
            "fingerprints", "rows/s", peer=speeds[peer], peer_name=peer, more_is_better=True, why=why
        )
    yield speeds[AGAIN].figure("fingerprints of what did not change", "rows/s", more_is_better=True)
