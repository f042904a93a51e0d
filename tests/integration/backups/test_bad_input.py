"""One flipped byte, a cut file or a missing one, anywhere in a backup of any kind: found and named, or harmless."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from squizzle.backups.catalogue import check_chain, read_catalogue
from squizzle.backups.files import MANIFEST_NAME, check_files, describe_files
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.order import Order
from squizzle.backups.physical.copying import CLUSTER_FILE, SERVER_MANIFEST
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.surroundings import DATABASES_FILE, GLOBALS_FILE, SURROUNDINGS_FILE
from squizzle.backups.taking import take_backup
from squizzle.errors import BackupDamagedError
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.database_properties import read_properties
from squizzle.postgres.embedded import ServerAddress
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import ClientPrograms, find_programs
from squizzle.recovery.restore import restore_beside, verify_copy
from tests.integration.conftest import access_to
from tests.support.damage import WAYS, Flipped, damage_of, damaged
from tests.support.scratch import drop_databases

KINDS = tuple(kind for kind in BackupKind if kind.is_dump or kind.is_cluster or kind is BackupKind.GLOBALS)


@pytest.fixture(scope="module")
def access(servers: Callable[[str], ServerAddress]) -> ServerAccess:
    """The embedded server alone: what is tested is our own reading of our own files."""
    return access_to(servers("embedded"))


@pytest.fixture(scope="module")
def programs(access: ServerAccess) -> ClientPrograms:
    with connect(access, "postgres", purpose="test") as connection:
        return find_programs(explicit=None, server_major=connection.info.server_version // 10000)


@dataclass(frozen=True)
class Stock:
    """A backup of every kind in one store, as they were taken; and where an intact file waits meanwhile."""

    store: FolderStore
    backups: dict[BackupKind, Backup]
    aside: Path

    def files_of(self, backup: Backup) -> list[Path]:
        return [self.store.path_of(backup) / name for name in (*(one.path for one in backup.files), MANIFEST_NAME)]


@pytest.fixture(scope="module")
def stock(
    access: ServerAccess, programs: ClientPrograms, filled: str, tmp_path_factory: pytest.TempPathFactory
) -> Stock:
    folder = tmp_path_factory.mktemp("stock")
    (folder / "aside").mkdir()
    store = FolderStore(folder / "store")
    target = Target(database=filled, schema="public")
    made = {}
    for number, kind in enumerate(KINDS):
        order = Order(access=access, target=target, store=store, kind=kind, programs=programs)
        made[kind] = take_backup(order, suffix=f"{number:06}")
    return Stock(store=store, backups=made, aside=folder / "aside")


def found_in(stock: Stock, backup: Backup) -> str:
    """What a look at one backup says, the look that comes before every restore; empty when all is well."""
    try:
        check_files(stock.store.read(backup.id), stock.store.path_of(backup))
    except BackupDamagedError as exc:
        return exc.message
    return ""


def test_every_kind_of_file_is_among_what_is_damaged(stock: Stock) -> None:
    names = {path.name for backup in stock.backups.values() for path in stock.files_of(backup)}
    assert names >= {
        MANIFEST_NAME,
        "toc.dat",
        GLOBALS_FILE,
        SURROUNDINGS_FILE,
        DATABASES_FILE,
        CLUSTER_FILE,
        SERVER_MANIFEST,
    }
    assert stock.backups[BackupKind.INCREMENTAL].chain == (stock.backups[BackupKind.PHYSICAL].id,)
    assert any(path.parent.name == "wal" for path in stock.files_of(stock.backups[BackupKind.INCREMENTAL]))
    assert not any(found_in(stock, backup) for backup in stock.backups.values())


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    which=st.integers(0, 99),
    way=st.sampled_from(WAYS),
    place=st.floats(0, 1, exclude_max=True),
    mask=st.integers(1, 255),
)
def test_whatever_happens_to_a_file_is_found_and_named_or_changes_nothing(
    stock: Stock, kind: BackupKind, which: int, way: str, place: float, mask: int
) -> None:
    backup = stock.backups[kind]
    files = stock.files_of(backup)
    victim = files[which % len(files)]
    damage = damage_of(way, victim.stat().st_size, place=place, mask=mask)
    event(f"{type(damage).__name__} {victim.name if victim.suffix != '.gz' else 'rows'}")

    with damaged(victim, damage, stock.aside):
        if victim.name == MANIFEST_NAME and not victim.exists():
            # A backup without its manifest does not exist; what was made after it misses it.
            assert backup.id not in stock.store.list_ids()
            if backup is not stock.backups[KINDS[-1]]:
                assert backup.id in "".join(check_chain(stock.store, read_catalogue(stock.store)))
            return
        said = found_in(stock, backup)
        if said:
            assert victim.name in said
            assert backup.id in said
        else:
            # White space of the manifest, for one. Then everything is the very same.
            assert stock.store.read(backup.id) == backup
            assert describe_files(stock.store.path_of(backup)) == backup.files
    assert found_in(stock, backup) == ""


def test_a_flip_that_nobody_finds_restores_the_very_same_rows(
    stock: Stock, access: ServerAccess, programs: ClientPrograms, filled: str
) -> None:
    backup = stock.backups[BackupKind.FULL]
    manifest = stock.store.path_of(backup) / MANIFEST_NAME
    space = Flipped(manifest.read_bytes().index(b'\n "manifest"') + 1, ord(" ") ^ ord("\t"))
    into = f"{filled}_restored"
    with damaged(manifest, space, stock.aside), connect(access, "postgres", purpose="test") as control:
        read = stock.store.read(backup.id)
        like = read_properties(control, filled)
        try:
            restore_beside(access, control, read, stock.store.path_of(read), programs=programs, into=into, like=like)
            with connect(access, into, purpose="test") as session:
                assert verify_copy(session, backup).is_equal
        finally:
            drop_databases(control, into)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not BackupKind.FULL])
def test_the_manifest_of_another_backup_is_refused_by_name(stock: Stock, kind: BackupKind) -> None:
    """Of another kind, of another time: its hash is right, it is only not the one that belongs there."""
    backup, other = stock.backups[kind], stock.backups[BackupKind.FULL]
    manifest = stock.store.path_of(backup) / MANIFEST_NAME
    manifest.rename(stock.aside / MANIFEST_NAME)
    try:
        manifest.write_bytes((stock.store.path_of(other) / MANIFEST_NAME).read_bytes())
        assert f"is the manifest of backup '{other.id}', expected '{backup.id}'" in found_in(stock, backup)
    finally:
        (stock.aside / MANIFEST_NAME).replace(manifest)
