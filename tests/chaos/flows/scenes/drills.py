"""Drills, and a server that is rebuilt from its store."""

from __future__ import annotations

from squizzle.backups.records import BackupKind
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.embedded import drill_settings, find_runtime, throwaway_cluster
from squizzle.proof.digests import digest_database
from tests.chaos.flows.scene import FILL, Scene, lets_others_in, one_of_the_name_and_rows
from tests.chaos.invariants import only_good_backups, rows_as_promised
from tests.support.names import databases, roles
from tests.support.scratch import drop_roles
from tests.support.tally import dice

DRILLS = ("data_loss", "corrupted_migration", "wrong_environment", "locked_database")
"""Those that are played with what the given server has, and take least; the others have servers of their own."""


class Drill(Scene):
    """A disaster is played beside a database that it must not touch; the next drill takes away what a killed one left."""

    name = "drill"
    flow = "flows.run_drill:run_drill"
    deployments = ("drill",)
    share = 0.4

    def set_up(self) -> None:
        self.run_sql(FILL)
        self.whole = self.digest()
        scenario = dice(self.name, "which").choice(DRILLS)
        self.parameters = {"scenario": scenario, "scale": 0.02, "store": self.store()}
        self.parameters |= {"server": self.place.block(self.database)}

    def standing(self) -> list[str]:
        return [*super().standing(), *only_good_backups(self.backups.open())]

    def promised(self) -> list[str]:
        with connect(self.access, "postgres", purpose="look") as control:
            left = sorted(roles(control, "squizzle_drill"))
        broken = [f"role {name} is left" for name in left]
        return [*broken, *one_of_the_name_and_rows(self, self.whole), *self.nothing_left()]


class RebuildServer(Scene):
    """A server is lost: its role and its database come back on this one, whole or not at all."""

    name = "rebuild-server"
    flow = "flows.rebuild_server:rebuild_server"
    deployments = ("rebuild-server",)

    @property
    def all(self) -> tuple[str, ...]:
        return ()

    def set_up(self) -> None:
        runtime = find_runtime()
        settings = drill_settings(runtime.major, throwaway=True)
        store = self.store()
        self.owner = f"{self.database}_owner"
        with throwaway_cluster("lost", settings=settings, runtime=runtime, from_template=False) as lost:
            access = ServerAccess(host=str(lost.socket_folder), port=lost.port, user=lost.user)
            with connect(access, "postgres", purpose="test") as control:
                control.execute(f"CREATE ROLE {self.owner} LOGIN PASSWORD 'of the lost one'")
                control.execute(f"CREATE DATABASE {self.database} OWNER {self.owner}")
            with connect(access, self.database, purpose="test") as session:
                session.execute(FILL)
                self.whole = digest_database(session)
            self.take_backup(access=access)
            self.take_backup(access=access, kind=BackupKind.GLOBALS)
        self.parameters = {"server": self.place.block("postgres"), "store": store, "dry_run": False}

    def prepare(self) -> None:
        with connect(self.access, "postgres", purpose="test") as control:
            drop_roles(control, self.database)

    def standing(self) -> list[str]:
        is_open = lets_others_in(self.access, self.database)
        return rows_as_promised(self.access, self.database, self.whole) if is_open else []

    def promised(self) -> list[str]:
        with connect(self.access, "postgres", purpose="look") as control:
            if self.database not in databases(control, self.database):
                return ["the database is not there"]
            query = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s"
            owner = control.execute(query, (self.database,)).fetchone()
        broken = [] if owner == (self.owner,) else [f"it belongs to {owner}"]
        return [*broken, *one_of_the_name_and_rows(self, self.whole), *self.nothing_left(self.database)]
