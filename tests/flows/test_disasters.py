"""Every disaster, with what it tests taken away: the drill must fail, and say why. That it passes: `make drill`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from prefect import flow
from pydantic import SecretStr

from blocks import BackupFolder, PostgresDatabase
from flows.run_drill import make_base, play_disaster
from flows.undo_wrong_environment import take_back_mishap
from squizzle.backups.catalogue import known_backups, read_catalogue
from squizzle.backups.records import Backup
from squizzle.drills.records import DrillReport, DrillScenario, DrillVerdict
from squizzle.drills.sabotage import write_migration
from squizzle.drills.scenarios import SCENARIOS, UNTOUCHED
from squizzle.errors import RefusedError
from squizzle.health.records import LockPicture
from squizzle.health.release_plan import Ending, Method, ReleasePlan, ReleasePolicy, plan_release
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.embedded import drill_settings, find_runtime, throwaway_cluster
from squizzle.postgres.identity import ExpectedIdentity, ensure_identity
from squizzle.proof.comparison import compare_digests
from squizzle.proof.records import Comparison, DatabaseDigest
from squizzle.recovery.evidence import EvidenceBook
from squizzle.recovery.fence import session_through_fence
from squizzle.recovery.fences.records import FenceStatus
from squizzle.reports.wrong_environment import MishapReport
from tasks.backups import damage_backup
from tasks.drill_costs import DrillCosts
from tasks.drilling import Base
from tasks.fencing import look_at_fences
from tasks.recovery_case import RecoveryCase
from tasks.scratch import DrillServer, drill_place, drill_server
from tasks.sources import FenceSource
from tasks.steps import keep_journal, watched_by
from tasks.surroundings import Bystander
from tests.flows.conftest import behind
from tests.support.wal import SYSTEM, take_over, write_segment

SMALL = 0.02
SOON = timedelta(seconds=0.5)


R = TypeVar("R")


def in_a_flow(work: Callable[[], R]) -> R:
    """Do something as a flow does it."""

    @flow(name="one disaster")
    def carry_out() -> R:
        with keep_journal():
            return work()

    return carry_out()


@dataclass(frozen=True)
class Drills:
    """A server with the example company, on which disasters are played one after the other."""

    on: DrillServer
    base: Base

    def play(self, scenario: DrillScenario, *around: Bystander) -> DrillReport:
        """Play one; nothing of it stays."""
        one = SCENARIOS[scenario]
        play = partial(play_disaster, self.on, self.base, one, secrets.token_hex(4), around, DrillCosts())
        report: DrillReport = in_a_flow(partial(play, scale=SMALL, seed=1))
        assert report.leftovers == ()
        return report


@pytest.fixture(scope="module")
def drills(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drills]:
    """One server and one base for all."""
    runtime = find_runtime()
    settings = drill_settings(runtime.major, throwaway=True) | {"shared_preload_libraries": "pg_stat_statements"}
    with throwaway_cluster("disasters", settings=settings, runtime=runtime) as address:
        server = PostgresDatabase(
            host=address.host,
            port=address.port,
            database="postgres",
            user=address.user,
            password=SecretStr(address.read_password()),
            environment="testing",
        )
        store = BackupFolder(path=tmp_path_factory.mktemp("drills") / "backups")
        with drill_server(server=server, store=store) as on, drill_place(on, secrets.token_hex(4)) as place:
            yield Drills(on=on, base=in_a_flow(partial(make_base, place, SMALL)))


Patch = pytest.MonkeyPatch


def blind_fingerprints(patch: Patch) -> None:
    """The comparison finds everything as it was."""

    def compare(steady: DatabaseDigest, _found: DatabaseDigest) -> Comparison:
        return compare_digests(steady, steady)

    patch.setattr("tasks.drilling.compare_digests", compare)


def blind_probe(patch: Patch) -> None:
    """Sessions are seen, and nobody who waits."""
    from squizzle.health.reading import read_locks  # noqa: PLC0415 - the one that is replaced

    def see(connection: Connection) -> LockPicture:
        return replace(read_locks(connection), waits=())

    patch.setattr("tasks.drilling.read_locks", see)


def everybody_is_spared(patch: Patch) -> None:
    """The remedy ends nobody."""
    policy = ReleasePolicy(idle_longer_than=timedelta(), waiting_longer_than=timedelta(), spare=("*",))
    patch.setattr("flows.disasters.locked_database.POLICY", policy)
    patch.setattr("flows.disasters.locked_database.PATIENCE", SOON)


def no_baseline(patch: Patch) -> None:
    """Nobody noted what queries cost when all was well."""
    patch.setattr("flows.disasters.performance_degradation.note_query_costs", lambda *_args, **_kwargs: None)


def same_identity(patch: Patch) -> None:
    """A copy says that it is what it was copied of."""
    from squizzle.postgres.identity import read_identity  # noqa: PLC0415 - beside the one that is replaced

    def keep(connection: Connection, *_args: object, **_kwargs: object) -> object:
        return read_identity(connection)

    patch.setattr("tasks.scratch.renew_identity", keep)


def every_backup_is_broken(patch: Patch) -> None:
    """The older backup is as broken as the newest."""

    def damage(store: BackupFolder, _newest: Backup) -> None:
        for known in known_backups(read_catalogue(store.open())):
            if not any(known.backup.id == one for one in _damaged):
                damage_backup.__wrapped__(store, known.backup)  # type: ignore[attr-defined]
                _damaged.append(known.backup.id)

    _damaged: list[str] = []
    patch.setattr("flows.disasters.cascading_failure.damage_backup", damage)


def nobody_is_fenced(patch: Patch) -> None:
    """The recovery looks at the fence and does not put it up: its switch-over alone lets nobody in, and nobody lets in."""

    def look(database: PostgresDatabase, applications: Sequence[FenceSource], **_hold: str) -> tuple[FenceStatus, ...]:
        return look_at_fences(database, applications)

    patch.setattr("flows.recover.put_up_fences", look)
    patch.setattr("flows.disasters.cascading_failure.PATIENCE", SOON)


def nobody_is_let_in(patch: Patch) -> None:
    """The recovery forgets to take the fence down."""

    def look(database: PostgresDatabase, applications: Sequence[FenceSource], **_hold: str) -> tuple[FenceStatus, ...]:
        return look_at_fences(database, applications)

    patch.setattr("flows.recover.take_down_fences", look)
    patch.setattr("flows.disasters.cascading_failure.PATIENCE", SOON)


def script_is_believed(patch: Patch) -> None:
    """A down script that ran is taken for a way back, and nobody compares."""

    def believe(_case: RecoveryCase, book: EvidenceBook, backup: Backup, **_only: object) -> str:
        book.note(verified=f"the script for {backup.id} has run")
        return ""

    patch.setattr("flows.ways_back._compare_row_by_row", believe)


def restore_loses_a_row(patch: Patch) -> None:
    """What is restored is not what was saved; only the comparison of the copy can tell."""
    from squizzle.recovery.restore import restore_beside  # noqa: PLC0415 - the one that is replaced

    def lose(access: ServerAccess, *given: Any, into: str, **more: Any) -> None:
        restore_beside(access, *given, into=into, **more)
        with session_through_fence(access, into, purpose="test") as session:
            session.execute("DELETE FROM reviews WHERE ctid = (SELECT min(ctid) FROM reviews)")

    patch.setattr("tasks.recovery.restore_beside", lose)


def everybody_is_ended(patch: Patch) -> None:
    """The remedy ends whoever waits, too."""

    def plan(picture: LockPicture, policy: ReleasePolicy) -> ReleasePlan:
        found = plan_release(picture, policy)
        ended = {one.session.pid for one in found.endings}
        waiting = {one.pid for one in picture.waits} - ended
        more = [
            Ending(session=one, method=Method.TERMINATE, or_terminate=False, reason="it waits")
            for one in picture.sessions
            if one.pid in waiting
        ]
        return replace(found, endings=(*found.endings, *more))

    patch.setattr("flows.release_locks.plan_release", plan)
    patch.setattr("flows.disasters.locked_database.PATIENCE", SOON)


def script_brings_nothing_back(name: str) -> Callable[[Patch], None]:
    """The down script of a disaster runs and does nothing."""

    def take_away(patch: Patch) -> None:
        def write(folder: Path, *, up: str, **more: Any) -> Path:
            return write_migration(folder, up=up, **(more | {"down": "SELECT 1"}))

        patch.setattr(f"flows.disasters.{name}.write_migration", write)

    take_away.__name__ = "script_brings_nothing_back"
    return take_away


def identity_is_not_compared(patch: Patch) -> None:
    """Whoever names a database by its environment is believed."""
    patch.setattr("squizzle.migrations.operations.check_identity", lambda *_args, **_kwargs: None)
    patch.setattr("squizzle.migrations.session.check_identity", lambda *_args, **_kwargs: None)
    patch.setattr("squizzle.postgres.identity.check_identity", lambda *_args, **_kwargs: None)


def right_one_is_forgotten(patch: Patch) -> None:
    """The wrong database is put right, and the migration is not applied where it belongs."""

    def take_back(*given: Any, then_apply: bool, **more: Any) -> MishapReport:
        assert then_apply
        return take_back_mishap(*given, then_apply=False, **more)

    patch.setattr("flows.disasters.wrong_environment.take_back_mishap", take_back)


CASES: list[tuple[DrillScenario, Callable[[Patch], None], str]] = [
    (DrillScenario.LOCKED_DATABASE, blind_probe, "the disaster was not noticed by the tree of who waits for whom"),
    (DrillScenario.WRONG_ENVIRONMENT, same_identity, "the disaster was not noticed by the comparison of histories"),
]
LONG_CASES: list[tuple[DrillScenario, Callable[[Patch], None], str]] = [
    (DrillScenario.CORRUPTED_MIGRATION, blind_fingerprints, "the disaster was not noticed by the comparison of every"),
    (DrillScenario.DATA_LOSS, blind_fingerprints, "the disaster was not noticed by the comparison of every table"),
    (DrillScenario.LOCKED_DATABASE, everybody_is_spared, "it is not so that the forgotten transaction was ended"),
    (DrillScenario.PERFORMANCE_DEGRADATION, no_baseline, "the disaster was not noticed by the comparison of queries"),
    (DrillScenario.CASCADING_FAILURE, every_backup_is_broken, "no way back is left"),
    (DrillScenario.CASCADING_FAILURE, nobody_is_fenced, "it is not so that clients come back by themselves"),
    (DrillScenario.CASCADING_FAILURE, nobody_is_let_in, "it is not so that clients come back by themselves"),
    (DrillScenario.CORRUPTED_MIGRATION, script_is_believed, "the restored copy was not compared with the backup"),
    (DrillScenario.DATA_LOSS, restore_loses_a_row, "the restored copy is not what was saved"),
    (DrillScenario.LOCKED_DATABASE, everybody_is_ended, "it is not so that the forgotten transaction was ended"),
    (
        DrillScenario.PERFORMANCE_DEGRADATION,
        script_brings_nothing_back("performance_degradation"),
        "it is not so that every index and every other definition is as it was",
    ),
    (
        DrillScenario.WRONG_ENVIRONMENT,
        script_brings_nothing_back("wrong_environment"),
        "it is not so that the schema of the wrong database is as it was before",
    ),
    (DrillScenario.WRONG_ENVIRONMENT, right_one_is_forgotten, "it is not so that the migration is applied where it"),
    (DrillScenario.WRONG_ENVIRONMENT, identity_is_not_compared, "it is not so that the same is refused where somebody"),
]


def fails(drills: Drills, case: tuple[DrillScenario, Callable[[Patch], None], str], patch: Patch) -> None:
    scenario, take_away, why = case
    patch.setattr("tasks.drilling.PATIENCE", SOON)
    take_away(patch)

    report = drills.play(scenario)

    # Where nobody looked, nothing is said: that is no pass either.
    nobody_looked = take_away is script_is_believed
    assert report.verdict is (DrillVerdict.COULD_NOT_VERIFY if nobody_looked else DrillVerdict.FAIL)
    assert any(why in reason for reason in report.reasons), report.reasons


def names(cases: list[tuple[DrillScenario, Callable[[Patch], None], str]]) -> list[str]:
    return [f"{scenario.value}-{take_away.__name__}" for scenario, take_away, _ in cases]


def test_rows_of_a_partitioned_table_that_a_migration_spoiled_are_brought_back_though_its_down_script_ran(
    drills: Drills,
) -> None:
    """The down script takes nothing back; only the comparison with the backup, table by table, can tell."""
    report = drills.play(DrillScenario.CORRUPTED_MIGRATION)

    assert report.verdict is DrillVerdict.PASS, report.reasons
    assert report.recovered_by == "restore_beside"


@pytest.mark.parametrize("case", CASES, ids=names(CASES))
def test_a_drill_fails_without_what_it_tests(
    drills: Drills, case: tuple[DrillScenario, Callable[[Patch], None], str], monkeypatch: Patch
) -> None:
    fails(drills, case, monkeypatch)


@pytest.mark.chaos
@pytest.mark.parametrize("case", LONG_CASES, ids=names(LONG_CASES))
def test_a_long_drill_fails_without_what_it_tests(
    drills: Drills, case: tuple[DrillScenario, Callable[[Patch], None], str], monkeypatch: Patch
) -> None:
    fails(drills, case, monkeypatch)


def test_a_drill_that_touched_production_or_its_archive_fails(drills: Drills, tmp_path: Path) -> None:
    """A recovery that went to the wrong database, and a copy of production that archives into production's archive."""
    production = drills.on.server.model_copy(update={"database": "precious"})
    store = BackupFolder(path=tmp_path / "store")
    archived = tmp_path / "archived"
    archived.mkdir()
    write_segment(archived, 1)
    take_over(archived, store.path, SYSTEM)
    with connect(drills.on.server.access(), "postgres", purpose="test") as control:
        control.execute("CREATE DATABASE precious")
    with connect(production.access(), "precious", purpose="test") as session:
        session.execute("CREATE TABLE account AS SELECT 1 AS id")

    def touch() -> None:
        with connect(production.access(), "precious", purpose="test") as session:
            session.execute("UPDATE account SET id = 2")
        write_segment(archived, 2, timeline=2)
        take_over(archived, store.path, SYSTEM)

    with watched_by(behind("Choose what is broken", touch)):
        report = drills.play(DrillScenario.LOCKED_DATABASE, Bystander(server=production, store=store))

    assert report.verdict is DrillVerdict.FAIL
    (reason,) = report.reasons
    assert reason.startswith(f"it is not so that {UNTOUCHED}: ")
    assert "precious: public.account" in reason
    assert f"is new in the archive of {SYSTEM}: a timeline that was not there" in reason


def test_no_drill_begins_on_a_server_that_says_it_is_production(drills: Drills, tmp_path: Path) -> None:
    """Whatever the block says of it; the block itself: tests/flows/test_run_drill.py."""
    server = drills.on.server
    with connect(server.access(), "postgres", purpose="test") as control:
        control.execute("CREATE DATABASE production_too")
    named = server.model_copy(update={"database": "production_too"})
    with connect(server.access(), "production_too", purpose="test") as session:
        ensure_identity(session, ExpectedIdentity(environment="production"), database="production_too")

    for environment in ("production", "testing"):
        block = named.model_copy(update={"environment": environment})
        with (
            pytest.raises(RefusedError, match="production"),
            drill_server(server=block, store=BackupFolder(path=tmp_path)),
        ):
            raise AssertionError("a drill began there")
