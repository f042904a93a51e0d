"""What flows are killed in the middle of: small databases before a piece of work, and what is promised behind it."""

from __future__ import annotations

import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from psycopg import sql

from blocks import BackupFolder, CommandFence
from squizzle.backups.catalogue import verify_files
from squizzle.backups.change_log.switching import enable
from squizzle.backups.dump import take_dump
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.operations import apply_versions
from squizzle.postgres.access import Connection, connect
from squizzle.postgres.identity import ExpectedIdentity, Target
from squizzle.postgres.programs import find_programs
from squizzle.proof.digests import digest_database
from squizzle.proof.records import DatabaseDigest
from squizzle.recovery.fence import is_fenced, session_through_fence
from squizzle.recovery.undo.records import UndoRequest
from squizzle.recovery.undo.undo import plan_undo
from squizzle.rehearsal.certificate_store import check_certificates, read_certificates
from squizzle.rehearsal.records import CertificateVerdict
from tests.chaos.flows.conftest import Place
from tests.chaos.invariants import left_in, nothing_left, one_of_the_name, only_good_backups, rows_as_promised
from tests.support.names import databases
from tests.support.scratch import drop_databases

FILL = """
    CREATE TABLE account (id serial PRIMARY KEY, owner text NOT NULL);
    INSERT INTO account (owner) SELECT 'o' || n FROM generate_series(1, 300) n;
    CREATE TABLE payment (id int PRIMARY KEY, account int REFERENCES account, cents int);
    INSERT INTO payment SELECT n, 1 + n % 300, n FROM generate_series(1, 500) n
"""
DISASTER = "DELETE FROM payment; UPDATE account SET owner = 'nobody'"
PRICE = ("ALTER TABLE payment ADD COLUMN price int", "ALTER TABLE payment DROP COLUMN price")
INDEX = ("CREATE INDEX payment_price ON payment (price)", "DROP INDEX payment_price")


class Scene(ABC):
    """One flow, what it works on, and what is promised.

    Args:
        place: The server.
        folder: For files.
        temp: The temporary folder of those who are killed.
    """

    name: ClassVar[str]
    flow: ClassVar[str]
    kept_open: ClassVar[bool] = True
    """Whether the database has to let clients in at any time, or may be fenced by a run that died."""

    def __init__(self, place: Place, folder: Path, temp: Path) -> None:
        self.place = place
        self.access = place.access
        self.folder = folder
        self.temp = temp
        self.database = f"m_{secrets.token_hex(3)}"
        self.parameters: dict[str, Any] = {}

    @property
    def all(self) -> tuple[str, ...]:
        """The databases that are there before the flow."""
        return (self.database,)

    @abstractmethod
    def set_up(self) -> None:
        """Once: what the databases hold, and what lies beside them."""

    def prepare(self) -> None:  # noqa: B027 - nothing happens before some flows
        """Before each run, in fresh databases: what happens that the flow is for."""

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
        with connect(self.access, "postgres", purpose="test") as control:
            drop_databases(control, self.database)
            drop_databases(control, "squizzle_drill")
            for name in self.all:
                self._copy(control, f"kept_{name}", name)
        for left in left_in(self.temp):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        self.prepare()

    def end(self) -> None:
        """Remove the databases."""
        with connect(self.access, "postgres", purpose="test") as control:
            drop_databases(control, self.database)
            drop_databases(control, f"kept_{self.database}")

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

    def take_backup(self) -> None:
        programs = find_programs(explicit=None, server_major=self.place.server.cluster.runtime.major)
        now = datetime.now(UTC)
        store = self.backups.open()
        backup = take_dump(self.access, self.database, store, programs, backup_id=f"{now:%Y%m%dT%H%M%SZ}-m-aaaaaa")
        verify_files(store, backup, by="ann")

    def migrations(self, *scripts: tuple[str, str]) -> Path:
        folder = self.folder / "migrations"
        for number, (up, down) in enumerate(scripts, 1):
            place = folder / f"{number:04}_change"
            place.mkdir(parents=True)
            (place / "up.sql").write_text(up, encoding="utf-8")
            (place / "down.sql").write_text(down, encoding="utf-8")
        return folder


class BackUp(Scene):
    """A backup, verified, and the one before it pruned."""

    name = "back-up"
    flow = "flows.back_up:back_up"

    def set_up(self) -> None:
        self.run_sql(FILL)
        keeps = {"prune": True, "keep_daily": 1, "keep_weekly": 0, "keep_monthly": 0}
        self.parameters = {"database": self.place.block(self.database), "store": self.store(), **keeps}
        self.whole = self.digest()

    def standing(self) -> list[str]:
        return [*super().standing(), *only_good_backups(self.backups.open())]

    def promised(self) -> list[str]:
        store = self.backups.open()
        broken = [*only_good_backups(store), *self.nothing_left(), *one_of_the_name_and_rows(self, self.whole)]
        if not store.list_ids():
            return [*broken, "there is no backup"]
        names = {path.name for path in (self.folder / "backups").iterdir()} - {"removed", *store.list_ids()}
        return [*broken, *(f"{name} is left in the store" for name in sorted(names))]


class CheckBackups(Scene):
    """Reading every backup again, and restoring the newest for proof."""

    name = "check-backups"
    flow = "flows.check_backups:check_backups"

    def set_up(self) -> None:
        self.run_sql(FILL)
        self.parameters = {"store": self.store(), "database": self.place.block(self.database)}
        self.take_backup()

    def promised(self) -> list[str]:
        return [*only_good_backups(self.backups.open()), *self.nothing_left()]


class RestoreOver(Scene):
    """A backup is restored beside the damaged database, compared, and takes its place."""

    name = "restore-backup"
    flow = "flows.restore_backup:restore_backup"
    kept_open = False

    def set_up(self) -> None:
        self.run_sql(FILL)
        store = self.store()
        self.take_backup()
        self.whole = self.digest()
        block = self.place.block(self.database)
        how = {"into": f"{self.database}_r", "switch_over": True, "dry_run": False}
        self.parameters = {"database": block, "store": store, **how}

    def prepare(self) -> None:
        self.run_sql(DISASTER)

    def promised(self) -> list[str]:
        return [*one_of_the_name_and_rows(self, self.whole), *self.nothing_left(*kept_beside(self))]


class Recover(RestoreOver):
    """A damaged database comes back by the cheapest way, with something else shut meanwhile."""

    name = "recover"
    flow = "flows.recover:recover"

    def set_up(self) -> None:
        super().set_up()
        self.queue = self.folder / "the queue is shut"
        name = f"fence-{secrets.token_hex(4)}"
        CommandFence(thing="the queue", close=["touch", str(self.queue)], reopen=["rm", "-f", str(self.queue)]).save(
            name
        )
        how = {"dry_run": False, "may_lose_data": True, "commands": [f"block:command-fence/{name}"]}
        self.parameters = {key: self.parameters[key] for key in ("database", "store")} | how

    def promised(self) -> list[str]:
        shut = ["the queue is still shut"] if self.queue.exists() else []
        return [*super().promised(), *shut]


class Rehearse(Scene):
    """Two versions and their ways back are proven on a copy."""

    name = "rehearse"
    flow = "flows.rehearse:rehearse"

    def set_up(self) -> None:
        self.run_sql(FILL)
        self.whole = self.digest()
        folder = self.migrations(PRICE, INDEX)
        scratch = self.place.block("postgres")
        self.parameters = {"database": self.place.block(self.database), "store": self.store()}
        self.parameters |= {"migrations": str(folder), "scratch_server": scratch}

    def standing(self) -> list[str]:
        return [*super().standing(), *only_good_backups(self.backups.open())]

    def promised(self) -> list[str]:
        store = self.backups.open()
        found = read_certificates(store, database=self.database).found
        proven = {one.version for one in found if one.verdict is CertificateVerdict.PROVEN}
        broken = [f"version {one} is not proven" for one in sorted({"0001", "0002"} - proven)]
        broken += [*check_certificates(store).problems, *only_good_backups(store)]
        return [*broken, *one_of_the_name_and_rows(self, self.whole), *self.nothing_left()]


class Undo(Scene):
    """What was changed by mistake in a logged table comes back."""

    name = "undo-changes"
    flow = "flows.undo_changes:undo_changes"

    def set_up(self) -> None:
        self.run_sql(FILL)
        self.whole = self.digest()
        with self.session() as session:
            enable(session, Target(database=self.database), (("public", "account"),), on_wait=lambda _text: None)
        self.parameters = {"database": self.place.block(self.database), "tables": ["account"], "dry_run": False}

    def prepare(self) -> None:
        with self.session() as session:
            (since,) = session.execute("SELECT clock_timestamp()").fetchone() or (None,)
            session.execute("UPDATE account SET owner = 'nobody' WHERE id > 100")
            request = UndoRequest(tables=(("public", "account"),), since=since)
            plan = plan_undo(session, Target(database=self.database), request)
        self.parameters |= {"since": since.isoformat(), "plan": plan.digest}

    def standing(self) -> list[str]:
        with self.session() as session:
            query = "SELECT count(*) FILTER (WHERE owner = 'nobody'), count(*) FROM account"
            found = session.execute(query).fetchone()
        return [*super().standing(), *([] if found in {(200, 300), (0, 300)} else [f"half of it was undone: {found}"])]

    def promised(self) -> list[str]:
        with self.session() as session:
            found = session.execute("SELECT count(*) FROM account WHERE owner = 'o' || id").fetchone()
        return [*([] if found == (300,) else [f"rows are not back: {found}"]), *self.nothing_left()]


class RollOut(Scene):
    """A version goes to three databases in two stages."""

    name = "roll-out"
    flow = "flows.roll_out:roll_out"

    @property
    def all(self) -> tuple[str, ...]:
        return tuple(f"{self.database}_{number}" for number in range(3))

    def set_up(self) -> None:
        for name in self.all:
            self.run_sql("CREATE TABLE goods AS SELECT n AS id FROM generate_series(1, 3) n", name)
        self.migrations(("INSERT INTO goods VALUES (4)", "DELETE FROM goods WHERE id = 4"))
        write_fleet(self, f'pinned = ["one/{self.all[0]}"]')
        stages = "stages: [{name: canary, percentage: 30, rollback_on_error: true}, {name: full, percentage: 100}]"
        (self.folder / "stages.yaml").write_text(stages, encoding="utf-8")
        files = {"stages": str(self.folder / "stages.yaml"), "configuration": str(self.folder / "squizzle.toml")}
        self.parameters = {"fleet": "town", **files, "dry_run": False, "watch_every_s": 1}

    def standing(self) -> list[str]:
        return [text for name in self.all for text in one_of_the_name(self.access, name, may_be_shut=False)]

    def promised(self) -> list[str]:
        broken = []
        for name in self.all:
            with self.session(name) as session:
                goods = session.execute("SELECT count(*) FROM goods").fetchone()
                applied = session.execute("SELECT count(*) FROM squizzle_history WHERE success").fetchone()
            broken += [] if (goods, applied) == ((4,), (1,)) else [f"{name}: {goods} goods, applied {applied} times"]
        return [*broken, *self.nothing_left()]


class WrongEnvironment(Scene):
    """A version that landed in the wrong database is taken back there, and applied to the right one."""

    name = "undo-wrong-environment"
    flow = "flows.undo_wrong_environment:undo_wrong_environment"

    @property
    def all(self) -> tuple[str, ...]:
        return (f"{self.database}_wrong", f"{self.database}_right")

    def set_up(self) -> None:
        (self.folder / "squizzle.toml").touch()
        folder = self.migrations(("CREATE TABLE base (a int)", "DROP TABLE base"), ("CREATE TABLE extra (a int)", ""))
        (folder / "0002_change" / "down.sql").unlink()
        migrations = read_migrations(folder)
        for name, to in zip(self.all, (None, "0001"), strict=True):
            target = Target(database=name, expected=ExpectedIdentity(environment="testing"))
            with self.session(name) as session:
                apply_versions(session, target, migrations, to=to)
        wrong, right = (self.place.block(name) for name in self.all)
        what = {"project": str(self.folder), "versions": ["0002"], "dry_run": False}
        self.parameters = {"wrong": wrong, "right": right, **what}

    def standing(self) -> list[str]:
        return [text for name in self.all for text in one_of_the_name(self.access, name, may_be_shut=False)]

    def promised(self) -> list[str]:
        found = []
        for name in self.all:
            with self.session(name) as session:
                found.append(session.execute("SELECT to_regclass('extra') IS NOT NULL").fetchone())
        broken = [] if found == [(False,), (True,)] else [f"the table is in (wrong, right): {found}"]
        return [*broken, *self.nothing_left()]


class RelieveLoad(Scene):
    """The worst tables are cleaned."""

    name = "relieve-load"
    flow = "flows.relieve_load:relieve_load"

    def set_up(self) -> None:
        self.run_sql(FILL)
        self.whole = self.digest()
        self.parameters = {"database": self.place.block(self.database), "dry_run": False}

    def prepare(self) -> None:
        self.run_sql("ALTER TABLE payment SET (autovacuum_enabled = false)")
        self.whole = self.digest()
        self.run_sql("UPDATE payment SET cents = cents")

    def promised(self) -> list[str]:
        return [*one_of_the_name_and_rows(self, self.whole), *self.nothing_left()]


class SweepHealth(RollOut):
    """Three databases are looked at, and what is wrong in one of them is told."""

    name = "sweep-health"
    flow = "flows.sweep_health:sweep_health"

    def set_up(self) -> None:
        for name in self.all:
            self.run_sql("CREATE TABLE box AS SELECT n AS id FROM generate_series(1, 3) n", name)
        rule = "{name: full, condition: SELECT count(*) > 2 FROM box, severity: high}"
        (self.folder / "alerts.yml").write_text(f"alerts:\n  - {rule}\n", encoding="utf-8")
        write_fleet(self, 'watch.alerts = ["alerts.yml"]')
        self.parameters = {"fleet": "town", "configuration": str(self.folder / "squizzle.toml"), "tell": False}

    def promised(self) -> list[str]:
        firing = []
        for name in self.all:
            with self.session(name) as session:
                if session.execute("SELECT to_regclass('squizzle.alert') IS NOT NULL").fetchone() == (True,):
                    query = "SELECT target, rule, count(*) FROM squizzle.alert GROUP BY 1, 2 HAVING count(*) > 1"
                    firing += session.execute(query).fetchall()
        return [*(f"kept twice: {one}" for one in firing), *self.nothing_left()]


SCENES: tuple[type[Scene], ...] = (
    BackUp,
    CheckBackups,
    RestoreOver,
    Recover,
    Rehearse,
    Undo,
    RollOut,
    WrongEnvironment,
    RelieveLoad,
    SweepHealth,
)


def write_fleet(scene: Scene, more: str) -> None:
    """The file that names a fleet of the scene's databases."""
    host = quote(scene.access.host, safe="")
    text = f"""
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
    (scene.folder / "squizzle.toml").write_text(text, encoding="utf-8")


def one_of_the_name_and_rows(scene: Scene, whole: DatabaseDigest) -> list[str]:
    """The database is open, with these rows."""
    return [
        *one_of_the_name(scene.access, scene.database, may_be_shut=False),
        *rows_as_promised(scene.access, scene.database, whole),
    ]


def kept_beside(scene: Scene) -> Sequence[str]:
    """The damaged databases that were put aside and kept on purpose: shut, each of them."""
    with connect(scene.access, "postgres", purpose="look") as control:
        beside = databases(control, scene.database) - {scene.database}
        return [name for name in beside if is_fenced(control, name) and not name.endswith("_r")]
