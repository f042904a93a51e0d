"""The map of locks, measured anew on each server, and what is told from it, from the text alone and with the catalogue."""

from __future__ import annotations

import pytest

from lockmap.probe import Run, as_map, measure
from squizzle.analysis.locks.forecast import predict_locks
from squizzle.analysis.locks.kin import Kin
from squizzle.analysis.locks.lock_map import LockMap, lock_map, write_map
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Forecast, RelationName
from squizzle.analysis.locks.shapes import Kind
from squizzle.analysis.locks.side import Surroundings, side_locks, with_locks
from squizzle.analysis.statements import split_statements
from squizzle.postgres.access import ServerAccess, connect


@pytest.fixture(scope="module")
def major(access: ServerAccess) -> int:
    with connect(access, "postgres", purpose="test") as connection:
        return connection.info.server_version // 10000


@pytest.fixture(scope="module")
def measured(access: ServerAccess) -> tuple[tuple[Run, ...], Kin]:
    return measure(access)


@pytest.fixture(scope="module")
def runs(measured: tuple[tuple[Run, ...], Kin]) -> list[Run]:
    """Those whose locks were all seen: at the end of a transaction."""
    return [run for run in measured[0] if run.probe.transactional and not run.measured.refused]


def forecast_of(run: Run, found: LockMap) -> Forecast:
    return predict_locks(*split_statements(run.statement, source="case"), found)


def said(run: Run) -> str:
    return f"{run.statement} on {run.kind}"


def test_the_committed_map_is_what_this_server_does(measured: tuple[tuple[Run, ...], Kin], major: int) -> None:
    committed = lock_map(major)
    assert committed.major == major, f"no map of PostgreSQL {major}: run make lockmap"
    assert write_map(as_map(measured[0], major)).split("\n") == write_map(committed).split("\n")


def test_what_the_text_tells_is_locked_in_that_mode(
    measured: tuple[tuple[Run, ...], Kin], runs: list[Run], major: int
) -> None:
    wrong = {}
    for run in runs:
        observed = {lock.relation.name: lock.mode for lock in run.observed}
        forecast = forecast_of(run, lock_map(major))
        for lock in forecast.locks:
            relation = measured[1].find(RelationName(schema="public", name=lock.relation.name))
            assert relation is not None, said(run)
            # A lock on an index is told by that of its table, unless it keeps readers out and the table's does not.
            is_seen = not relation.is_index or lock.relation.name in observed
            if is_seen and observed.get(lock.relation.name) is not lock.mode:
                wrong[said(run), str(lock.relation)] = (lock.mode, observed.get(lock.relation.name))
    assert wrong == {}


def test_what_the_text_does_not_tell_is_said_to_be_open(runs: list[Run], major: int) -> None:
    silent = []
    for run in runs:
        forecast = forecast_of(run, lock_map(major))
        unforeseen = [lock for lock in forecast.unforeseen(run.observed) if lock.mode.blocks_writes]
        # Whether a table has partitions or children a text never tells.
        if unforeseen and forecast.complete and run.kind is Kind.PLAIN:
            silent.append((said(run), unforeseen))
    assert silent == []


def test_text_and_catalogue_together_tell_every_lock(
    measured: tuple[tuple[Run, ...], Kin], runs: list[Run], major: int
) -> None:
    kin = measured[1]
    wrong = {}
    for run in runs:
        forecast = forecast_of(run, lock_map(major))
        foreseen = with_locks(forecast, side_locks(forecast, Surroundings(kin=kin, measured=lock_map(major))), kin)
        told = {lock.relation.name: lock.mode for lock in foreseen.locks if counts(lock.relation, lock.mode, kin)}
        observed = {lock.relation.name: lock.mode for lock in run.observed if counts(lock.relation, lock.mode, kin)}
        told = {name: mode for name, mode in told.items() if not is_hidden(name, told, kin)}
        if told != observed:
            wrong[said(run)] = (told, observed)
    assert wrong == {}


def counts(relation: RelationName, mode: LockMode, kin: Kin) -> bool:
    found = kin.find(relation)
    is_index = found is not None and found.is_index
    return mode.strength > LockMode.ROW_EXCLUSIVE.strength and (not is_index or mode is LockMode.ACCESS_EXCLUSIVE)


def is_hidden(name: str, told: dict[str, LockMode], kin: Kin) -> bool:
    """An index whose table is locked in the strongest mode, too."""
    found = kin.find(RelationName(name=name))
    if found is None or found.index_of is None:
        return False
    return told.get(kin.relations[found.index_of].name.name) is LockMode.ACCESS_EXCLUSIVE


def test_a_side_lock_says_why(measured: tuple[tuple[Run, ...], Kin], major: int) -> None:
    def sentences(statement: str) -> list[str]:
        forecast = predict_locks(*split_statements(statement, source="case"), lock_map(major))
        around = Surroundings(kin=measured[1], measured=lock_map(major))
        return [one.sentence() for one in side_locks(forecast, around)]

    assert sentences("ALTER TABLE t DROP COLUMN u_id") == ["public.t_u ACCESS EXCLUSIVE (foreign key t_u_fk)"]
    assert sentences("DROP INDEX t_a") == ["public.t ACCESS EXCLUSIVE (the table of the index t_a)"]
    assert sentences("ALTER TABLE ONLY p ALTER a SET DEFAULT 1") == []
    assert sentences("DROP TABLE d1") == ["public.d ACCESS EXCLUSIVE (public.d1 is its partition)"]
    assert sentences("DROP TABLE nowhere") == []
