"""Many small databases on one server, made and removed fast: what a fleet's benchmarks work on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from psycopg import sql

from squizzle.postgres.access import CONTROL_DATABASE, Connection, ServerAccess, connect
from squizzle.postgres.sql_files import load_sql
from squizzle.rollout.records import Fleet, FleetTarget
from squizzle.settings.fleets import FleetServer

SERVER = "bench"
BARE_HISTORY = "bare_history"
_TEMPLATE = "fleet_template"
_AT_A_TIME = 2


@contextmanager
def many_databases(access: ServerAccess, count: int) -> Iterator[tuple[str, ...]]:
    """So many databases with one small table and the bare pool's history; removed afterwards.

    They are made without fsync, which is on again while anything is measured: 7 MB each would be most of the time.
    """
    names = tuple(f"fleet_{number:05}" for number in range(count))
    with _without_fsync(access) as control:
        _drop(control, (_TEMPLATE,))
        control.execute(_create(_TEMPLATE, "template0"))
        with connect(access, _TEMPLATE, purpose="bench") as session:
            session.execute("CREATE TABLE goods (id int PRIMARY KEY, name text)")
            session.execute("INSERT INTO goods SELECT n, 'good ' || n FROM generate_series(1, 100) n")
            session.execute(
                sql.SQL(load_sql("squizzle.migrations", "history_table")).format(history=sql.Identifier(BARE_HISTORY))
            )
        each(names, lambda name: _make(access, name))
        control.execute("CHECKPOINT")
    try:
        yield names
    finally:
        with _without_fsync(access) as control:
            _drop(control, (*names, _TEMPLATE))


def fleet_of(access: ServerAccess, databases: Sequence[str]) -> Fleet:
    """The databases as a fleet."""
    return Fleet(
        name="bench",
        environment="testing",
        servers={SERVER: FleetServer(name=SERVER, url=url_of(access))},
        targets=tuple(FleetTarget(name=f"{SERVER}/{one}", server=SERVER, database=one) for one in databases),
    )


def url_of(access: ServerAccess) -> str:
    """Where the server is, as squizzle.toml has it."""
    return f"postgresql://{access.user}@/{CONTROL_DATABASE}?host={quote(access.host, safe='')}&port={access.port}"


def write_versions(folder: Path, numbers: Sequence[int]) -> None:
    """A migration each: one column more."""
    for number in numbers:
        version = folder / f"{number:04}_column"
        version.mkdir(parents=True)
        (version / "up.sql").write_text(f"{statement(number)};\n", encoding="utf-8")
        (version / "down.sql").write_text(f"ALTER TABLE goods DROP COLUMN c_{number}", encoding="utf-8")


def statement(number: int) -> str:
    """What version `number` does."""
    return f"ALTER TABLE goods ADD COLUMN c_{number} int"


def each(names: Sequence[str], work: Callable[[str], None], *, at_a_time: int = _AT_A_TIME) -> None:
    """Do it for every name, some at the same time."""
    with ThreadPoolExecutor(at_a_time) as pool:
        for _ in pool.map(work, names):
            """What it raised is raised here."""


@contextmanager
def _without_fsync(access: ServerAccess) -> Iterator[Connection]:
    with connect(access, CONTROL_DATABASE, purpose="bench") as control:
        control.execute("ALTER SYSTEM SET fsync = off")
        control.execute("SELECT pg_reload_conf()")
        try:
            yield control
        finally:
            control.execute("ALTER SYSTEM RESET fsync")
            control.execute("SELECT pg_reload_conf()")
            # What was written meanwhile is the disk's now, not the measurement's.
            control.execute("CHECKPOINT")


def _make(access: ServerAccess, name: str) -> None:
    with connect(access, CONTROL_DATABASE, purpose="bench") as control:
        control.execute(_create(name, _TEMPLATE))


def _create(name: str, template: str) -> sql.Composed:
    # WAL_LOG, the default, would write each page of the template into the log, too.
    return sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
        sql.Identifier(name), sql.Identifier(template)
    )


def _drop(control: Connection, names: Sequence[str]) -> None:
    for name in names:
        control.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
