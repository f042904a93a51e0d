"""Every disaster, with what it tests taken away: the drill must fail, and say why. That it passes: `make drill`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TypeVar

import pytest
from prefect import flow
from pydantic import SecretStr

from blocks import BackupFolder, PostgresDatabase
from flows.run_drill import make_base, play_disaster
from squizzle.backups.catalogue import known_backups, read_catalogue
from squizzle.backups.records import Backup
from squizzle.drills.records import DrillReport, DrillScenario, DrillVerdict
from squizzle.drills.scenarios import SCENARIOS
from squizzle.health.records import LockPicture
from squizzle.health.release_plan import ReleasePolicy
from squizzle.postgres.access import Connection
from squizzle.postgres.embedded import drill_settings, find_runtime, throwaway_cluster
from squizzle.proof.digests import compare_digests
from squizzle.proof.records import Comparison, DatabaseDigest
from tasks.backups import damage_backup
from tasks.drill_costs import DrillCosts
from tasks.drilling import Base
from tasks.scratch import DrillServer, drill_place, drill_server

SMALL = 0.02
SOON = timedelta(seconds=0.5)


R = TypeVar("R")


def in_a_flow(work: Callable[[], R]) -> R:
    """Do something as a flow does it."""

    @flow(name="one disaster")
    def carry_out() -> R:
        return work()

    return carry_out()


@dataclass(frozen=True)
class Drills:
    """A server with the example company, on which disasters are played one after the other."""

    on: DrillServer
    base: Base

    def play(self, scenario: DrillScenario) -> DrillReport:
        """Play one; nothing of it stays."""
        play = partial(play_disaster, self.on, self.base, SCENARIOS[scenario], secrets.token_hex(4), (), DrillCosts())
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
]


def fails(drills: Drills, case: tuple[DrillScenario, Callable[[Patch], None], str], patch: Patch) -> None:
    scenario, take_away, why = case
    patch.setattr("tasks.drilling.PATIENCE", SOON)
    take_away(patch)

    report = drills.play(scenario)

    assert report.verdict is DrillVerdict.FAIL
    assert any(why in reason for reason in report.reasons), report.reasons


def names(cases: list[tuple[DrillScenario, Callable[[Patch], None], str]]) -> list[str]:
    return [f"{scenario.value}-{take_away.__name__}" for scenario, take_away, _ in cases]


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
