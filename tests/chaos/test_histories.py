"""Migrations, rehearsals, rollouts, backups, disasters and recoveries in any order, beside a model of what must be restorable.

Hypothesis chooses the order; the model knows for each backup what the database was when it was taken, which ones somebody
holds, which ones were damaged, and what was rehearsed on which. Whatever happened before, a whole backup gives exactly that
back, a damaged one is refused and changes nothing, and nothing goes that must stay.
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
from squizzle.backups.change_log.changes import mark
from squizzle.backups.change_log.switching import disable, enable
from squizzle.backups.dump import new_backup_id, take_dump
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.notes import write_hold
from squizzle.backups.proofs import Hold, Verdict
from squizzle.backups.settings import Retention
from squizzle.errors import BackupDamagedError, MigrationFailedError
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.operations import apply_versions, roll_back_versions
from squizzle.migrations.records import Migration, Policy
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import ClientPrograms, find_programs
from squizzle.proof.comparison import compare_digests
from squizzle.proof.digests import digest_database
from squizzle.proof.records import DatabaseDigest
from squizzle.recovery.beside import RestoreOrder, restore_database, swap_in
from squizzle.recovery.restore_proof import prove_by_restore
from squizzle.recovery.scratch_copy import ScratchPlace
from squizzle.recovery.undo.records import UndoRequest
from squizzle.recovery.undo.undo import undo_changes
from squizzle.rehearsal.certificate_store import check_certificates, read_certificates, write_certificate
from squizzle.rehearsal.place import PlaceOrder, rehearsal_place
from squizzle.rehearsal.records import CertificateVerdict
from squizzle.rehearsal.rehearse import draft_certificate, plan_rehearsal, rehearse_version
from squizzle.rehearsal.version_run import Course, apply_earlier
from squizzle.rehearsal.ways import measure_ways
from squizzle.rollout.applying import apply_to_targets, take_back_from_targets
from squizzle.rollout.ledger import RolloutRow, begin_rollout, end_rollout, find_rollout, note_taking_back
from squizzle.rollout.orders import ApplyVerdict, RolloutOrder
from squizzle.rollout.planning import planned_versions
from squizzle.rollout.records import Fleet, FleetTarget
from squizzle.settings.fleets import FleetServer
from tests.chaos.invariants import one_of_the_name
from tests.integration.cli.conftest import url_of
from tests.support.names import databases
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
        self.certificates: dict[str, str] = {}
        self.rollouts = self.others = 0
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
        self.around = self.databases() - {self.name}

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

    @precondition(lambda self: bool(self.saved))
    @rule(chance=CHANCE)
    def drill(self, chance: Random) -> None:
        """Restore one elsewhere, as a drill does every month, and see whether it is what was saved."""
        backup_id = chance.choice(sorted(self.saved))
        proof = prove_by_restore(self.store, self.store.read(backup_id), self.scratch, by="ann")
        assert proof.verdict is (Verdict.FAIL if backup_id in self.damaged else Verdict.PASS), proof.sentences

    @precondition(lambda self: self.versions < VERSIONS and bool(self.rehearsable))
    @rule(chance=CHANCE)
    def rehearse(self, chance: Random) -> None:
        """The next version: proven on a whole backup of the same schema, refused on a damaged one."""
        backup_id = chance.choice(self.rehearsable)
        version = f"{self.versions + 1:04}"
        backup = self.store.read(backup_id)
        order = PlaceOrder(store=self.store, backup=backup, database=self.name, by="ann", scratch=self.scratch)
        with self.session() as session:
            plan = plan_rehearsal(session, self.target, self.migrations)
        assert plan.versions[0] == version
        with rehearsal_place(order) as place:
            if backup_id in self.damaged:
                with pytest.raises(BackupDamagedError), place.fresh():
                    pytest.fail("there is no copy")
                return
            course = Course(
                place=place, schema="public", migrations=self.migrations, policy=Policy(), budget=timedelta(minutes=5)
            )
            with place.fresh() as work:
                before = apply_earlier(course, work, ())
                result = rehearse_version(course, work, version, earlier=(), before=before)
            draft = draft_certificate(plan, course, result, measure_ways(place), by="ann", now=datetime.now(UTC))
        if self.saved[backup_id][0].schema.logical != self.digest(bookkeeping=True).schema.logical:
            # It may be that the change log was switched on since.
            assert draft.verdict in {CertificateVerdict.PROVEN, CertificateVerdict.INCONCLUSIVE}, draft.reasons
            return
        assert draft.verdict is CertificateVerdict.PROVEN, draft.reasons
        self.certificates[write_certificate(self.store, draft).id] = backup_id
        note_strike(Kind.HISTORY, "a history in any order", "a rehearsal")

    @precondition(lambda self: self.versions < VERSIONS)
    @rule(chance=CHANCE, fails=st.booleans(), stays=st.booleans())
    def roll_out(self, chance: Random, fails: bool, stays: bool) -> None:  # noqa: FBT001 - Hypothesis chooses
        """To a canary first; where it fails there, the database is not touched. What is regretted is taken back."""
        last, canary = chance.randint(self.versions + 1, VERSIONS), f"{self.name}_canary"
        self.rollouts += 1
        with self.control() as control:
            copy = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
            control.execute(copy.format(sql.Identifier(canary), sql.Identifier(self.name)))
        order = self.order(last, canary)
        first, second = order.fleet.targets
        with connect(self.world.access, canary, purpose="test") as session:
            if fails:
                session.execute(f"ALTER TABLE ledger ADD COLUMN c{last} int".encode())
            before = digest_database(session)
            begin_rollout(session, _row(order))
            (done,) = apply_to_targets(order, [first], max_failures=0, environ={})
            assert done.verdict is (ApplyVerdict.FAILED if fails else ApplyVerdict.APPLIED), done
            if fails:
                note_taking_back(session, order.rollout_id, stage="all", why="it failed")
                take_back_from_targets(order, [first], environ={})
                assert compare_digests(before, digest_database(session)).is_equal
                note_strike(Kind.HISTORY, "a history in any order", "a rollout fails at its canary")
            else:
                self._reach(order, second, last, stays=stays)
            end_rollout(session, order.rollout_id, "done")
            assert find_rollout(session, "shops") is None
        with self.control() as control:
            drop_databases(control, canary)

    def _reach(self, order: RolloutOrder, target: FleetTarget, last: int, *, stays: bool) -> None:
        (done,) = apply_to_targets(order, [target], max_failures=0, environ={})
        assert done.verdict is ApplyVerdict.APPLIED, done
        if stays:
            self.versions = last
        else:
            (back,) = take_back_from_targets(order, [target], environ={})
            assert (back.verdict, len(back.versions)) == (ApplyVerdict.TAKEN_BACK, last - self.versions), back
            assert compare_digests(self.expected, self.digest()).is_equal
        self.expected = self.digest()

    @rule(chance=CHANCE, what=st.sampled_from(["DELETE FROM ledger", "UPDATE ledger SET amount = -amount"]))
    def undo(self, chance: Random, what: str) -> None:
        """What somebody did to rows is undone by the change log; what others wrote meanwhile stays."""
        ledger = (("public", "ledger"),)
        with self.session() as session:
            query = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'ledger'::regclass AND NOT tgisinternal"
            if session.execute(query).fetchone() != (0,):  # logged with the columns of then
                disable(session, self.target, ledger, on_wait=print)
            enable(session, self.target, ledger, on_wait=print)
            since = mark(session)
            session.execute(f"{what} WHERE id % {chance.randint(1, 5)} = 0".encode())
            (number,) = session.execute("SELECT max(xid::text::bigint) FROM squizzle_log.change").fetchone() or (None,)
            touched = session.execute("SELECT count(*) FROM squizzle_log.change WHERE id > %s", (since.position,))
            is_much = touched.fetchone() != (0,)
            self.others += 1
            session.execute("INSERT INTO ledger (id, amount) VALUES (%s, 0)", (1_000_000 + self.others,))
            if is_much:
                request = UndoRequest(tables=(("public", "ledger"),), since=since, transactions=(number,))
                report = undo_changes(session, self.target, request, on_wait=print)
                assert (report.changes > 0, report.conflict_count) == (True, 0)
            session.execute("DELETE FROM ledger WHERE id = %s", (1_000_000 + self.others,))
        before, self.expected = self.expected, self.digest()
        # The log itself has more rows than before.
        assert _rows_of_ledger(before) == _rows_of_ledger(self.expected)
        note_strike(Kind.HISTORY, "a history in any order", "an undo", cell=what)

    # What must hold after each of them

    @invariant()
    def nothing_is_left_over(self) -> None:
        assert self.databases() == self.around | {self.name}

    @invariant()
    def what_was_proven_is_known_as_long_as_its_backup_is_there(self) -> None:
        found = {one.id: one.backup_id for one in read_certificates(self.store).found}
        assert found == {one: of for one, of in self.certificates.items() if of in self.saved}
        assert check_certificates(self.store).problems == ()

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
    def rehearsable(self) -> list[str]:
        """The backups that have the versions which the database has."""
        return [one for one, (_, versions) in sorted(self.saved.items()) if versions == self.versions]

    @property
    def scratch(self) -> ScratchPlace:
        """The same server: it has room, and is told apart by names."""
        return ScratchPlace(server=self.world.access)

    def order(self, last: int, canary: str) -> RolloutOrder:
        server = FleetServer(name="one", url=url_of(self.world.access, "postgres"))
        targets = tuple(FleetTarget(name=name, server="one", database=name) for name in (canary, self.name))
        return RolloutOrder(
            rollout_id=f"r{self.rollouts}",
            fleet=Fleet(name="shops", environment="testing", servers={"one": server}, targets=targets),
            migrations=tuple(self.migrations),
            versions=tuple(f"{number:04}" for number in range(self.versions + 1, last + 1)),
        )

    def databases(self) -> set[str]:
        with self.control() as control:
            return databases(control)

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


def _rows_of_ledger(digest: DatabaseDigest) -> tuple[int, str]:
    (found,) = (one for one in digest.tables if one.table == "public.ledger")
    return found.rows, found.digest


def _row(order: RolloutOrder) -> RolloutRow:
    return RolloutRow(
        id=order.rollout_id,
        fleet="shops",
        versions=planned_versions([one for one in order.migrations if one.version in order.versions]),
        stage_of={one.name: "all" for one in order.fleet.targets},
        started_at=NOW,
        started_by="ann",
    )


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
