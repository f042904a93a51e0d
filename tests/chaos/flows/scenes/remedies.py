"""Remedies of an emergency: each does what was approved, and leaves nothing off, shut or half."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import psycopg

from squizzle.errors import SquizzleError
from squizzle.postgres.access import Connection, connect
from squizzle.postgres.embedded import find_runtime
from tests.chaos.flows.scene import FILL, Scene, lets_others_in, one_of_the_name_and_rows
from tests.support.damaged import ORDERS, damaged_shop
from tests.support.processes import wait_until


class RelieveLoad(Scene):
    """The worst tables are cleaned."""

    name = "relieve-load"
    flow = "flows.relieve_load:relieve_load"
    deployments = ("relieve-load",)

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


class ReleaseLocks(Scene):
    """Somebody forgot a transaction, and others wait: that one is ended, and nobody else."""

    name = "release-locks"
    flow = "flows.release_locks:release_locks"
    deployments = ("release-locks",)

    def set_up(self) -> None:
        self.run_sql(FILL)
        self.role = f"{self.database}_app"
        self.run_sql(f"CREATE ROLE {self.role} LOGIN; ALTER TABLE payment OWNER TO {self.role}")
        self.whole = self.digest()
        self.clients: list[Connection] = []
        how = {"dry_run": False, "idle_minutes": 0, "waiting_seconds": 0}
        self.parameters = {"database": self.place.block(self.database), **how}

    def forget(self) -> None:
        while self.clients:
            self.clients.pop().close()

    def prepare(self) -> None:
        self.began_at = self._server_began()
        as_role = replace(self.access, user=self.role)
        self.clients = [connect(as_role, self.database, purpose="test") for _ in range(3)]
        forgotten, waiter, other = self.clients
        for one in self.clients:
            one.execute("SET application_name = 'app'")
        forgotten.execute("BEGIN; LOCK TABLE payment")
        waiter.pgconn.send_query(b"SELECT count(*) FROM payment")
        other.execute("BEGIN; SELECT 1")
        pid = waiter.info.backend_pid
        with self.session() as session:
            waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid = %s)"
            wait_until(lambda: session.execute(waits, (pid,)).fetchone() == (True,), "somebody waits")

    def _server_began(self) -> object:
        with connect(self.access, "postgres", purpose="look") as control:
            return control.execute("SELECT pg_postmaster_start_time()").fetchone()

    def _is_in(self, client: Connection) -> bool:
        query = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)"
        with connect(self.access, "postgres", purpose="look") as control:
            return control.execute(query, (client.info.backend_pid,)).fetchone() == (True,)

    def promised(self) -> list[str]:
        broken = one_of_the_name_and_rows(self, self.whole)
        if self._server_began() == self.began_at:
            forgotten, waiter, other = map(self._is_in, self.clients)
            broken += ["who holds up others is still there"] if forgotten else []
            broken += ["who waited was ended"] if not waiter else []
            broken += ["who held up nobody was ended"] if not other else []
        return [*broken, *self.nothing_left()]


class PauseTriggers(Scene):
    """Triggers and foreign keys of a table are off for a while, and on again as they were."""

    name = "pause-triggers"
    flow = "flows.pause_triggers:pause_triggers"
    deployments = ("pause-triggers",)

    def set_up(self) -> None:
        self.run_sql(FILL)
        self.run_sql("""
            CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
            CREATE TRIGGER looks BEFORE INSERT ON payment FOR EACH ROW EXECUTE FUNCTION look();
            CREATE TRIGGER looks_always BEFORE UPDATE ON payment FOR EACH ROW EXECUTE FUNCTION look();
            ALTER TABLE payment ENABLE ALWAYS TRIGGER looks_always
        """)
        self.whole = self.digest()
        self.modes = self._modes()
        what = {"table": "payment", "reason": "a scene", "triggers": ["looks", "looks_always"], "foreign_keys": True}
        self.parameters = {"database": self.place.block(self.database), "minutes": 1, "dry_run": False, **what}

    def _modes(self) -> dict[int, str]:
        with self.session() as session:
            return dict(session.execute("SELECT oid::bigint, tgenabled::text FROM pg_trigger").fetchall())

    @contextmanager
    def meanwhile(self) -> Iterator[None]:
        """The time passes."""
        over = threading.Event()

        def pass_time() -> None:
            while not over.wait(0.05):
                # The server is killed at times, and the notes are not there before the first run makes them.
                with suppress(SquizzleError, psycopg.Error):
                    self.run_sql("UPDATE squizzle.paused_trigger SET until = now() WHERE until > now()")

        thread = threading.Thread(target=pass_time)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def standing(self) -> list[str]:
        noted: set[int] = set()
        with self.session() as session:
            if session.execute("SELECT to_regclass('squizzle.paused_trigger') IS NOT NULL").fetchone() == (True,):
                noted = {one for (one,) in session.execute("SELECT trigger_id FROM squizzle.paused_trigger")}
            changed = {one for one, mode in self._modes().items() if mode != self.modes.get(one)}
        unknown = sorted(changed - noted)
        return [*super().standing(), *(f"trigger {one} is off, and nothing says so" for one in unknown)]

    def promised(self) -> list[str]:
        with self.session() as session:
            notes = session.execute("SELECT count(*) FROM squizzle.paused_trigger").fetchone()
        broken = [] if notes == (0,) else [f"{notes} notes are left"]
        broken += [] if self._modes() == self.modes else ["triggers are not as they were"]
        return [*broken, *one_of_the_name_and_rows(self, self.whole), *self.nothing_left()]


class NoteQueries(Scene):
    """What queries cost is kept, the newest ten times: each of them whole."""

    name = "note-queries"
    flow = "flows.note_queries:note_queries"
    deployments = ("note-queries",)
    share = 0.5

    def set_up(self) -> None:
        self.run_sql(FILL)
        self.run_sql("CREATE EXTENSION pg_stat_statements")
        self.run_sql("SELECT count(*) FROM payment")
        self.whole = self.digest()
        self.parameters = {"database": self.place.block(self.database)}

    def promised(self) -> list[str]:
        query = "SELECT count(*), count(*) FILTER (WHERE length(queries::text) < 100) FROM squizzle.query_baseline"
        with self.session() as session:
            found = session.execute(query).fetchone() or (0, 0)
        most = 3
        broken = [] if 1 <= found[0] <= most and not found[1] else [f"baselines kept, and empty ones: {found}"]
        return [*broken, *one_of_the_name_and_rows(self, self.whole), *self.nothing_left()]


class ExamineCorruption(Scene):
    """A damaged cluster is examined on a copy, and a new database made of what can be read; the original is only read."""

    name = "examine-corruption"
    flow = "flows.examine_corruption:examine_corruption"
    deployments = ("examine-corruption",)
    share = 0.5

    def set_up(self) -> None:
        shop = self.stack.enter_context(damaged_shop(find_runtime()))
        shop.write("orders", 3, 0, b"\xff" * 24)
        self.shop, self.before = shop, shop.digests()
        self.new = f"{self.database}_salvaged"
        where = {"data_folder": str(shop.cluster.layout.data), "evidence": str(self.folder / "evidence")}
        self.parameters = {
            "database": self.place.block(shop.database),
            "into": self.place.block(self.database),
            **where,
        }
        self.parameters |= {"dry_run": False, "new_name": self.new, "keep_copy": False}

    def standing(self) -> list[str]:
        broken = super().standing()
        is_open = lets_others_in(self.access, self.new)
        return [*broken, *(self._half() if is_open else [])]

    def _half(self) -> list[str]:
        with self.session(self.new) as session:
            orders = session.execute("SELECT count(*) FROM orders").fetchone() or (0,)
            lost = session.execute("SELECT count(*) FROM squizzle_corruption.lost_key").fetchone() or (0,)
        whole = orders[0] + lost[0] == ORDERS
        return [] if whole else [f"{self.new} has {orders[0]} orders, and {lost[0]} are said to be lost"]

    def promised(self) -> list[str]:
        broken = [] if self.shop.digests() == self.before else ["the original was changed"]
        return [*broken, *self.standing(), *self._half(), *self.nothing_left(self.new)]
