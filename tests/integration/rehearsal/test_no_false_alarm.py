"""Migrations that are right raise no alarm: the example's own, on its rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from psycopg import sql

from squizzle.backups.folder_store import FolderStore
from squizzle.backups.order import Order
from squizzle.backups.records import BackupKind
from squizzle.backups.taking import take_backup
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.operations import roll_back_versions
from squizzle.migrations.records import Policy
from squizzle.postgres.access import connect
from squizzle.postgres.embedded import ServerAddress
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import find_programs
from squizzle.recovery.scratch_copy import ScratchPlace
from squizzle.rehearsal.place import PlaceOrder, rehearsal_place
from squizzle.rehearsal.records import CertificateVerdict
from squizzle.rehearsal.rehearse import draft_certificate, plan_rehearsal, rehearse_version
from squizzle.rehearsal.version_run import Course, apply_earlier
from squizzle.rehearsal.ways import measure_ways
from tests.integration.conftest import access_to
from tests.support.scratch import new_database
from tests.support.shop import SHOP, load_shop


def test_a_column_that_is_split_is_proven_and_what_stays_filled_is_explained(
    servers: Callable[[str], ServerAddress], tmp_path: Path
) -> None:
    access, store = access_to(servers("embedded")), FolderStore(tmp_path)
    migrations = read_migrations(SHOP / "migrations")
    told: dict[str, tuple[str, ...]] = {}
    with (
        connect(access, "postgres", purpose="test") as control,
        new_database(control, sql.SQL("TEMPLATE template0")) as shop,
    ):
        load_shop(access, shop, scale=0.01)
        target = Target(database=shop)
        with connect(access, shop, purpose="test") as session:
            roll_back_versions(session, target, migrations, to="0010")
            plan = plan_rehearsal(session, target, migrations)
        programs = find_programs(explicit=None, server_major=18)
        order = Order(access=access, target=target, store=store, kind=BackupKind.FULL, programs=programs)
        backup = take_backup(order, suffix="aaaaaa")
        place_order = PlaceOrder(
            store=store, backup=backup, database=shop, by="test", scratch=ScratchPlace(server=access)
        )
        with rehearsal_place(place_order) as place:
            ways = measure_ways(place)
            course = Course(
                place=place, schema="public", migrations=migrations, policy=Policy(), budget=timedelta(minutes=5)
            )
            with place.fresh() as work:
                before = apply_earlier(course, work, ())
                for number, version in enumerate(plan.versions):
                    earlier = plan.versions[:number]
                    result = rehearse_version(course, work, version, earlier=earlier, before=before)
                    certificate = draft_certificate(plan, course, result, ways, by="test", now=datetime.now(UTC))
                    assert certificate.verdict is CertificateVerdict.PROVEN, certificate.reasons
                    assert certificate.notes == ()
                    told[version] = certificate.reasons
                    assert result.after is not None
                    before = result.after
    assert told["0011"] == ()
    # It fills columns, and says in its down script that what it filled stays filled.
    *filled, instead = told["0012"]
    assert filled
    assert all("public.users" in reason and "family_name" in reason for reason in filled)
    assert instead.startswith("swapping in a prepared copy brings everything back")
