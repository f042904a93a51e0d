"""kill -9 at every statement of a recovery: there is always one database of the name, and the next run ends as promised.

Killed are we, pg_restore and PostgreSQL: before a statement arrives, while it is carried out, and when its answer is under
way. `make chaos` kills at each one, at one moment of it that the seed chooses, so that three seeds reach every moment;
otherwise at some of those that take a restore or a start of the server.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from squizzle.backups.change_log.switching import enable
from squizzle.backups.dump import take_dump
from squizzle.backups.folder_store import FolderStore
from squizzle.postgres.access import Connection, connect
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import ClientPrograms, find_programs
from squizzle.recovery.fence import is_fenced, unfence
from squizzle.recovery.prepared_copy import copy_name, list_copies, make_copy
from tests.support.halfway import Asker, Halfway, Moment
from tests.support.killed import Ended, Mortal, kill, mortal
from tests.support.names import databases
from tests.support.own_server import Server, own_server
from tests.support.processes import is_alive, wait_until
from tests.support.scratch import drop_databases
from tests.support.tally import Kind, dice, note_strike

WHOM = {"us": "the run itself", "program": "client program", "server": "PostgreSQL"}
CHAOS = pytest.param(0, marks=pytest.mark.chaos, id="every statement")
NOW = datetime(2027, 1, 31, 2, tzinfo=UTC)
FILL = """
    CREATE TABLE account (id serial PRIMARY KEY, owner text);
    INSERT INTO account (owner) SELECT 'o' || n FROM generate_series(1, 300) n
"""
WHOLE = (300, "o100")
DISASTER = "DELETE FROM account WHERE id > 100; UPDATE account SET owner = 'nobody'"
LOOK = "SELECT count(*), max(owner) FILTER (WHERE id = 100) FROM account"


@pytest.fixture(scope="module")
def temp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What TMPDIR is for those who are killed."""
    return tmp_path_factory.mktemp("temp")


@pytest.fixture(scope="module")
def work(temp: Path) -> Iterator[Mortal]:
    with mortal("tests.support.recovery_work", temp) as running:
        yield running


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with own_server("recovery") as running:
        yield running


@pytest.fixture
def shop(server: Server) -> Iterator[str]:
    """A whole database; everything that is called like it goes afterwards."""
    with control_of(server) as control:
        drop_databases(control, "shop")
        control.execute("CREATE DATABASE shop STRATEGY file_copy")
    with connect(server.access, "shop", purpose="test") as session:
        session.execute(FILL.encode())
    yield "shop"
    with control_of(server) as control:
        drop_databases(control, "shop")


@contextmanager
def control_of(server: Server) -> Iterator[Connection]:
    with connect(server.access, "postgres", purpose="test control") as control:
        yield control


@dataclass
class Kill:
    """One that happened, or did not: the run was over before.

    Attributes:
        at: Which statement, from 1.
        statement: Its text.
        ended: What became of the run.
    """

    at: int
    ended: Ended
    statement: str = ""


@dataclass
class Killer:
    """Runs a piece of work, and kills somebody at a statement of it.

    Args:
        work: The process that forks runs.
        server: Whose statements.
        way: A folder for the go-between's socket.
        programs: Count the statements of client programs, not ours.
        among: Count only those with this in them.
    """

    work: Mortal
    server: Server
    way: Path
    programs: bool = False
    among: str = ""
    kills: list[Kill] = field(default_factory=list)

    def run(self, work: str, at: int, moment: Moment, whom: str, **given: object) -> Kill:
        """One run, in which somebody is killed at a statement: `us`, `program` or `server`."""
        numbers = count(1)
        seen: list[str] = []

        def stops_at(statement: str, _parameters: bytes) -> bool:
            if halfway.asker.is_program is not self.programs or self.among not in statement or next(numbers) != at:
                return False
            seen.append(statement)
            return True

        def on_stop(asker: Asker) -> None:
            if whom == "server":
                kill(self.server.address.pid)
                halfway.hang_up()
            else:
                os.kill(asker.pid, signal.SIGKILL)

        cell = f"{moment} statement {at}"
        self.way.mkdir(exist_ok=True)
        access = self.server.access
        halfway = Halfway(self.way, Path(access.host) / f".s.PGSQL.{access.port}", stops_at, moment, on_stop)
        with halfway:
            through = {**self.server.given, "host": str(self.way)}
            ended = self.work.run(work, cell=cell, server_access=through, **given)
            halfway.hang_up()
        if whom == "server" and seen:
            wait_until(lambda: not is_alive(self.server.address.pid), "the server is gone")
            self.server.start()
        found = Kill(at, ended, *seen)
        if seen:
            self.kills.append(found)
            if not ended.was_killed:  # otherwise it is counted already
                note_strike(Kind.KILL, work, WHOM[whom], cell=cell)
            wait_until(self._is_forgotten, "the server has noticed")
        return found

    def _is_forgotten(self) -> bool:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name ~ '^squizzle' AND pid <> pg_backend_pid()"
        with connect(self.server.access, "postgres", purpose="look") as session:
            return session.execute(query).fetchone() == (0,)

    def everywhere(
        self,
        run: Callable[[int, Moment], Kill],
        after: Callable[[Kill], None],
        *,
        first: int = 1,
        every: int = 1,
    ) -> None:
        """Kill one run after the other, each some statements later, until one comes to its end by itself.

        Args:
            run: One run, to be killed at this statement and moment.
            after: What has to be so afterwards.
            first: The first statement.
            every: How many statements later; 0: each, and the seed chooses with which moment it begins.
        """
        at, done = first, False
        turn = 0 if every else dice("moments").randrange(3)
        while not done:
            # A kill before one statement is one behind the statement before it: in turn, every boundary is met.
            found = run(at, list(Moment)[(len(self.kills) + turn) % 3])
            done = not found.statement
            if done:
                assert found.ended.code == 0, found.ended.said
                break
            after(found)
            at += max(1, every)


@pytest.fixture
def killer(work: Mortal, server: Server, tmp_path: Path) -> Killer:
    return Killer(work, server, tmp_path / "way")


def look_into(server: Server, database: str) -> object:
    with connect(server.access, database, purpose="look") as session:
        return session.execute(LOOK.encode()).fetchone()


def rename(control: Connection, old: str, new: str) -> None:
    control.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new)))


def as_before(control: Connection, database: str) -> None:
    """What was kept is nothing to keep any more, and open."""
    control.execute(sql.SQL("COMMENT ON DATABASE {} IS NULL").format(sql.Identifier(database)))
    unfence(control, database)


def nothing_is_left(server: Server, temp: Path) -> None:
    """No database of a restore, no lock, no file, no session."""
    with control_of(server) as control:
        marked = "SELECT datname FROM pg_database WHERE shobj_description(oid, 'pg_database') LIKE 'squizzle: being%'"
        assert control.execute(marked.encode()).fetchall() == []
        locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        # Who has closed its session holds them until the server has noticed.
        wait_until(lambda: control.execute(locks).fetchone() == (0,), "no lock is held")
    assert list(temp.iterdir()) == []


def assert_told(found: Kill, whom: str) -> None:
    """We were killed; or we tell that somebody else was, unless he had done his part, in words of ours."""
    assert found.ended.was_killed if whom == "us" else found.ended.code == 0 or found.ended.said, found


# --- a prepared copy takes the place of the damaged database ----------------------------------------------------------


@pytest.mark.parametrize(
    ("whom", "every"),
    [
        pytest.param("us", 5, id="us, at every fifth statement"),
        pytest.param("us", 0, marks=pytest.mark.chaos, id="us, at every statement"),
        pytest.param("server", 9, id="server, at some statements"),
        pytest.param("server", 0, marks=pytest.mark.chaos, id="server, at every statement"),
    ],
)
def test_a_switch_over_killed_at_any_statement_leaves_one_database_of_the_name_and_is_finished_by_the_next(
    killer: Killer, server: Server, shop: str, temp: Path, whom: str, every: int
) -> None:
    copy, kept = make_copy(server.access, shop, now=NOW).copy.name, f"{shop}__old"
    with connect(server.access, shop, purpose="disaster") as session:
        session.execute(DISASTER.encode())
    given = {"database": shop, "copy": copy, "keep_as": kept}
    before, after = {shop, copy}, {shop, kept}

    def finish(found: Kill) -> None:
        assert_told(found, whom)
        with control_of(server) as control:
            assert databases(control, shop) in (before, after), found
            ended = killer.work.run("swap", server_access=server.given, **given)
            assert ended.code == 0, (found, ended)
            assert databases(control, shop) == after, found
            assert look_into(server, shop) == WHOLE, found
            assert is_fenced(control, kept)
            nothing_is_left(server, temp)
            put_back(control)

    def put_back(control: Connection) -> None:
        drop_sessions = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
        control.execute(drop_sessions, (shop,))
        rename(control, shop, copy)
        rename(control, kept, shop)
        as_before(control, shop)

    killer.everywhere(
        lambda at, moment: killer.run("swap", at, moment, whom, **given),
        finish,
        every=every,
    )

    assert len(killer.kills) >= {9: 4, 5: 7, 0: 35}[every], killer.kills


@pytest.mark.parametrize("whom", ["us", "server"])
@pytest.mark.parametrize("every", [pytest.param(5, id="some statements"), CHAOS])
def test_a_copy_killed_at_any_statement_lets_clients_in_and_is_dropped_by_the_next(
    killer: Killer, server: Server, shop: str, temp: Path, whom: str, every: int
) -> None:
    hours = count()

    def make(at: int, moment: Moment) -> Kill:
        return killer.run("copy", at, moment, whom, database=shop, now=later())

    def later() -> str:
        return (NOW + timedelta(hours=next(hours))).isoformat()

    def look(found: Kill) -> None:
        with control_of(server) as control:
            assert_told(found, whom)
            assert look_into(server, shop) == WHOLE, found
            # One that is whole is a copy to keep; anything else goes with the next.
            whole = {one.name for one in list_copies(control, shop)}
            now = later()
            ended = killer.work.run("copy", server_access=server.given, database=shop, now=now)
            assert ended.code == 0, (found, ended)
            made = copy_name(shop, datetime.fromisoformat(now))
            assert databases(control, shop) == {shop, made, *whole}, found
            assert not is_fenced(control, shop)
            assert is_fenced(control, made)
            nothing_is_left(server, temp)
            drop_databases(control, f"{shop}__copy")

    # The copy is open for us at this moment, and not whole yet; the first one makes it.
    killer.among = "ALLOW_CONNECTIONS false"
    look(make(2, Moment.BEFORE))
    killer.among = ""
    killer.everywhere(make, look, every=every)

    assert len(killer.kills) >= 4, killer.kills


# --- a backup is restored beside, and takes the place ------------------------------------------------------------------


@pytest.fixture(scope="module")
def programs(server: Server) -> ClientPrograms:
    return find_programs(explicit=None, server_major=server.cluster.runtime.major)


@pytest.fixture
def order(server: Server, shop: str, programs: ClientPrograms, tmp_path: Path) -> dict[str, Any]:
    """What is restored, as the process that is killed is told of it."""
    backup = take_dump(server.access, shop, FolderStore(tmp_path / "store"), programs, backup_id="b1")
    return {
        "store": str(tmp_path / "store"),
        "backup": backup.id,
        "programs": {**asdict(programs), "folder": str(programs.folder)},
        "into": f"{shop}_r",
        "database": shop,
    }


@pytest.mark.parametrize(
    ("whom", "first", "every"),
    [
        ("us", 6, 18),
        ("program", 5, 25),
        ("server", 6, 12),
        pytest.param("us", 1, 0, marks=pytest.mark.chaos),
        pytest.param("program", 1, 0, marks=pytest.mark.chaos),
        pytest.param("server", 1, 0, marks=pytest.mark.chaos),
    ],
)
def test_a_restore_killed_at_any_statement_leaves_one_database_of_the_name_and_the_next_takes_its_place(
    killer: Killer, server: Server, order: dict[str, Any], temp: Path, whom: str, first: int, every: int
) -> None:
    shop, into = order["database"], order["into"]
    kept = f"{shop}__old"
    killer.programs = whom == "program"
    with connect(server.access, shop, purpose="disaster") as session:
        session.execute(DISASTER.encode())
    damaged = look_into(server, shop)

    def finish(found: Kill) -> None:
        assert_told(found, whom)
        with control_of(server) as control:
            swapped = kept in databases(control, shop)
            assert databases(control, shop) - {into} == ({shop, kept} if swapped else {shop}), found
            if not swapped and not is_fenced(control, shop):
                assert look_into(server, shop) == damaged, found
            ended = killer.work.run("restore", server_access=server.given, keep_as=f"{kept}_2", **order)
            assert ended.code == 0, (found, ended)
            assert databases(control, shop) == {shop, f"{kept}_2", *([kept] if swapped else [])}, found
            assert look_into(server, shop) == WHOLE, found
            assert is_fenced(control, f"{kept}_2")
            nothing_is_left(server, temp)
            put_back(control, kept if swapped else f"{kept}_2")

    def put_back(control: Connection, name: str) -> None:
        """The damaged one gets its name again."""
        control.execute("DROP DATABASE shop WITH (FORCE)")
        rename(control, name, shop)
        drop_databases(control, kept)
        as_before(control, shop)

    killer.everywhere(
        lambda at, moment: killer.run("restore", at, moment, whom, keep_as=kept, **order),
        finish,
        first=first,
        every=every,
    )

    assert len(killer.kills) >= 3, killer.kills


# --- undo ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whom", ["us", "server"])
@pytest.mark.parametrize("every", [pytest.param(7, id="some statements"), CHAOS])
def test_an_undo_killed_at_any_statement_has_done_all_or_nothing_and_the_next_one_does_the_rest(
    killer: Killer, server: Server, shop: str, temp: Path, whom: str, every: int
) -> None:
    with connect(server.access, shop, purpose="test") as session:
        enable(session, Target(database=shop), (("public", "account"),), on_wait=lambda _text: None)
    given = {"database": shop}

    def disaster() -> None:
        with connect(server.access, shop, purpose="disaster") as session:
            row = session.execute("SELECT clock_timestamp()").fetchone()
            given["since"] = row[0].isoformat() if row else ""
            session.execute(f"BEGIN; {DISASTER}; COMMIT".encode())

    def finish(found: Kill) -> None:
        assert_told(found, whom)
        assert look_into(server, shop) in {WHOLE, damaged}, found
        ended = killer.work.run("undo", server_access=server.given, **given)
        assert ended.code == 0, (found, ended)
        assert look_into(server, shop) == WHOLE, found
        nothing_is_left(server, temp)
        disaster()

    disaster()
    damaged = look_into(server, shop)
    killer.everywhere(lambda at, moment: killer.run("undo", at, moment, whom, **given), finish, every=every)

    assert len(killer.kills) >= 4, killer.kills
