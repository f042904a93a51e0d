"""Where a rehearsal happens: the copy is the backup's, nobody else's, and gone afterwards."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from psycopg import sql

from squizzle.backups.dump import take_dump
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.notes import read_notes
from squizzle.backups.proofs import ProofKind, Verdict
from squizzle.backups.records import SIZE_DETAIL, Backup, BackupKind
from squizzle.errors import BackupDamagedError, ConnectionFailedError, CouldNotVerifyError, InvalidInputError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.embedded import drill_settings, throwaway_cluster
from squizzle.postgres.embedded.base_folder import safe_base
from squizzle.postgres.programs import ClientPrograms
from squizzle.postgres.scratch_server import runtime_of
from squizzle.proof.digests import digest_database
from squizzle.recovery.scratch import PREFIX
from squizzle.recovery.scratch_copy import ScratchPlace
from squizzle.recovery.ways import Way
from squizzle.rehearsal.place import PlaceOrder, RehearsalPlace, rehearsal_place
from squizzle.rehearsal.ways import measure_ways
from tests.integration.conftest import access_to
from tests.support.damage import Cut, Damage, Flipped, damaged
from tests.support.killed import mortal
from tests.support.mounts import small_disk
from tests.support.processes import wait_until
from tests.support.scratch import new_database, new_role

_FILL = """
    CREATE TABLE users (id int PRIMARY KEY, email text NOT NULL);
    INSERT INTO users SELECT n, 'user' || n || '@real.example' FROM generate_series(1, 900) n;
    CREATE MATERIALIZED VIEW addresses AS SELECT email FROM users;
    CREATE EXTENSION postgres_fdw;
    CREATE SERVER warehouse FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '/nowhere');
    CREATE USER MAPPING FOR PUBLIC SERVER warehouse OPTIONS (user 'x', password 'secret');
    CREATE SUBSCRIPTION feed CONNECTION 'host=/nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE);
"""


@dataclass(frozen=True)
class Stock:
    """A backup in a store, and the account that restores it on a named server."""

    store: FolderStore
    backup: Backup
    access: ServerAccess
    aside: Path

    def order(self, **given: object) -> PlaceOrder:
        """To rehearse on it on the named server."""
        fields = {
            "store": self.store,
            "backup": self.backup,
            "database": self.backup.database,
            "by": "ann",
            "scratch": ScratchPlace(server=self.access),
        }
        return PlaceOrder(**{**fields, **given})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def stock(access: ServerAccess, programs: ClientPrograms, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stock]:
    store = FolderStore(tmp_path_factory.mktemp("store"))
    with (
        connect(access, "postgres", purpose="test") as control,
        new_database(control, sql.SQL("TEMPLATE template0 ENCODING 'UTF8'"), prefix="rehearsed") as name,
    ):
        with connect(access, name, purpose="test") as session:
            for command in _FILL.split(";\n"):
                session.execute(command.encode())
            session.execute(sql.SQL("ALTER DATABASE {} SET search_path = shop, public").format(sql.Identifier(name)))
        yield Stock(
            store, take_dump(access, name, store, programs, backup_id="b1"), access, tmp_path_factory.mktemp("aside")
        )
        with connect(access, name, purpose="test") as session:
            session.execute("DROP SUBSCRIPTION feed")


@pytest.fixture(scope="module")
def place(stock: Stock) -> Iterator[RehearsalPlace]:
    with rehearsal_place(stock.order()) as opened:
        yield opened


def ours_on(control: Connection) -> list[str]:
    return [
        row[0] for row in control.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", (PREFIX,))
    ]


def rows_of(access: ServerAccess, database: str) -> int:
    with connect(access, database, purpose="test") as session:
        row = session.execute("SELECT count(*) FROM users").fetchone()
    return int(row[0]) if row else 0


def test_the_backup_is_proven_by_it_and_work_copies_are_independent(place: RehearsalPlace, stock: Stock) -> None:
    assert place.problems == ()
    assert place.proof.verdict is Verdict.PASS
    noted = read_notes(stock.store, "b1").last(ProofKind.RESTORE)
    assert noted is not None
    assert (noted.at, noted.details["rows"]) == (place.proof.at, "900")
    assert min(place.times.fetch, place.times.restore, place.times.compare).total_seconds() > 0
    assert place.base_digest.rows == 900
    with place.fresh() as work, place.fresh() as other:
        with connect(place.access, work, purpose="test") as session:
            session.execute("DELETE FROM public.users WHERE id > 10")
            assert session.execute("SHOW search_path").fetchone() == ("shop, public",)
        with connect(place.access, other, purpose="test") as session:
            session.execute("DROP TABLE public.users CASCADE")
        assert (rows_of(place.access, place.database), rows_of(place.access, work)) == (900, 10)
    with connect(place.access, "postgres", purpose="test") as control:
        assert ours_on(control) == [place.database]


def test_nobody_else_gets_in_and_it_reaches_nobody(place: RehearsalPlace) -> None:
    with connect(place.access, "postgres", purpose="test") as control, new_role(control, sql.SQL("LOGIN")) as somebody:
        theirs = replace(place.access, user=somebody)
        connect(theirs, "postgres", purpose="test").close()
        with place.fresh() as work:
            for name in (place.database, work):
                with pytest.raises(ConnectionFailedError, match="permission denied for database"):
                    connect(theirs, name, purpose="test")
    with connect(place.access, place.database, purpose="test") as session:
        assert session.execute("SELECT umoptions FROM pg_user_mappings").fetchall() == [(None,)]
        assert session.execute("SELECT count(*) FROM pg_stat_subscription WHERE subname = 'feed'").fetchone() == (1,)
        digest = digest_database(session, bookkeeping=True)
    assert digest == place.base_digest


def test_a_mask_runs_before_anybody_reads_and_leaves_nothing_of_what_it_hides(stock: Stock) -> None:
    mask = "BEGIN; UPDATE users SET email = 'nobody' || id; SET search_path = ''; COMMIT"
    with (
        rehearsal_place(stock.order(mask=mask)) as place,
        connect(place.access, place.database, purpose="test") as seen,
    ):
        assert place.problems == ()
        assert place.proven.masked == ("public.users",)
        assert place.base_digest == digest_database(seen, bookkeeping=True)
        for table in ("public.users", "public.addresses", "pg_stats"):
            left = sql.SQL("SELECT count(*) FROM {} AS s WHERE s::text LIKE '%@real%'").format(sql.SQL(table))
            assert seen.execute(left).fetchone() == (0,)


@pytest.mark.one_server
@pytest.mark.parametrize(
    ("mask", "said"),
    [
        ("UPDATE nowhere SET email = ''", 'relation "nowhere" does not exist'),
        ("BEGIN; UPDATE users SET email = ''", "leaves a transaction open"),
    ],
)
def test_a_mask_that_fails_shows_nothing(stock: Stock, control: Connection, mask: str, said: str) -> None:
    with pytest.raises(CouldNotVerifyError, match=said), rehearsal_place(stock.order(mask=mask)):
        pytest.fail("nothing may be shown")
    assert len(ours_on(control)) <= 1  # that of the fixture


@pytest.mark.one_server
def test_a_damaged_backup_is_a_result_and_nothing_to_rehearse_on(stock: Stock) -> None:
    toc = stock.store.path_of(stock.backup) / "dump" / "toc.dat"
    damages: tuple[Damage, ...] = (Flipped(100, 1), Cut(200))
    for damage in damages:
        with damaged(toc, damage, stock.aside), rehearsal_place(stock.order()) as place:
            assert "is damaged" in place.problems[0]
            assert (place.comparison, place.proof.verdict) == (None, Verdict.FAIL)
            with pytest.raises(BackupDamagedError, match="cannot be rehearsed on"), place.fresh():
                pytest.fail("there is no copy")


@pytest.mark.one_server
def test_a_copy_that_is_not_what_was_saved_is_a_result(stock: Stock) -> None:
    """The files are as the manifest says, but the rows are not: only a restore finds that."""
    users = next(one for one in stock.backup.fingerprint.tables if one.table == "public.users")
    wrong = replace(stock.backup.fingerprint, tables=(replace(users, rows=901),))
    with rehearsal_place(stock.order(backup=replace(stock.backup, digest=wrong))) as place:
        assert place.problems == ("public.users: 900 rows, expected 901 rows",)
        assert place.base is None


@pytest.mark.one_server
def test_what_cannot_be_rehearsed_on_is_refused_before_anything_is_made(stock: Stock) -> None:
    backup = stock.backup
    huge = replace(backup, details={SIZE_DETAIL: str(10**15)})
    other = replace(backup, identity_id="8f14e45f-ceea-467f-a8d1-3d1f3c5b2f10")
    refused = [
        (stock.order(database="shop"), InvalidInputError, "not of shop"),
        (stock.order(system_identifier="7"), InvalidInputError, "cluster 7"),
        (stock.order(backup=other, identity_id="another"), InvalidInputError, "not of rehearsed_"),
        (stock.order(backup=replace(backup, kind=BackupKind.GLOBALS)), InvalidInputError, "nothing can be rehearsed"),
        (stock.order(backup=replace(backup, kind=BackupKind.DATA)), InvalidInputError, "do not go together"),
        (stock.order(backup=replace(backup, server_version=140000)), CouldNotVerifyError, "proves nothing"),
        (stock.order(backup=of_another_version(backup)), CouldNotVerifyError, "changed: extension postgres_fdw"),
        (stock.order(backup=huge), CouldNotVerifyError, r"are free in .*data"),
        (stock.order(budget=timedelta(milliseconds=1)), CouldNotVerifyError, "no place to rehearse in within"),
    ]
    for order, error, said in refused:
        with pytest.raises(error, match=said), rehearsal_place(order):
            pytest.fail("nothing may be shown")


def of_another_version(backup: Backup) -> Backup:
    """As if the server that was saved had another version of an extension; a dump does not say which."""
    digest = backup.fingerprint
    objects = tuple(
        replace(one, strict="s", logical="l") if one.label == "extension postgres_fdw" else one
        for one in digest.schema.objects
    )
    return replace(backup, digest=replace(digest, schema=replace(digest.schema, strict="s", objects=objects)))


@pytest.mark.one_server
def test_what_the_account_may_not_do_there_is_said_and_proves_nothing(stock: Stock, control: Connection) -> None:
    before = set(ours_on(control))
    with new_role(control, sql.SQL("LOGIN CREATEDB")) as account:
        scratch = ScratchPlace(server=replace(stock.access, user=account))
        with (
            pytest.raises(
                CouldNotVerifyError,
                match="may not hand what it restores of backup b1 to its owners: postgres; nothing was restored",
            ),
            rehearsal_place(stock.order(scratch=scratch)),
        ):
            pytest.fail("nothing may be shown")
    noted = read_notes(stock.store, "b1").last(ProofKind.RESTORE)
    assert noted is not None
    assert noted.verdict is Verdict.COULD_NOT_VERIFY
    assert set(ours_on(control)) == before


@pytest.mark.one_server
def test_rows_and_definitions_that_were_saved_apart_come_together_on_a_server_of_our_own(
    stock: Stock, access: ServerAccess, programs: ClientPrograms, tmp_path: Path
) -> None:
    store, database = FolderStore(tmp_path), stock.backup.database
    schema, data = (
        take_dump(access, database, store, programs, backup_id=kind.value, kind=kind)
        for kind in (BackupKind.SCHEMA, BackupKind.DATA)
    )
    order = stock.order(store=store, backup=data, definitions=schema, scratch=ScratchPlace())
    with rehearsal_place(order) as place:
        assert (place.problems, place.server.throwaway, place.base_digest.rows) == ((), True, 900)
        with place.fresh() as work:
            assert rows_of(place.access, work) == 900
    with pytest.raises(ConnectionFailedError):
        connect(place.access, "postgres", purpose="test")


@pytest.mark.one_server
def test_what_a_killed_rehearsal_left_goes_with_the_next(
    stock: Stock, place: RehearsalPlace, control: Connection, tmp_path: Path
) -> None:
    given = {"host": stock.access.host, "port": stock.access.port, "user": stock.access.user}
    with mortal("tests.support.rehearsal_work", tmp_path) as killed:
        ended = killed.run("work", at=1, server_access=given, store=str(stock.store.folder), backup="b1")
    assert ended.was_killed, ended.said
    left = set(ours_on(control)) - {place.database}
    assert len(left) == 2
    gone = "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'squizzle scratch copy'"
    wait_until(lambda: control.execute(gone.encode()).fetchone() == (True,), "the server has noticed")
    with rehearsal_place(stock.order()) as after:
        assert set(ours_on(control)) == {place.database, after.database}


@pytest.fixture
def small() -> Iterator[Path]:
    """A disk of 150 MB whose path is short enough for a socket and open to the server's account."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with small_disk(Path(folder) / "d", pages=40_000) as disk:
            yield disk


@pytest.mark.one_server
def test_a_full_disk_proves_nothing(stock: Stock, small: Path) -> None:
    """Neither for the base, whether or not it is known how big it gets, nor for a work copy."""
    major = stock.backup.server_version // 10000
    runtime = replace(runtime_of(major), base=safe_base(small / "b"))
    settings = drill_settings(major, throwaway=True) | {"archive_mode": "off"}
    with throwaway_cluster("s", settings=settings, runtime=runtime) as address:
        scratch = ScratchPlace(server=access_to(address))
        with rehearsal_place(stock.order(scratch=scratch)) as place:
            fill(small, leaving=60)
            with pytest.raises(CouldNotVerifyError, match="another copy to work on needs"), place.fresh():
                pytest.fail("there is no room")
        for backup in (replace(stock.backup, details={}), stock.backup):
            with (
                pytest.raises(CouldNotVerifyError, match=r"a rehearsal on backup b1 needs .* are free in"),
                rehearsal_place(stock.order(backup=backup, scratch=scratch)),
            ):
                pytest.fail("there is no room")


def fill(disk: Path, *, leaving: int) -> None:
    """Leave so many megabytes."""
    size = shutil.disk_usage(disk).free - (leaving << 20)
    with (disk / "ballast").open("wb") as ballast:
        os.posix_fallocate(ballast.fileno(), 0, size)


def test_every_way_back_was_gone_and_compared(place: RehearsalPlace) -> None:
    swap, beside, point = measure_ways(place)
    assert (swap.way, swap.executed, swap.complete) == (Way.SWAP, True, True), swap.detail
    assert (beside.way, beside.executed, beside.complete) == (Way.RESTORE_BESIDE, True, True)
    assert (point.way, point.executed, point.complete, point.duration) == (Way.POINT_IN_TIME, False, False, None)
    assert swap.duration is not None
    assert beside.duration is not None
    assert place.times.total < beside.duration < place.times.total + swap.duration
    with connect(place.access, "postgres", purpose="test") as control:
        assert ours_on(control) == [place.database]


@pytest.mark.one_server
def test_a_copy_with_other_rows_is_no_way_back(place: RehearsalPlace) -> None:
    users = next(one for one in place.base_digest.tables if one.table == "public.users")
    others = replace(place.base_digest, tables=(replace(users, digest="0"),))
    swap, beside, _ = measure_ways(replace(place, base=replace(place.proven, digest=others)))
    assert (swap.executed, swap.complete) == (True, False)
    assert "the rows of public.users are not those that were copied" in swap.detail
    assert beside.complete
