"""A project's whole history on an empty database: Squizzle, psql, dbmate and Alembic, the same statements for all."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from psycopg import sql

from bench import histories, peers
from bench.report import Finding, Picture
from bench.turns import Taken, take_turns
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.operations import apply_versions
from squizzle.postgres.access import CONTROL_DATABASE, ServerAccess, connect
from squizzle.postgres.identity import Target
from squizzle.proof.digests import digest_schema

BASELINE = "psql -1 -f, a process a file"
OURS, LIBRARY = "squizzle apply --all", "squizzle as a library"
_BOOKKEEPING = ("schema_migrations", "alembic_version")

_Contender = Callable[[str], None]
_Schema = frozenset[tuple[str, str, str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Projects:
    """The same history in every layout.

    Attributes:
        native: Squizzle's folder.
        scripts: Its up scripts in order.
        dbmate: The folder of dbmate.
        alembic: The `alembic.ini`.
        one_session: A psql script that includes every up script, each in a transaction of its own.
    """

    native: Path
    scripts: tuple[Path, ...]
    dbmate: Path
    alembic: Path
    one_session: Path


def write_projects(folder: Path, count: int) -> Projects:
    """Write a generated history of so many migrations in every layout."""
    steps = histories.make_history(count)
    scripts = histories.write_native(steps, folder / "native")
    histories.write_dbmate(steps, folder / "dbmate")
    one_session = folder / "one_session.sql"
    one_session.write_text("".join(f"BEGIN;\n\\i {script}\nCOMMIT;\n" for script in scripts), encoding="utf-8")
    return Projects(
        native=folder / "native",
        scripts=tuple(scripts),
        dbmate=folder / "dbmate",
        alembic=histories.write_alembic(steps, folder / "alembic"),
        one_session=one_session,
    )


def measure(access: ServerAccess, *, rounds: int, migrations: int) -> Finding:
    """Replay the history with every contender in turn, each time on a new database."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        contenders, missing = _contenders(access, write_projects(Path(folder), migrations))
        schemas: dict[str, _Schema] = {}
        taken = take_turns(
            {name: partial(_replay, access, name, contender, schemas) for name, contender in contenders.items()}, rounds
        )
    return Finding(
        title=f"Replay of {migrations} migrations",
        method=f"A generated history on an empty database; medians of {rounds} interleaved rounds. Every contender"
        " ended with the same schema, which was compared after every run.",
        headings=("contender", "median s", "min s", "max s", "ms a migration", "ratio"),
        rows=tuple(_rows(taken, migrations)),
        missing=missing,
        figures=tuple(
            taken[OURS].figure(OURS, "s", peer=one, peer_name=name, why=_WHY)
            for name, one in taken.items()
            if name not in {OURS, LIBRARY}
        ),
        picture=Picture(
            title=f"Replay of {migrations} migrations",
            unit="s",
            bars=tuple(one.bar(name, is_ours="squizzle" in name) for name, one in taken.items()),
        ),
        shows_not="migrations that take long by themselves: there all contenders wait for the server, and what each"
        " adds to a migration is lost in it.",
    )


_WHY = (
    "reads and splits every script, tells its locks, looks at those that it took, and writes a row before and after"
    " each migration"
)


def _contenders(access: ServerAccess, projects: Projects) -> tuple[dict[str, _Contender], tuple[str, ...]]:
    psql, squizzle = peers.find_psql(access), peers.find_squizzle()
    dbmate, alembic = peers.find_dbmate(), peers.find_alembic()
    all_files = [word for script in projects.scripts for word in ("-f", str(script))]

    def one_process_each(database: str) -> None:
        for script in projects.scripts:
            peers.run_psql(psql, access, database, ["-1", "-f", str(script)])

    found: dict[str, _Contender] = {
        BASELINE: one_process_each,
        "psql, one session, a transaction a file": lambda database: peers.run_psql(
            psql, access, database, ["-f", str(projects.one_session)]
        ),
        "psql -1 -f a -f b …, one transaction": lambda database: peers.run_psql(
            psql, access, database, ["-1", *all_files]
        ),
        OURS: lambda database: _discard(
            peers.run_squizzle(squizzle, access, database, projects.native, "apply", "--all")
        ),
        LIBRARY: lambda database: _in_process(access, database, projects.native),
    }
    if not dbmate.missing:
        found["dbmate up"] = lambda database: _discard(peers.run_dbmate(dbmate, access, database, projects.dbmate))
    if not alembic.missing:
        found["alembic upgrade head"] = lambda database: _discard(
            peers.run_alembic(alembic, access, database, projects.alembic, "upgrade", "head")
        )
    return found, tuple(peer.sentence() for peer in (dbmate, alembic) if peer.missing)


def _discard(_printed: str) -> None:
    """What the tool printed is not measured."""


def _in_process(access: ServerAccess, database: str, folder: Path) -> None:
    with connect(access, database, purpose="migration") as connection:
        apply_versions(connection, Target(database=database), read_migrations(folder))


def _replay(access: ServerAccess, name: str, contender: _Contender, schemas: dict[str, _Schema]) -> float:
    with scratch_database(access) as database:
        started = time.perf_counter()
        contender(database)
        taken = time.perf_counter() - started
        with connect(access, database, purpose="bench") as connection:
            objects = digest_schema(connection, schema="public").objects
    schemas[name] = frozenset(
        (one.kind, one.name, one.logical) for one in objects if not any(word in one.name for word in _BOOKKEEPING)
    )
    _refuse_different(schemas)
    return taken


@contextmanager
def scratch_database(access: ServerAccess, name: str = "replay") -> Iterator[str]:
    """A new database that is dropped afterwards; everything before it is on disk already."""
    with connect(access, CONTROL_DATABASE, purpose="bench") as control:
        control.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        control.execute("CHECKPOINT")
        try:
            yield name
        finally:
            control.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _refuse_different(schemas: Mapping[str, _Schema]) -> None:
    """All of them are what the first one is."""
    (first, expected), *others = schemas.items()
    for name, schema in others:
        if schema != expected:
            odd = sorted({f"{kind} {what}" for kind, what, _ in schema ^ expected})[:5]
            raise RuntimeError(f"{name} left another schema than {first}: {', '.join(odd)}")


def _rows(taken: Mapping[str, Taken], migrations: int) -> Iterator[tuple[str, ...]]:
    for name, one in taken.items():
        yield (name, *one.cells(), f"{one.median * 1000 / migrations:.2f}", f"{one.ratio_to(taken[BASELINE]):.2f}")
