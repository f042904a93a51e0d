"""One bit changed in a table of our own on the server's disk: whoever reads it is told, and nothing is made of it.

PostgreSQL sees it by the checksums of its pages; here it has to reach people as an error of ours, whatever the verb. Read
is from the disk: what is in the server's memory is thrown out before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import psycopg
import pytest

from squizzle.alerts.ledger import add_silence, prepare, read_silences
from squizzle.backups.change_log.changes import changes_since
from squizzle.backups.change_log.reading import coverage
from squizzle.backups.change_log.switching import enable
from squizzle.cli.main import run
from squizzle.incidents.ledger import make_tables, note_event, open_incident, read_incident
from squizzle.incidents.records import EventKind
from squizzle.migrations.history import read_history
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.decisions import Answer, Question, find_answers, record_decision
from squizzle.postgres.identity import Target, read_identity
from squizzle.postgres.translation import translate_error
from squizzle.recovery.fences.book import FenceBook, Page
from squizzle.recovery.fences.records import Hold
from squizzle.recovery.salvage.keeping import take_salvage
from squizzle.recovery.salvage.merging import merge_rows
from squizzle.recovery.undo.records import UndoRequest
from squizzle.recovery.undo.undo import plan_undo
from squizzle.rollout.ledger import RolloutRow, begin_rollout, find_rollout
from squizzle.rollout.records import PlannedVersion
from squizzle.sweep.ledger import SweepNote, read_note, write_note
from tests.integration.cli.conftest import url_of
from tests.support.flips import Artefact, flip_everywhere
from tests.support.own_server import Server, own_server
from tests.support.tally import dice

pytestmark = pytest.mark.chaos

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TARGET = Target(database="shop")
QUESTION = Question(gate="test", title="a test", plan="# a plan", facts=("a", "b"), valid_for=timedelta(days=999))
UP = """-- squizzle: save_rows
UPDATE goods SET price = price * 2 WHERE id % 2 = 0;
-- squizzle: save_rows
DELETE FROM goods WHERE id % 3 = 0;
"""


@dataclass(frozen=True)
class World:
    """A server whose databases `shop` and `shop_old` have something in each table of ours."""

    server: Server
    way_back: str
    salvage: str
    incident: str

    @contextmanager
    def session(self, database: str = "shop") -> Iterator[Connection]:
        with connect(self.server.access, database, purpose="test") as session:
            yield session

    def files_of(self, pattern: str, database: str = "shop") -> tuple[Path, ...]:
        """Of every table and index whose name is like that."""
        with self.session(database) as session:
            rows = session.execute(
                "SELECT current_setting('data_directory'), pg_relation_filepath(c.oid) FROM pg_class c"
                " WHERE relkind IN ('r', 'i', 't') AND (c.oid::regclass::text LIKE %s OR c.oid IN (SELECT reltoastrelid"
                " FROM pg_class t WHERE t.oid::regclass::text LIKE %s)) ORDER BY 2",
                (pattern, pattern),
            ).fetchall()
        files = [Path(folder) / path for folder, path in rows]
        return tuple(one for one in files if one.stat().st_size)

    def from_disk(self, read: Callable[[Connection], object], database: str = "shop") -> Callable[[], object]:
        """The same with nothing in the server's memory, before and afterwards."""

        def found() -> object:
            with self.session("postgres") as control, self.session(database) as session:
                self._forget(control)
                try:
                    return read(session)
                finally:
                    self._forget(control)

        return found

    @staticmethod
    def _forget(control: Connection) -> None:
        control.execute("CHECKPOINT")
        control.execute("SELECT pg_buffercache_evict_all()")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with own_server("flips-in-tables") as server:
        access = server.access
        with connect(access, "postgres", purpose="test") as control:
            control.execute("CREATE EXTENSION pg_buffercache")
            control.execute("CREATE DATABASE shop")
            assert control.execute("SHOW data_checksums").fetchone() == ("on",)
        way_back = _migrated(access, tmp_path_factory.mktemp("flips-in-tables"))
        with connect(access, "postgres", purpose="test") as control:
            control.execute("CREATE DATABASE shop_old TEMPLATE shop")
            FenceBook(control).write(
                "database shop", Page(found="open", holds=(Hold(holder="a", by="b", reason="c", run="", at=NOW),))
            )
        with connect(access, "shop_old", purpose="test") as old:
            old.execute("INSERT INTO goods SELECT n, n FROM generate_series(1001, 1100) n")
        take_salvage(access, "shop_old", "shop", salvage_id="s1", backup_id="b1", now=NOW)
        with connect(access, "shop", purpose="test") as session:
            incident = _noted(session)
            session.execute("VACUUM (FREEZE)")
        yield World(server, way_back, "s1", incident)


def _migrated(access: ServerAccess, folder: Path) -> str:
    """Apply a version that saves rows, log what comes after it, and give its way back."""
    (folder / "0001_goods").mkdir(parents=True)
    (folder / "0001_goods" / "up.sql").write_text(
        "CREATE TABLE goods (id int PRIMARY KEY, price int); INSERT INTO goods SELECT n, n FROM generate_series(1, 300) n"
    )
    (folder / "0002_dearer").mkdir()
    (folder / "0002_dearer" / "up.sql").write_text(UP)
    settings = folder.with_suffix(".toml")
    settings.write_text(f'[project]\nmigrations = "{folder}"\n')
    where = ["--config", str(settings), "--url", url_of(access, "shop")]
    assert run(["apply", "--all", *where]) == 0
    say = StringIO()
    with redirect_stdout(say):
        assert run(["generate-rollback", "0002", "--json", "--scratch", url_of(access, "postgres"), *where]) == 0
    with connect(access, "shop", purpose="test") as session:
        enable(session, TARGET, (("public", "goods"),), on_wait=print)
        session.execute("UPDATE goods SET price = price + 1 WHERE id < 100")
    way_back: str = json.loads(say.getvalue())["sql"]
    return way_back


def _noted(session: Connection) -> str:
    record_decision(session, QUESTION, Answer.APPROVE, decided_by="ann", comment="why not", run="a run")
    make_tables(session)
    incident = open_incident(session, "shops", "one/shop", cause="a test", by="ann")
    note_event(session, incident, EventKind.CLOSED, "looked at", by="ann")
    version = PlannedVersion(version="0003", checksum="c" * 64)
    begin_rollout(
        session,
        RolloutRow(
            id="r1", fleet="shops", versions=(version,), stage_of={"one/shop": "all"}, started_at=NOW, started_by="ann"
        ),
    )
    note = SweepNote(
        at=NOW, duration=timedelta(seconds=1), healthy=1, unhealthy=2, unreachable=3, servers_unreachable=4, pending=5,
        failed=6,
    )  # fmt: skip
    write_note(session, "shops", note)
    prepare(session, "shops")
    add_silence(session, "shops", rule="*", target="*", length=timedelta(days=9), reason="a test", by="ann")
    return incident.id


def told(*artefacts: Artefact) -> list[str]:
    return [one for artefact in artefacts for one in flip_everywhere(artefact, dice(artefact.name))]


def test_a_changed_bit_in_what_a_recovery_goes_by_is_told(world: World) -> None:
    with world.session() as session:
        # Behind the moment at which logging began.
        since = coverage(session)[0].since + timedelta(milliseconds=1)
    request = UndoRequest(tables=(("public", "goods"),), since=since)

    def undo(session: Connection) -> object:
        found = plan_undo(session, TARGET, request)
        return found.digest, found.changes, found.conflict_count

    def way_back(session: Connection) -> object:
        try:
            with session.transaction(force_rollback=True):
                session.execute("UPDATE goods SET price = price - 1 WHERE id < 100")  # what was written since
                session.execute(world.way_back.encode())
                return session.execute("SELECT * FROM goods ORDER BY id").fetchall()
        except psycopg.Error as exc:
            raise translate_error(exc, doing="take 0002 back") from exc

    shelves = {
        "the history": ("squizzle_history%", lambda session: (read_history(session, "public"), read_identity(session))),
        "identities": ("squizzle.identity%", read_identity),
        "the change log": ("squizzle_log.%", lambda session: (list(_logged(session, since)), undo(session))),
        "saved rows": ("squizzle_undo.%", way_back),
        "salvaged rows": (
            "squizzle_salvage.%",
            lambda session: merge_rows(session, world.salvage, dry_run=True),
        ),
    }

    assert [
        f"{name}: {one}"
        for name, (pattern, read) in shelves.items()
        for one in told(Artefact(f"table: {name}", world.files_of(pattern), world.from_disk(read), 60))
    ] == []


def _logged(session: Connection, since: datetime) -> Iterator[object]:
    yield coverage(session)
    yield from changes_since(session, ("public", "goods"), since)


def test_a_changed_bit_in_what_is_decided_by_is_told(world: World) -> None:
    shelves = {
        "decisions": ("squizzle.decision%", lambda session: find_answers(session, QUESTION)),
        "rollouts": ("squizzle.rollout%", lambda session: find_rollout(session, "shops")),
        "incidents": ("squizzle.incident%", lambda session: read_incident(session, "shops", world.incident)),
        "silences": ("squizzle.silence%", lambda session: read_silences(session, "shops")),
        "sweeps": ("squizzle.sweep%", lambda session: read_note(session, "shops")),
    }
    artefacts = [
        Artefact(f"table: {name}", world.files_of(pattern), world.from_disk(read), 40)
        for name, (pattern, read) in shelves.items()
    ]
    fences = world.from_disk(lambda control: FenceBook(control).read("database shop"), "postgres")
    files = world.files_of("squizzle.fence%", "postgres")
    assert told(*artefacts, Artefact("table: fences", files, fences, 40)) == []
