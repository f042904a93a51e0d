"""A suite of mutations: every planted defect is told by name, and a good migration raises no alarm (docs/detection.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest
from psycopg import sql

from squizzle.backups.folder_store import FolderStore
from squizzle.backups.order import Order
from squizzle.backups.records import BackupKind
from squizzle.backups.taking import take_backup
from squizzle.migrations.records import Migration, Policy
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.embedded import ServerAddress
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import find_programs
from squizzle.recovery.scratch_copy import ScratchPlace
from squizzle.recovery.ways import Way
from squizzle.rehearsal.half_way import HALF_WAY_WELL, half_way_problem
from squizzle.rehearsal.place import PlaceOrder, RehearsalPlace, rehearsal_place
from squizzle.rehearsal.records import Certificate, CertificateVerdict, ProvenWay
from squizzle.rehearsal.rehearse import draft_certificate, plan_rehearsal, rehearse_version
from squizzle.rehearsal.version_run import Course, apply_earlier
from squizzle.rehearsal.ways import measure_ways
from tests.integration.conftest import access_to
from tests.support.detection_page import PAGE, detection_page
from tests.support.planted import BEFORE, DEFECTS, GOOD, VERSION, Defect, apart, migration_of, together
from tests.support.scratch import new_database


class Certify(Protocol):
    """Rehearses one migration."""

    def __call__(
        self, migration: Migration, *, budget: timedelta = timedelta(minutes=1), may_grow: frozenset[str] = frozenset()
    ) -> Certificate: ...


@pytest.fixture(scope="module")
def server(servers: Callable[[str], ServerAddress]) -> ServerAccess:
    """One server is enough: what is told apart here are schemas and rows, not servers."""
    return access_to(servers("embedded"))


@pytest.fixture(scope="module")
def source(server: ServerAccess) -> Iterator[str]:
    """The database before the migration."""
    template = sql.SQL("TEMPLATE template0")
    with connect(server, "postgres", purpose="test") as control, new_database(control, template) as name:
        with connect(server, name, purpose="test") as session:
            session.execute(BEFORE)
        yield name
        control.execute("DROP ROLE IF EXISTS planted_role_that_is_left")


@pytest.fixture(scope="module")
def place(server: ServerAccess, source: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RehearsalPlace]:
    """Its backup, restored on the same server."""
    store = FolderStore(tmp_path_factory.mktemp("store"))
    programs = find_programs(explicit=None, server_major=18)
    order = Order(access=server, target=Target(database=source), store=store, kind=BackupKind.FULL, programs=programs)
    backup = take_backup(order, suffix="aaaaaa")
    with rehearsal_place(
        PlaceOrder(store=store, backup=backup, database=source, by="test", scratch=ScratchPlace(server=server))
    ) as opened:
        yield opened


@pytest.fixture(scope="module")
def ways(place: RehearsalPlace) -> tuple[ProvenWay, ...]:
    return measure_ways(place)


@pytest.fixture(scope="module")
def certify(server: ServerAccess, source: str, place: RehearsalPlace, ways: tuple[ProvenWay, ...]) -> Certify:

    with connect(server, source, purpose="test", read_only=True) as session:
        plan = plan_rehearsal(session, Target(database=source), [GOOD])

    def rehearse(
        migration: Migration, *, budget: timedelta = timedelta(minutes=1), may_grow: frozenset[str] = frozenset()
    ) -> Certificate:
        course = Course(
            place=place,
            schema="public",
            migrations=(migration,),
            policy=Policy(),
            budget=budget,
            may_grow=may_grow,
        )
        with place.fresh() as work:
            before = apply_earlier(course, work, ())
            result = rehearse_version(course, work, VERSION, earlier=(), before=before)
        return draft_certificate(plan, course, result, ways, by="test", now=datetime.now(UTC))

    return rehearse


def check(certificate: Certificate, *defects: Defect) -> None:
    for defect in defects:
        assert any(defect.told in reason for reason in certificate.reasons), (defect.name, certificate.reasons)
        assert certificate.verdict is defect.verdict


@pytest.mark.parametrize("group", together(), ids=lambda group: f"{len(group)} defects")
def test_planted_defects_are_each_told_by_name(group: tuple[Defect, ...], certify: Certify) -> None:
    up = ";\n".join(one.up for one in group)
    down = ";\n".join(one.down or "" for one in reversed(group))

    check(certify(migration_of(up, down)), *group)


@pytest.mark.parametrize("defect", apart(), ids=[one.name for one in apart()])
def test_a_planted_defect_that_needs_a_rehearsal_of_its_own_is_told(defect: Defect, certify: Certify) -> None:
    never_ends = defect.verdict is CertificateVerdict.INCONCLUSIVE

    check(certify(defect.migration, budget=timedelta(seconds=1 if never_ends else 60)), defect)


@pytest.mark.exhaustive
def test_every_planted_defect_alone_is_told_and_the_page_says_how(certify: Certify, project_root: Path) -> None:
    told = []
    for defect in DEFECTS:
        budget = timedelta(seconds=3 if defect.verdict is CertificateVerdict.INCONCLUSIVE else 60)
        certificate = certify(defect.migration, budget=budget)
        check(certificate, defect)
        told.append((defect, next(reason for reason in certificate.reasons if defect.told in reason)))
    (project_root / PAGE).write_text(detection_page(told), encoding="utf-8")


def test_a_good_migration_raises_no_alarm(certify: Certify) -> None:
    certificate = certify(GOOD)

    assert (certificate.verdict, certificate.reasons) == (CertificateVerdict.PROVEN, ())
    assert certificate.rollback.is_exact
    assert certificate.again is not None
    assert certificate.notes == ()
    assert all(way.executed and way.complete for way in certificate.ways if way.way is not Way.POINT_IN_TIME)


def test_a_log_may_grow_where_it_is_named_and_lose_nothing(certify: Certify) -> None:
    logs = migration_of(
        "INSERT INTO public.events VALUES (51, '2025-05-01')",
        "DELETE FROM public.orders WHERE id = 400; INSERT INTO public.events VALUES (52, '2025-05-01')",
    )
    certificate = certify(logs, may_grow=frozenset({"public.events_2025", "public.orders"}))

    (reason,) = certificate.reasons
    assert "public.orders: 1 rows missing, such as (400)" in reason
    assert certificate.verdict is CertificateVerdict.FAILED
    assert any("a log that may grow: public.events_2025: 2 rows unexpected" in note for note in certificate.notes)


def test_a_version_that_goes_by_share_of_its_rows_is_taken_back_half_way_too(certify: Certify) -> None:
    mark = "-- squizzle: batch key=id pause=0ms\n"
    change = f"{mark}UPDATE public.orders SET total = total + 1"  # noqa: S608 - a literal
    well = migration_of(
        f"ALTER TABLE public.orders ADD COLUMN a int;\n{change.replace('total', 'a')}",
        "ALTER TABLE public.orders DROP COLUMN a",
    )
    # It cannot tell which rows were changed, and it needs what comes behind them.
    wrong = migration_of(change, "UPDATE public.orders SET total = total - 1")
    missing = migration_of(
        f"{change};\nCREATE INDEX later ON public.orders (total)",
        "DROP INDEX public.later; UPDATE public.orders SET total = total - 1",
    )

    notes = [certify(one).notes for one in (well, wrong, missing)]

    assert notes[0] == (HALF_WAY_WELL,)
    assert half_way_problem(notes[0]) is None
    assert "public.orders: 400 rows, but not the same ones" in (half_way_problem(notes[1]) or "")
    assert 'index "later" does not exist' in (half_way_problem(notes[2]) or "")
