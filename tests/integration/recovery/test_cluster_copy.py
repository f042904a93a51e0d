"""Copies of a cluster: whole or an increment, they are proven by being brought back to life."""

from __future__ import annotations

import io
import os
import secrets
import shutil
import signal
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import zstandard
from psycopg import sql

from squizzle.backups.encryption.store import ENCRYPTED, EncryptedStore
from squizzle.backups.files import MANIFEST_NAME, describe_files
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.manifest import to_json
from squizzle.backups.order import CopyOptions, Order, Progress
from squizzle.backups.physical.copying import CLUSTER_FILE
from squizzle.backups.proofs import Proof, Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.s3.settings import S3Settings
from squizzle.backups.s3.store import S3Store
from squizzle.backups.taking import take_backup
from squizzle.backups.wal.names import lsn_number
from squizzle.errors import BackupDamagedError, InvalidInputError, ToolError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.embedded import Cluster, ServerAddress, find_runtime
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import ClientPrograms, find_programs
from squizzle.recovery.cluster_copy import check_pages, compare_copy, running_copy
from squizzle.recovery.cluster_files import unpack
from squizzle.recovery.restore_proof import prove_by_restore
from squizzle.recovery.scratch_copy import ScratchPlace
from tests.support.buckets import place_in
from tests.support.hammer import hammering
from tests.support.keys import random_keys
from tests.support.mounts import PAGE_BYTES, small_disk
from tests.support.processes import command_of, descendants_of, wait_until
from tests.support.scratch import new_database

FILL = """
    CREATE TABLE users AS SELECT n AS id, md5(n::text) AS name FROM generate_series(1, 20000) n;
    CREATE TABLE busy (n int);
    CREATE UNLOGGED TABLE cache AS SELECT 1 AS n
"""


@pytest.fixture(scope="module")
def shop(access: ServerAccess) -> Iterator[str]:
    with (
        connect(access, "postgres", purpose="test") as control,
        new_database(control, sql.SQL("TEMPLATE template0 ENCODING 'UTF8'"), prefix="cluster") as name,
    ):
        with connect(access, name, purpose="test") as session:
            session.execute(FILL.encode())
        yield name


@pytest.fixture(scope="module")
def order(access: ServerAccess, programs: ClientPrograms, shop: str, tmp_path_factory: pytest.TempPathFactory) -> Order:
    store = FolderStore(tmp_path_factory.mktemp("store"))
    target = Target(database=shop, schema="public")
    return Order(access=access, target=target, store=store, kind=BackupKind.PHYSICAL, programs=programs)


@pytest.fixture(scope="module")
def whole(order: Order) -> Backup:
    return take_backup(order, suffix="1")


@pytest.fixture(scope="module")
def increment(order: Order, whole: Backup, access: ServerAccess, shop: str) -> Backup:
    """What changed since the whole copy; skipped where the server makes none."""
    if whole.server_version < 170000:
        pytest.skip("PostgreSQL 17 and later")
    with connect(access, shop, purpose="test") as session:
        session.execute("UPDATE users SET name = 'changed' WHERE id < 200")
    return take_backup(replace(order, kind=BackupKind.INCREMENTAL), suffix="2")


def prove(order: Order, backup: Backup) -> Proof:
    return prove_by_restore(order.store, backup, ScratchPlace(), by="ann")


def folder_of(order: Order) -> FolderStore:
    assert isinstance(order.store, FolderStore)
    return order.store


def test_a_whole_copy_comes_back_to_life_with_every_row_and_every_page(order: Order, whole: Backup) -> None:
    proof = prove(order, whole)

    assert (proof.verdict, proof.sentences) == (Verdict.PASS, ())
    assert proof.details["rows"] == "20000"
    assert proof.details["pages"] == "every page has its checksum"
    assert whole.timeline == 1
    assert proof.details["indexes"] == "every index has every row"
    positions = [lsn_number(text) or 0 for text in (whole.lsn, whole.stop_lsn, whole.digest_lsn)]
    assert positions == sorted(positions)
    assert {one.table: one.rows for one in whole.fingerprint.tables} == {
        "public.users": 20000,
        "public.busy": 0,
        "public.cache": 0,
    }
    assert "rows of unlogged tables, which no copy of a cluster has: public.cache" in whole.not_covered


def test_an_increment_is_small_and_is_proven_with_its_chain(order: Order, whole: Backup, increment: Backup) -> None:
    assert increment.chain == (whole.id,)
    assert increment.size_bytes < whole.size_bytes / 2

    proof = prove(order, increment)

    assert (proof.verdict, proof.sentences) == (Verdict.PASS, ())
    assert increment.fingerprint != whole.fingerprint


def test_an_increment_in_an_encrypted_bucket_is_proven_with_its_chain(
    order: Order, whole: Backup, access: ServerAccess, shop: str, bucket: S3Settings
) -> None:
    if whole.server_version < 170000:
        pytest.skip("PostgreSQL 17 and later")
    sealed = EncryptedStore(S3Store(place_in(bucket)), random_keys())
    order = replace(order, store=sealed)
    base = take_backup(order, suffix="1")
    with connect(access, shop, purpose="test") as session:
        session.execute("INSERT INTO busy VALUES (7)")

    made = take_backup(replace(order, kind=BackupKind.INCREMENTAL), suffix="2")

    assert made.chain == (base.id,)
    assert made.size_bytes < base.size_bytes / 5
    proof = prove(order, sealed.read_header(made.id))
    assert (proof.verdict, proof.sentences) == (Verdict.PASS, ())
    assert CLUSTER_FILE + ENCRYPTED in {file.path for file in made.stored_files}


def test_an_increment_below_17_says_what_there_is_instead(order: Order, whole: Backup) -> None:
    if whole.server_version >= 170000:
        pytest.skip("PostgreSQL 16 and earlier")
    with pytest.raises(InvalidInputError, match="PostgreSQL 15 makes no increments") as caught:
        take_backup(replace(order, kind=BackupKind.INCREMENTAL), suffix="2")
    assert "squizzle backup physical" in caught.value.hint


def is_archived(session: Connection, segment: str) -> bool:
    return session.execute("SELECT last_archived_wal >= %s FROM pg_stat_archiver", (segment,)).fetchone() == (True,)


def test_rows_that_are_written_all_the_time_are_compared_to_the_last_one(
    order: Order, access: ServerAccess, shop: str, tmp_path: Path
) -> None:
    """Every commit moves the rows, so a copy recovered one commit too far or too short would differ."""
    other = replace(order, store=FolderStore(tmp_path))
    work = "WITH gone AS (DELETE FROM busy WHERE random() < 0.1) INSERT INTO busy SELECT pg_backend_pid()"
    removed = False

    def checkpoint(_progress: Progress) -> None:
        """Without the slot the server would remove the log with which the copy begins."""
        nonlocal removed
        if not removed:
            removed = True
            with connect(access, shop, purpose="test") as session:
                for _ in range(3):
                    row = session.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
                    assert row is not None
                    wait_until(partial(is_archived, session, row[0]), "the segment is archived")
                    session.execute("CHECKPOINT")

    with hammering(access, shop, clients=4, work=work):
        backup = take_backup(other, suffix="3", on_progress=checkpoint)
    proof = prove(other, backup)

    assert removed
    assert (proof.verdict, proof.sentences) == (Verdict.PASS, ())
    assert backup.digest_lsn
    assert next(one for one in backup.fingerprint.tables if one.table == "public.busy").rows > 0
    with connect(access, shop, purpose="test") as session:
        assert session.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (0,)


def test_a_copy_for_which_no_moment_was_found_is_not_called_proven(
    order: Order, programs: ClientPrograms, access: ServerAccess, shop: str, tmp_path: Path
) -> None:
    """Debian's client package has no pg_waldump; without it nobody may be writing."""
    (tmp_path / "bin").mkdir()
    for name in ("pg_dump", "pg_basebackup", "pg_receivewal"):
        (tmp_path / "bin" / name).symlink_to(programs.path(name))
    poor = replace(programs, folder=tmp_path / "bin")
    other = replace(order, store=FolderStore(tmp_path / "store"), programs=poor)
    with connect(access, shop, purpose="test") as writer:
        writer.execute("BEGIN; INSERT INTO busy VALUES (0)")
        backup = take_backup(other, suffix="4")
        writer.execute("ROLLBACK")
    proof = prove(other, backup)

    assert (backup.digest, backup.digest_lsn) == (None, "")
    assert proof.verdict is Verdict.COULD_NOT_VERIFY
    assert "pg_waldump is missing beside pg_basebackup" in proof.sentences[0]


def test_tablespaces_are_copied_and_come_back_inside_the_copy(
    order: Order, whole: Backup, access: ServerAccess, address: ServerAddress, shop: str, tmp_path: Path
) -> None:
    place = address.data_folder.parent / f"space-{secrets.token_hex(3)}"
    place.mkdir()
    owner = address.data_folder.stat()
    os.chown(place, owner.st_uid, owner.st_gid)
    other = replace(order, store=FolderStore(tmp_path))
    with connect(access, shop, purpose="test") as session:
        session.execute(f"CREATE TABLESPACE elsewhere LOCATION '{place}'")
        try:
            session.execute("CREATE TABLE far TABLESPACE elsewhere AS SELECT n FROM generate_series(1, 3000) n")
            backups = [take_backup(other, suffix="1")]
            session.execute("UPDATE far SET n = -n WHERE n < 100")
            if whole.server_version >= 170000:
                backups.append(take_backup(replace(other, kind=BackupKind.INCREMENTAL), suffix="2"))
            with running_copy(other.store, backups[-1]) as copy:
                spaces = list((copy.cluster.layout.data / "pg_tblspc").iterdir())
                links = [space.is_symlink() for space in spaces]
                comparison = compare_copy(copy, backups[-1])
                pages = check_pages(copy, backups[-1])
        finally:
            session.execute("DROP TABLE IF EXISTS far")
            session.execute("DROP TABLESPACE elsewhere")
            shutil.rmtree(place)

    assert comparison.sentences() == ()
    assert pages == "every page has its checksum"
    assert str(place) in backups[0].details["tablespaces"]
    # Through a link, the copy would write into the original.
    assert spaces
    assert not any(links)


def test_the_server_sends_no_faster_than_it_may_and_is_not_waited_for_for_ever(order: Order, tmp_path: Path) -> None:
    slow = replace(
        order,
        store=FolderStore(tmp_path),
        copying=CopyOptions(max_rate_kb=8192),
        options=replace(order.options, timeout=timedelta(seconds=1)),
    )
    with pytest.raises(ToolError, match="took too long and was stopped; nothing was published"):
        take_backup(slow, suffix="5")

    begun = time.monotonic()

    def stop(_progress: Progress) -> None:
        """Let it go on in the end, so that it hears that it is to stop."""
        for pid in descendants_of(os.getpid()):
            if "pg_basebackup --pgdata" in command_of(pid):
                os.kill(pid, signal.SIGSTOP if time.monotonic() < begun + 1 else signal.SIGCONT)

    silent = replace(slow, copying=CopyOptions())
    with pytest.raises(ToolError, match="took too long and was stopped; nothing was published"):
        take_backup(silent, suffix="6", on_progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_publishes_nothing_and_the_next_run_needs_no_help(
    order: Order, whole: Backup, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", pages=whole.size_bytes // PAGE_BYTES // 2) as disk:
        other = replace(order, store=FolderStore(disk), ignore_space="a test")
        with pytest.raises(ToolError, match="No space left on device; nothing was published"):
            take_backup(other, suffix="7")
        assert list(disk.iterdir()) == []


def test_a_killed_pg_basebackup_publishes_nothing(order: Order, tmp_path: Path) -> None:
    other = replace(order, store=FolderStore(tmp_path))

    def kill(_progress: Progress) -> None:
        for pid in descendants_of(os.getpid()):
            if "pg_basebackup --pgdata" in command_of(pid) and "squizzle-guard" not in command_of(pid):
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(ToolError, match="nothing was published"):
        take_backup(other, suffix="4", on_progress=kill)
    assert list(tmp_path.iterdir()) == []


def test_an_increment_without_a_copy_to_build_on_is_refused_unless_a_whole_one_will_do(
    order: Order, whole: Backup, tmp_path: Path
) -> None:
    if whole.server_version < 170000:
        pytest.skip("PostgreSQL 17 and later")
    empty = replace(order, store=FolderStore(tmp_path), kind=BackupKind.INCREMENTAL)
    with pytest.raises(InvalidInputError, match="to build an increment on"):
        take_backup(empty, suffix="5")
    made = take_backup(replace(empty, copying=CopyOptions(or_full=True)), suffix="6")
    assert (made.kind, made.chain) == (BackupKind.PHYSICAL, ())


# --- damage --------------------------------------------------------------------------------------------------------


def copy_of(order: Order, backups: list[Backup], into: Path) -> tuple[Order, list[Backup]]:
    """The same backups in a store of their own, whose files may be changed."""
    store = FolderStore(into)
    made = []
    for backup in backups:
        with store.receive(backup.id) as incoming:
            for file in backup.files:
                content = (folder_of(order).path_of(backup) / file.path).read_bytes()
                (incoming.folder / file.path).parent.mkdir(exist_ok=True)
                (incoming.folder / file.path).write_bytes(content)
            incoming.publish(backup)
        made.append(backup)
    return replace(order, store=store), made


@contextmanager
def changed_tar(path: Path) -> Iterator[dict[str, bytes]]:
    """The files of a packed cluster, packed again afterwards."""
    files: dict[str, bytes] = {}
    members: list[tarfile.TarInfo] = []
    with path.open("rb") as file:
        plain = io.BytesIO(zstandard.ZstdDecompressor().stream_reader(file).read())
    with tarfile.open(fileobj=plain) as tar:
        for member in tar:
            members.append(member)
            content = tar.extractfile(member) if member.isfile() else None
            if content is not None:
                files[member.name] = content.read()
    yield files
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for member in members:
            if member.isdir() or member.name in files:
                tar.addfile(member, io.BytesIO(files.get(member.name, b"")))
    path.write_bytes(zstandard.ZstdCompressor(level=1).compress(buffer.getvalue()))


def test_a_flipped_bit_in_any_file_of_any_member_fails(
    order: Order, whole: Backup, increment: Backup, tmp_path: Path
) -> None:
    """The same check for every member, before anything is unpacked: any bit will do."""
    for number, (victim, name) in enumerate((one, file.path) for one in (whole, increment) for file in one.files):
        damaged, _ = copy_of(order, [whole, increment], tmp_path / str(number))
        path = folder_of(damaged).path_of(victim) / name
        content = bytearray(path.read_bytes())
        content[secrets.randbelow(len(content))] ^= 1 << secrets.randbelow(8)
        path.write_bytes(content)

        proof = prove(damaged, increment)

        assert proof.verdict is Verdict.FAIL
        assert victim.id in proof.sentences[0]
        assert name in proof.sentences[0]


def test_a_block_that_was_changed_before_our_hash_was_taken_is_found_by_the_servers_manifest(
    order: Order, whole: Backup, increment: Backup, tmp_path: Path
) -> None:
    """pg_combinebackup would take it, and pg_verifybackup of the result would say that all is well."""
    damaged, _ = copy_of(order, [whole, increment], tmp_path / "store")
    store = folder_of(damaged)
    path = store.path_of(whole) / CLUSTER_FILE
    with changed_tar(path) as files:
        name = max((one for one in files if one.startswith("base/")), key=lambda one: len(files[one]))
        content = bytearray(files[name])
        content[5000] ^= 1
        files[name] = bytes(content)
    lying = replace(whole, files=describe_files(store.path_of(whole)))
    (store.path_of(whole) / MANIFEST_NAME).write_text(to_json(lying), encoding="utf-8")

    proof = prove(damaged, increment)

    assert proof.verdict is Verdict.FAIL
    assert f"backup {whole.id} is not what the server copied" in proof.sentences[0]


def test_a_missing_member_and_a_foreign_one_fail_by_name(
    order: Order, whole: Backup, increment: Backup, tmp_path: Path
) -> None:
    alone, _ = copy_of(order, [increment], tmp_path / "alone")
    proof = prove(alone, increment)
    assert proof.verdict is Verdict.FAIL
    assert f"builds on {whole.id}, which is missing" in proof.sentences[0]

    foreign, _ = copy_of(order, [replace(whole, system_identifier="1"), increment], tmp_path / "foreign")
    assert f"{whole.id} is not what {increment.id} was built on" in prove(foreign, increment).sentences[0]


def test_a_page_that_pg_basebackup_passes_over_is_found(tmp_path: Path) -> None:
    """Eight bytes of 0xff where a page says its position in the log: pg_basebackup takes it for a page of the future."""
    runtime = find_runtime()
    cluster = Cluster(runtime, f"tests-page-{os.getpid()}")
    try:
        cluster.create({"wal_level": "replica"}, from_template=False)
        address = cluster.start(guarded=True)
        access = ServerAccess(host=str(address.socket_folder), port=address.port, user=address.user)
        with connect(access, "postgres", purpose="test") as session:
            session.execute("CREATE TABLE t AS SELECT n FROM generate_series(1, 5000) n; CHECKPOINT")
            row = session.execute("SELECT pg_relation_filepath('t')").fetchone()
        assert row is not None
        cluster.stop()
        with (cluster.layout.data / row[0]).open("r+b") as file:
            file.seek(8192)
            file.write(b"\xff" * 8)
        address = cluster.start(guarded=True)
        order = Order(
            access=replace(access, port=address.port),
            target=Target(database="template1", schema="public"),
            store=FolderStore(tmp_path),
            kind=BackupKind.PHYSICAL,
            programs=find_programs(explicit=None, server_major=runtime.major),
        )
        backup = take_backup(order, suffix="1")
        with pytest.raises(InvalidInputError, match="summarize_wal is off"):
            take_backup(replace(order, kind=BackupKind.INCREMENTAL), suffix="2")
    finally:
        cluster.destroy()

    proof = prove(order, backup)

    assert proof.verdict is Verdict.FAIL
    assert "holds damaged tables or indexes" in proof.sentences[0]


# --- unpacking -----------------------------------------------------------------------------------------------------


def packed(change: Callable[[tarfile.TarInfo], None]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("base/1")
        member.size = 4
        change(member)
        tar.addfile(member, io.BytesIO(b"rows"))
    return zstandard.ZstdCompressor(write_checksum=True).compress(buffer.getvalue())


def named(name: str) -> Callable[[tarfile.TarInfo], None]:
    def change(member: tarfile.TarInfo) -> None:
        member.name = name

    return change


def linked(member: tarfile.TarInfo) -> None:
    member.type = tarfile.SYMTYPE
    member.linkname = "/etc"
    member.size = 0


@pytest.mark.parametrize("change", [named("/etc/x"), named("../x"), named("base/../../x"), linked])
def test_nothing_is_unpacked_outside(tmp_path: Path, change: Callable[[tarfile.TarInfo], None]) -> None:
    (tmp_path / "a").write_bytes(packed(change))
    (tmp_path / "into").mkdir()
    with pytest.raises(BackupDamagedError, match="neither a file nor a folder inside it"):
        unpack(tmp_path / "a", tmp_path / "into")
    assert list((tmp_path / "into").iterdir()) == []


def test_no_room_for_the_copy_says_nothing_about_the_backup(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(zstandard.ZstdCompressor().compress(tar_with(bytes(20 * PAGE_BYTES))))
    with small_disk(tmp_path / "disk", pages=10) as disk, pytest.raises(ToolError, match="No space left") as caught:
        unpack(tmp_path / "a", disk)
    assert "TMPDIR" in caught.value.hint


def tar_with(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("base/1")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_a_cut_archive_is_refused_unless_only_its_padding_is_gone(tmp_path: Path) -> None:
    whole = packed(named("base/1"))
    refused = 0
    for length in range(0, len(whole), 7):
        (tmp_path / "a").write_bytes(whole[:length])
        into = tmp_path / str(length)
        into.mkdir()
        try:
            unpack(tmp_path / "a", into)
        except BackupDamagedError:
            refused += 1
        else:
            assert (into / "base" / "1").read_bytes() == b"rows"
    assert refused > 3
