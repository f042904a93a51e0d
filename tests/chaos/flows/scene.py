"""What every scene of the kill matrix has: small databases before a piece of work, and what is promised behind it."""

from __future__ import annotations

import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from psycopg import sql

from blocks import BackupFolder
from squizzle.backups.catalogue import verify_files
from squizzle.backups.dump import DumpOptions
from squizzle.backups.order import Order
from squizzle.backups.records import BackupKind
from squizzle.backups.taking import take_backup
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import find_programs
from squizzle.proof.digests import digest_database
from squizzle.proof.records import DatabaseDigest
from squizzle.recovery.fence import is_fenced, session_through_fence
from tests.chaos.flows.conftest import Place
from tests.chaos.invariants import left_in, nothing_left, one_of_the_name, rows_as_promised
from tests.support.ears import HttpEar, http_ear
from tests.support.names import databases
from tests.support.scratch import drop_databases, drop_roles

FILL = """
    CREATE TABLE account (id serial PRIMARY KEY, owner text NOT NULL);
    INSERT INTO account (owner) SELECT 'o' || n FROM generate_series(1, 300) n;
    CREATE TABLE payment (id int PRIMARY KEY, account int REFERENCES account, cents int);
    INSERT INTO payment SELECT n, 1 + n % 300, n FROM generate_series(1, 500) n
"""
DISASTER = "DELETE FROM payment; UPDATE account SET owner = 'nobody'"


class Scene(ABC):
    """One flow, what it works on, and what is promised.

    Args:
        place: The server.
        folder: For files.
        temp: The temporary folder of those who are killed.
    """

    name: ClassVar[str]
    flow: ClassVar[str]
    deployments: ClassVar[tuple[str, ...]] = ()
    """Of prefect.yaml, that start this flow with parameters like these."""
    ends: ClassVar[str] = "COMPLETED"
    """The state of a run that is left alone."""
    share: ClassVar[float] = 1.0
    """How many places are chosen, beside others: fewer where a run takes long."""
    kept_open: ClassVar[bool] = True
    """Whether the database has to let clients in at any time, or may be fenced by a run that died."""

    def __init__(self, place: Place, folder: Path, temp: Path) -> None:
        self.place = place
        self.access = place.access
        self.folder = folder
        self.temp = temp
        self.database = f"m_{secrets.token_hex(3)}"
        self.parameters: dict[str, Any] = {}
        self.environment = {"SQUIZZLE_REPORTS": str(folder / "reports")}
        self.was_struck = False
        self.stack = ExitStack()

    @property
    def all(self) -> tuple[str, ...]:
        """The databases that are there before the flow."""
        return (self.database,)

    @abstractmethod
    def set_up(self) -> None:
        """Once: what the databases hold, and what lies beside them."""

    def prepare(self) -> None:  # noqa: B027 - nothing happens before some flows
        """Before each run, in fresh databases: what happens that the flow is for."""

    def forget(self) -> None:  # noqa: B027 - most have nothing
        """Before each run: end what the scene itself began."""

    @contextmanager
    def meanwhile(self) -> Iterator[None]:
        """Around each run: what others do at that time."""
        yield

    def start_again(self, play: Callable[[], object]) -> None:
        """What a person does behind a kill: start the same again."""
        play()

    def standing(self) -> list[str]:
        """What is broken right after somebody was killed."""
        return one_of_the_name(self.access, self.database, may_be_shut=not self.kept_open)

    @abstractmethod
    def promised(self) -> list[str]:
        """What is broken when the flow was started again and has ended."""

    # What all of them do

    def begin(self) -> None:
        """Make the databases, fill them, and keep copies of them."""
        with connect(self.access, "postgres", purpose="test") as control:
            for name in self.all:
                control.execute(sql.SQL("CREATE DATABASE {} STRATEGY file_copy").format(sql.Identifier(name)))
            self.set_up()
            for name in self.all:
                self._copy(control, name, f"kept_{name}")

    def anew(self) -> None:
        """Put everything back to where it was, and let happen what happens."""
        self.was_struck = False
        self.forget()
        with connect(self.access, "postgres", purpose="test") as control:
            drop_databases(control, self.database)
            drop_databases(control, "squizzle_drill")
            drop_roles(control, "squizzle_drill")
            for name in self.all:
                self._copy(control, f"kept_{name}", name)
        for left in left_in(self.temp):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        self.prepare()

    def end(self) -> None:
        """Remove the databases, and end what was begun for the scene."""
        self.forget()
        self.stack.close()
        with connect(self.access, "postgres", purpose="test") as control:
            drop_databases(control, self.database)
            drop_databases(control, f"kept_{self.database}")
            drop_roles(control, self.database)

    def _copy(self, control: Connection, old: str, new: str) -> None:
        names = (sql.Identifier(new), sql.Identifier(old))
        control.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(*names))

    def session(self, name: str = "") -> Connection:
        return connect(self.access, name or self.database, purpose="test")

    def run_sql(self, text: str, name: str = "") -> None:
        with self.session(name) as session:
            session.execute(text.encode())

    def digest(self, name: str = "") -> DatabaseDigest:
        with session_through_fence(self.access, name or self.database, purpose="look") as session:
            return digest_database(session)

    def nothing_left(self, *more: str) -> list[str]:
        return nothing_left(self.access, expected={*self.all, *more}, prefix=self.database, temp=self.temp)

    def store(self) -> str:
        """A saved block of a folder for backups."""
        self.backups = BackupFolder(path=self.folder / "backups")
        name = f"store-{secrets.token_hex(4)}"
        self.backups.save(name)
        return f"block:backup-folder/{name}"

    def take_backup(
        self, database: str = "", kind: BackupKind = BackupKind.FULL, access: ServerAccess | None = None
    ) -> None:
        """A backup that was verified; of this scene's database on its server unless another is named."""
        store = self.backups.open()
        order = Order(
            access=access or self.access,
            target=Target(database=database or self.database),
            store=store,
            kind=kind,
            programs=find_programs(explicit=None, server_major=self.place.server.cluster.runtime.major),
            options=DumpOptions(),
        )
        verify_files(store, take_backup(order, suffix=secrets.token_hex(3)), by="ann")

    def migrations(self, *scripts: tuple[str, str]) -> Path:
        folder = self.folder / "migrations"
        for number, (up, down) in enumerate(scripts, 1):
            place = folder / f"{number:04}_change"
            place.mkdir(parents=True)
            (place / "up.sql").write_text(up, encoding="utf-8")
            (place / "down.sql").write_text(down, encoding="utf-8")
        return folder


HOOK = "SCENE_HOOK"
"""The variable with the address of whoever is told."""


def write_fleet(scene: Scene, more: str, *, settings: str = "") -> Path:
    """The file that names a fleet of the scene's databases.

    Args:
        scene: Whose.
        more: What else stands in the fleet's section.
        settings: What else stands before it.
    """
    host = quote(scene.access.host, safe="")
    text = f"""
{settings}
[notify.channels.hook]
kind = "webhook"
url_env = "{HOOK}"
[fleets.town]
environment = "testing"
deadline = "10s"
{more}
[fleets.town.servers.one]
url = "postgresql://{scene.access.user}@/postgres?host={host}&port={scene.access.port}"
free_bytes_query = "SELECT 10::bigint ^ 12"
[fleets.town.databases]
like = "{scene.database}%"
"""
    path = scene.folder / "squizzle.toml"
    path.write_text(text, encoding="utf-8")
    return path


def ear_of(scene: Scene) -> HttpEar:
    """Somebody who is told by the fleet's channel until the scene ends."""
    ear = scene.stack.enter_context(http_ear())
    scene.environment[HOOK] = ear.url
    return ear


def told_wrongly(scene: Scene, what: str, times: int) -> list[str]:
    """Of each thing people are told once; of one at which somebody was killed perhaps twice; and never not at all."""
    most = 2 if scene.was_struck else 1
    return [] if 1 <= times <= most else [f"people were told {times} times: {what}"]


def one_of_the_name_and_rows(scene: Scene, whole: DatabaseDigest) -> list[str]:
    """The database is open, with these rows."""
    return [
        *one_of_the_name(scene.access, scene.database, may_be_shut=False),
        *rows_as_promised(scene.access, scene.database, whole),
    ]


def lets_others_in(access: ServerAccess, name: str) -> bool:
    """Whether there is a database of the name that whoever has no part in the work may use: then it has to be whole."""
    query = "SELECT datallowconn AND has_database_privilege('pg_monitor', oid, 'CONNECT') FROM pg_database"
    with connect(access, "postgres", purpose="look") as control:
        return control.execute(f"{query} WHERE datname = %s".encode(), (name,)).fetchone() == (True,)


def kept_beside(scene: Scene) -> Sequence[str]:
    """The damaged databases that were put aside and kept on purpose: shut, each of them."""
    with connect(scene.access, "postgres", purpose="look") as control:
        beside = databases(control, scene.database) - {scene.database}
        return [name for name in beside if is_fenced(control, name) and not name.endswith("_r")]
