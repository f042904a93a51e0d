"""The ways back of a database, and the proof that they are ways back."""

from __future__ import annotations

import secrets

from blocks import CommandFence
from squizzle.backups.change_log.switching import enable
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.operations import apply_versions
from squizzle.postgres.identity import ExpectedIdentity, Target
from squizzle.recovery.undo.records import UndoRequest
from squizzle.recovery.undo.undo import plan_undo
from squizzle.rehearsal.certificate_store import check_certificates, read_certificates
from squizzle.rehearsal.records import CertificateVerdict
from tests.chaos.flows.scene import DISASTER, FILL, Scene, kept_beside, one_of_the_name_and_rows
from tests.chaos.invariants import one_of_the_name, only_good_backups

PRICE = ("ALTER TABLE payment ADD COLUMN price int", "ALTER TABLE payment DROP COLUMN price")
INDEX = ("CREATE INDEX payment_price ON payment (price)", "DROP INDEX payment_price")


class RestoreOver(Scene):
    """A backup is restored beside the damaged database, compared, and takes its place."""

    name = "restore-backup"
    flow = "flows.restore_backup:restore_backup"
    deployments = ("restore-backup",)
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
    deployments = ("recover",)

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
    deployments = ("rehearse",)

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
    deployments = ("undo-changes",)

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


class WrongEnvironment(Scene):
    """A version that landed in the wrong database is taken back there, and applied to the right one."""

    name = "undo-wrong-environment"
    flow = "flows.undo_wrong_environment:undo_wrong_environment"
    deployments = ("undo-wrong-environment",)

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
