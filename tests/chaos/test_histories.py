"""Migrations, backups, disasters and recoveries in any order, beside a model of what must be restorable.

Hypothesis chooses the order; the model knows for each backup what the database was when it was taken, which ones somebody
holds, and which ones were damaged. Whatever happened before, a whole backup gives exactly that back, a damaged one is
refused and changes nothing, and nothing goes that must stay.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from psycopg import sql

from squizzle.backups.catalogue import carry_out_pruning, check_chain, plan_pruning, read_catalogue, verify_files
from squizzle.backups.dump import new_backup_id, take_dump
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.notes import write_hold
from squizzle.backups.proofs import Hold, Verdict
from squizzle.backups.settings import Retention
from squizzle.errors import BackupDamagedError, MigrationFailedError
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.operations import apply_versions, roll_back_versions
from squizzle.migrations.records import Migration
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import ClientPrograms, find_programs
from squizzle.proof.digests import compare_digests, digest_database
from squizzle.proof.records import DatabaseDigest
from squizzle.recovery.beside import RestoreOrder, restore_database, swap_in
from tests.chaos.invariants import one_of_the_name
from tests.support.own_server import own_server
from tests.support.scratch import drop_databases
from tests.support.tally import Kind, chosen_seed, note_strike

pytestmark = pytest.mark.chaos

VERSIONS = 6
NOW = datetime(2040, 1, 1, tzinfo=UTC)
# Not what Hypothesis has for chance: it would depend on how long files are, and those are never the same again.
CHANCE = st.integers(0, 1 << 16).map(Random)
ONE = Retention(daily=1, weekly=0, monthly=0)


@dataclass(frozen=True)
class World:
    """One server for all histories."""

    access: ServerAccess
    programs: ClientPrograms
    folder: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with own_server("histories") as server:
        programs = find_programs(explicit=None, server_major=server.cluster.runtime.major)
        yield World(server.access, programs, tmp_path_factory.mktemp("histories"))


class Histories(RuleBasedStateMachine):
    """One database, one store, and what they must hold."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self.name = f"h_{secrets.token_hex(4)}"
        self.folder = Path(tempfile.mkdtemp(dir=self.world.folder))
        self.store = FolderStore(self.folder / "store")
        self.versions = self.taken = 0
        self.saved: dict[str, tuple[DatabaseDigest, int]] = {}
        self.held: set[str] = set()
        self.damaged: set[str] = set()
        with self.control() as control:
            control.execute(sql.SQL("CREATE DATABASE {} STRATEGY file_copy").format(sql.Identifier(self.name)))
        with self.session() as session:
            session.execute("CREATE TABLE ledger (id int PRIMARY KEY, amount int)")
        for number in range(1, VERSIONS + 1):
            place = self.folder / "migrations" / f"{number:04}_more"
            place.mkdir(parents=True)
            column = f"c{number}"
            (place / "up.sql").write_text(f"ALTER TABLE ledger ADD COLUMN {column} int DEFAULT {number}")
            (place / "down.sql").write_text(f"ALTER TABLE ledger DROP COLUMN {column}")
        self.expected = self.digest()

    def teardown(self) -> None:
        """At the end of each history: what can be relied on is told apart from what cannot."""
        with self.control() as control:
            drop_databases(control, self.name)
        found = {one: verify_files(self.store, self.store.read(one), by="ann").verdict for one in self.saved}
        assert found == {one: Verdict.FAIL if one in self.damaged else Verdict.PASS for one in self.saved}

    # What happens

    @rule(first=st.integers(0, 5000), count=st.integers(1, 40))
    def write(self, first: int, count: int) -> None:
        with self.session() as session:
            query = (
                "INSERT INTO ledger (id, amount) SELECT n, n FROM generate_series(%s::int, %s) n ON CONFLICT DO NOTHING"
            )
            session.execute(query, (first, first + count))
        self.expected = self.digest()

    @precondition(lambda self: self.versions < VERSIONS)
    @rule()
    def migrate(self) -> None:
        self.versions += 1
        with self.session() as session:
            apply_versions(session, self.target, self.migrations, to=f"{self.versions:04}")
        self.expected = self.digest()

    @precondition(lambda self: self.versions > 0)
    @rule()
    def take_back(self) -> None:
        with self.session() as session:
            roll_back_versions(session, self.target, self.migrations, only=f"{self.versions:04}")
        self.versions -= 1
        self.expected = self.digest()

    @precondition(lambda self: self.versions < VERSIONS)
    @rule()
    def fail(self) -> None:
        """The next version fails half-way; nothing of it stays."""
        place = self.folder / "migrations" / f"{self.versions + 1:04}_more" / "up.sql"
        whole = place.read_text()
        place.write_text(f"{whole};\nDELETE FROM ledger;\nSELECT 1 / 0;")
        try:
            with self.session() as session, pytest.raises(MigrationFailedError):
                apply_versions(session, self.target, self.migrations, to=f"{self.versions + 1:04}")
        finally:
            place.write_text(whole)
        note_strike(Kind.HISTORY, "a history in any order", "a migration fails")

    @rule(what=st.sampled_from(["DELETE FROM ledger", "DROP TABLE ledger", "UPDATE ledger SET amount = amount + 1"]))
    def disaster(self, what: str) -> None:
        """Somebody does the wrong thing; if there is nothing to come back to, somebody else undoes it."""
        if not self.whole:
            return
        with self.session() as session:
            session.execute(what.encode())
        note_strike(Kind.HISTORY, "a history in any order", "a disaster", cell=what)
        self.recover(Random(0))  # noqa: S311 - any of them

    @rule()
    def back_up(self) -> None:
        digest = self.digest(bookkeeping=True)
        self.taken += 1
        backup_id = new_backup_id(self.name, now=datetime.now(UTC), suffix=f"{self.taken:06}")
        take_dump(self.world.access, self.name, self.store, self.world.programs, backup_id=backup_id)
        self.saved[backup_id] = (digest, self.versions)

    @precondition(lambda self: bool(self.whole))
    @rule(chance=CHANCE)
    def verify(self, chance: Random) -> None:
        backup_id = chance.choice(sorted(self.saved))
        verdict = verify_files(self.store, self.store.read(backup_id), by="ann").verdict
        assert verdict is (Verdict.FAIL if backup_id in self.damaged else Verdict.PASS)

    @precondition(lambda self: bool(self.saved))
    @rule(chance=CHANCE)
    def hold(self, chance: Random) -> None:
        backup_id = chance.choice(sorted(self.saved))
        until = NOW + timedelta(days=1)
        write_hold(self.store, Hold(backup_id=backup_id, name="pin", reason="a wish", by="ann", at=NOW, until=until))
        self.held.add(backup_id)

    @precondition(lambda self: bool(self.saved))
    @rule()
    def prune(self) -> None:
        plan = plan_pruning(self.store, ONE, now=NOW)
        done = carry_out_pruning(self.store, plan, by="ann", reason="a test", now=NOW)
        gone = set(done.removed)
        assert not gone & self.held
        assert max(self.saved) not in gone
        for backup_id in gone:
            del self.saved[backup_id]
        self.damaged -= gone

    @precondition(lambda self: len(self.whole) > 1)
    @rule(chance=CHANCE)
    def damage(self, chance: Random) -> None:
        backup_id = chance.choice(self.whole)
        backup = self.store.read(backup_id)
        file = chance.choice([one for one in backup.files if one.size_bytes])
        path = self.store.path_of(backup) / file.path
        content = bytearray(path.read_bytes())
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(content)
        self.damaged.add(backup_id)
        note_strike(Kind.HISTORY, "a history in any order", "a backup is damaged")

    @precondition(lambda self: bool(self.saved))
    @rule(chance=CHANCE)
    def recover(self, chance: Random) -> None:
        """From any backup: the whole ones bring back what they saved, the damaged ones are refused."""
        for backup_id in chance.sample(sorted(self.saved), len(self.saved)):
            order = RestoreOrder(
                access=self.world.access,
                store=self.store,
                backup=self.store.read(backup_id),
                into=f"{self.name}_r",
                programs=self.world.programs,
            )
            if backup_id in self.damaged:
                with pytest.raises(BackupDamagedError):
                    restore_database(order, keep_closed=True)
                continue
            assert restore_database(order, keep_closed=True).is_equal
            swap_in(order, database=self.name, keep_as=f"{self.name}_old")
            with self.control() as control:
                drop_databases(control, f"{self.name}_old")
            saved, self.versions = self.saved[backup_id]
            assert compare_digests(saved, self.digest(bookkeeping=True)).is_equal
            self.expected = self.digest()
            note_strike(Kind.HISTORY, "a history in any order", "a recovery")
            return

    # What must hold after each of them

    @invariant()
    def the_database_is_as_it_was_left(self) -> None:
        assert one_of_the_name(self.world.access, self.name, may_be_shut=False) == []
        assert compare_digests(self.expected, self.digest()).is_equal

    @invariant()
    def the_store_holds_what_it_must(self) -> None:
        assert set(self.store.list_ids()) == set(self.saved)
        assert check_chain(self.store, read_catalogue(self.store)) == ()

    # For all of them

    @property
    def whole(self) -> list[str]:
        """The backups that a recovery may rely on."""
        return sorted(set(self.saved) - self.damaged)

    @property
    def target(self) -> Target:
        return Target(database=self.name)

    @property
    def migrations(self) -> Sequence[Migration]:
        return read_migrations(self.folder / "migrations")

    @contextmanager
    def control(self) -> Iterator[Connection]:
        with connect(self.world.access, "postgres", purpose="test") as control:
            yield control

    @contextmanager
    def session(self) -> Iterator[Connection]:
        with connect(self.world.access, self.name, purpose="test") as session:
            yield session

    def digest(self, *, bookkeeping: bool = False) -> DatabaseDigest:
        with self.session() as session:
            return digest_database(session, bookkeeping=bookkeeping)


def test_whatever_happened_before_a_whole_backup_brings_back_what_it_saved(world: World) -> None:
    Histories.world = world
    run_state_machine_as_test(
        seed(chosen_seed())(Histories),
        settings=settings(
            max_examples=12,
            stateful_step_count=20,
            phases=(Phase.generate,),  # to make a history shorter takes as long as a hundred of them
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
