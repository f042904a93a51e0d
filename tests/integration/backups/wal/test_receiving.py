"""Real servers whose log is received: killed, cut off, left alone for too long, and always gone on with."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from squizzle.backups.wal.archive import FolderArchive
from squizzle.backups.wal.archiver import archiver_problems, read_archiver
from squizzle.backups.wal.check import check_cluster
from squizzle.backups.wal.names import lsn_text
from squizzle.backups.wal.receiver import Receiving
from squizzle.backups.wal.slots import Slot, read_slot, receiver_problems, slot_problems
from squizzle.backups.wal.transfer import archive_wal
from squizzle.cli.main import run
from squizzle.errors import InvalidInputError, LockTimeoutError, RefusedError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.embedded import Cluster, drill_settings, find_runtime
from tests.integration.conftest import SERVERS, SYSTEM_FOLDERS, access_to
from tests.support.mounts import PAGE_BYTES, small_disk, small_real_disk
from tests.support.processes import wait_until
from tests.support.ready_command import COMMAND
from tests.support.receiving import receive_to_its_end, receiving
from tests.support.tally import Kind, note_strike


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """A server with segments of a megabyte, which archives by itself, too: what is received must be the same."""

    cluster: Cluster
    access: ServerAccess
    system_identifier: str

    def write(self, session: Connection) -> str:
        """Rows, and the end of the segment; returns its name."""
        session.execute("INSERT INTO t SELECT n FROM generate_series(1, 1000) n")
        row = session.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
        assert row is not None
        return str(row[0])

    def same_as_archived(self, archive: FolderArchive) -> int:
        """Compare every segment that both have; returns how many."""
        theirs = [path for path in self.cluster.layout.archive.iterdir() if len(path.name) == 24]
        ours = {file.name.removesuffix(".zst") for file in archive.files(self.system_identifier)}
        both = [path for path in theirs if path.name in ours]
        for path in both:
            assert archive_wal(archive, path, path.name, system_identifier=self.system_identifier).was_there
        return len(both)


@pytest.fixture(scope="module", params=SERVERS)
def upstream(request: pytest.FixtureRequest) -> Iterator[Upstream]:
    runtime = find_runtime(bin_folder=SYSTEM_FOLDERS[-1] if request.param == "system" else None)
    cluster = Cluster(runtime, f"receive-{os.getpid()}-{secrets.token_hex(3)}")
    settings = drill_settings(runtime.major, throwaway=True)
    settings |= {"min_wal_size": "2MB", "max_slot_wal_keep_size": "8MB"}
    try:
        cluster.create(settings)
        runtime.run([runtime.bin_folder / "pg_resetwal", "--wal-segsize=1", "-D", cluster.layout.data])
        access = access_to(cluster.start(guarded=True))
        with connect(access, "postgres", purpose="test") as session:
            session.execute("CREATE TABLE t (n int)")
            row = session.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone()
            assert row is not None
        yield Upstream(cluster=cluster, access=access, system_identifier=row[0])
    finally:
        cluster.destroy()


@pytest.fixture
def session(upstream: Upstream) -> Iterator[Connection]:
    with connect(upstream.access, "postgres", purpose="test") as opened:
        yield opened


@pytest.fixture
def archive(tmp_path: Path) -> FolderArchive:
    return FolderArchive(tmp_path / "store")


@pytest.fixture
def order(upstream: Upstream, session: Connection, tmp_path: Path) -> Iterator[Receiving]:
    """A receiver with a slot and a folder of its own; the slot begins where the server is now."""
    session.execute("CHECKPOINT")
    slot = f"s_{secrets.token_hex(4)}"
    yield Receiving(
        access=upstream.access, database="postgres", folder=tmp_path / "received", slot=slot, create_slot=True
    )
    wait_until(lambda: slot_is_free(session, slot), "the receiver is gone")
    session.execute(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s", (slot,)
    )


def slot_is_free(session: Connection, slot: str) -> bool:
    found = read_slot(session, slot)
    return found is None or found.active_pid is None


def slot_of(session: Connection, order: Receiving) -> Slot:
    found = read_slot(session, order.slot)
    assert found is not None
    return found


def arrives(archive: FolderArchive, upstream: Upstream, name: str) -> None:
    def is_there() -> bool:
        return any(one.name.endswith(".sha256") for one in archive.files(upstream.system_identifier, name))

    wait_until(is_there, f"{name} is archived")


def test_what_is_written_is_durable_here_before_the_slot_moves_on_and_archived_when_it_is_whole(
    upstream: Upstream,
    session: Connection,
    archive: FolderArchive,
    order: Receiving,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with receiving(order, archive) as running:
        wait_until(lambda: not slot_is_free(session, order.slot), "it receives")
        for name in [upstream.write(session) for _ in range(3)]:
            arrives(archive, upstream, name)
        session.execute("INSERT INTO t VALUES (0)")
        written = session.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()
        assert written is not None
        wait_until(lambda: (slot_of(session, order).received_to or 0) >= int(written[0]), "all of it is received")
        slot = slot_of(session, order)
        assert (slot.used_by, slot.limit_bytes, slot_problems(slot, order.slot)) == (
            "squizzle receive-wal",
            8 << 20,
            (),
        )

        # What the other verbs make of it.
        url = f"postgresql://{upstream.access.user}@/postgres?host={upstream.access.host}&port={upstream.access.port}"
        assert run(["restore-point", "before", "--url", url, "--slot", order.slot, "--json"]) == 0
        point = json.loads(capsys.readouterr().out)
        assert (point["received_by"], point["archived"]) == (order.slot, False)
        off = replace(read_archiver(session), on=False, last_failed_at=None)
        assert "nobody receives its log" in archiver_problems(off, archive)[0]
        assert archiver_problems(off, archive, is_received=True) == ()
        assert receiver_problems(slot, archive, upstream.system_identifier) == ()
        assert (
            "is 5 segments behind its receiver"
            in receiver_problems(
                replace(slot, flush_lsn=lsn_text((slot.received_to or 0) + (5 << 20))),
                archive,
                upstream.system_identifier,
            )[0]
        )

        # The connection breaks: it is made again, and nothing is missing.
        session.execute("SELECT pg_terminate_backend(%s)", (slot.active_pid,))
        wait_until(lambda: any("tried again" in text for text in running.said), "it has noticed")
        last = upstream.write(session)
        arrives(archive, upstream, last)

    assert running.done is not None
    assert running.done.last == last
    found = check_cluster(archive, upstream.system_identifier, read=True)
    assert (found.problems, found.timelines[0].runs[0].last) == ((), last)
    wait_until(lambda: upstream.same_as_archived(archive) == 4, "the server has archived them, too")
    (problem,) = slot_problems(slot_of(session, order), order.slot)
    assert "nobody receives the log" in problem
    capsys.readouterr()
    assert run(["wal", "--url", url, "--store", archive.address, "--slot", order.slot, "--json"]) == 7
    server = json.loads(capsys.readouterr().out)["server"]
    assert (server["slot"]["active"], server["slot"]["limit_bytes"]) == (False, 8 << 20)
    assert problem.partition(":")[0] in server["problems"][-1]
    assert run(["restore-point", "late", "--url", url, "--slot", order.slot, "--wait", "0.3"]) == 10
    assert f"the receiver of {order.slot} has not got the restore point late-" in capsys.readouterr().err


@contextmanager
def killed_at_last(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.kills
@pytest.mark.parametrize("upstream", SERVERS[:1], indirect=True)
def test_killed_at_any_instant_it_goes_on_without_a_gap(
    upstream: Upstream, session: Connection, archive: FolderArchive, order: Receiving
) -> None:
    access = upstream.access
    url = f"postgresql://{access.user}@/postgres?host={access.host}&port={access.port}"
    command = [str(COMMAND), "receive-wal", "--store", archive.address, "--slot", order.slot, "--create-slot"]
    command += ["--folder", str(order.folder), "--compress"]
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": url}
    begun = None
    for kill_after in (0.0, 0.03, 0.08):
        with killed_at_last(subprocess.Popen(command, env=environment)):
            wait_until(lambda: not slot_is_free(session, order.slot), "it receives")
            name = upstream.write(session)
            begun = begun or name
            upstream.write(session)
            time.sleep(kill_after)  # so that not always the same instant is hit
            session.execute("INSERT INTO t SELECT n FROM generate_series(1, 1000) n")
        note_strike(Kind.KILL, "receive-wal", "the run itself", cell=kill_after)
        wait_until(lambda: slot_is_free(session, order.slot), "its program is gone, too")
    assert begun is not None
    shutil.rmtree(order.folder)  # even this: the server still has what was not archived

    with killed_at_last(subprocess.Popen([*command, "--json"], env=environment, stdout=subprocess.PIPE)) as process:
        last = upstream.write(session)
        arrives(archive, upstream, last)
        process.terminate()
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(out)["last"] == last
    found = check_cluster(archive, upstream.system_identifier, read=True)
    (run,) = found.timelines[0].runs
    assert found.problems == ()
    assert run.first <= begun
    assert run.last == last
    wait_until(lambda: upstream.same_as_archived(archive) == run.segments, "the server has archived them, too")


@pytest.mark.parametrize("upstream", SERVERS[:1], indirect=True)
def test_a_full_disk_of_the_archive_or_of_the_receiver_stops_nothing_for_good(
    upstream: Upstream, session: Connection, order: Receiving, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", pages=(4 << 20) // PAGE_BYTES) as disk:
        full = FolderArchive(disk / "store")
        with receiving(order, full) as running:
            wait_until(lambda: not slot_is_free(session, order.slot), "it receives")
            arrives(full, upstream, upstream.write(session))
            (disk / "ballast").write_bytes(b"\0" * ((5 << 20) // 2))
            names = [upstream.write(session) for _ in range(2)]
            wait_until(lambda: any("segments wait in" in text for text in running.said), "it says that it keeps them")
            (disk / "ballast").unlink()
        assert running.done is not None
        assert (running.done.last, running.done.waiting) == (names[-1], 0)
        assert check_cluster(full, upstream.system_identifier, read=True).problems == ()

    archive = FolderArchive(tmp_path / "store")
    with (
        small_real_disk(tmp_path / "small", megabytes=8) as disk,
        receiving(replace(order, folder=disk / "received"), archive) as running,
    ):
        wait_until(lambda: not slot_is_free(session, order.slot), "it receives")
        arrives(archive, upstream, upstream.write(session))
        ballast = disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(b"\0" * 65536)
                file.flush()
        names = [upstream.write(session) for _ in range(2)]
        wait_until(lambda: any("No space left on device" in text for text in running.said), "it says why it stopped")
        ballast.unlink()
        for name in names:
            arrives(archive, upstream, name)
    assert check_cluster(archive, upstream.system_identifier, read=True).problems == ()
    wait_until(lambda: upstream.same_as_archived(archive) >= 3, "the server has archived them, too")


@pytest.mark.parametrize("upstream", SERVERS[:1], indirect=True)
def test_a_receiver_that_was_away_for_too_long_says_which_segments_are_lost(
    upstream: Upstream, session: Connection, archive: FolderArchive, order: Receiving
) -> None:
    with receiving(order, archive):
        wait_until(lambda: not slot_is_free(session, order.slot), "it receives")
        arrives(archive, upstream, upstream.write(session))
    while slot_of(session, order).wal_status != "lost":
        upstream.write(session)
        session.execute("CHECKPOINT")
    (problem,) = slot_problems(slot_of(session, order), order.slot)
    assert "was invalidated" in problem

    with pytest.raises(RefusedError, match="was invalidated: its receiver was away for too long") as caught:
        receive_to_its_end(order, archive)
    assert f"pg_drop_replication_slot('{order.slot}')" in caught.value.hint
    session.execute("SELECT pg_drop_replication_slot(%s)", (order.slot,))
    with pytest.raises(
        RefusedError, match=r"has removed segment 0000000100000000000000.., which comes next: \d+ of them are lost"
    ):
        receive_to_its_end(order, archive)
    with receiving(replace(order, skip_gap=True), archive):
        arrives(archive, upstream, upstream.write(session))
    (problem,) = check_cluster(archive, upstream.system_identifier).problems
    assert "are missing" in problem


@pytest.mark.parametrize("upstream", SERVERS[:1], indirect=True)
@pytest.mark.usefixtures("upstream")
def test_what_cannot_work_is_refused_with_what_to_do(
    session: Connection, archive: FolderArchive, order: Receiving
) -> None:
    def refusal(order: Receiving, kind: type[Exception], match: str) -> str:
        with pytest.raises(kind, match=match) as caught:
            receive_to_its_end(order, archive)
        return str(getattr(caught.value, "hint", ""))

    hint = refusal(replace(order, create_slot=False), InvalidInputError, "has no slot")
    assert "--create-slot" in hint
    session.execute("ALTER SYSTEM SET max_slot_wal_keep_size = -1")
    session.execute("SELECT pg_reload_conf()")
    wait_until(lambda: session.execute("SHOW max_slot_wal_keep_size").fetchone() == ("-1",), "there is no limit")
    try:
        hint = refusal(order, RefusedError, "nothing limits what the server keeps")
        assert "ALTER SYSTEM SET max_slot_wal_keep_size" in hint
        assert read_slot(session, order.slot) is None
        with receiving(replace(order, allow_unlimited=True), archive) as running:
            wait_until(lambda: not slot_is_free(session, order.slot), "it receives")
            assert any("without its receiver it fills the server's disk" in text for text in running.said)
            assert "has no limit" in slot_problems(slot_of(session, order), order.slot)[0]
            refusal(order, RefusedError, "another receiver works in")
            other = replace(order, folder=order.folder / "other", slot_patience=timedelta())
            hint = refusal(other, LockTimeoutError, r"in use by the server's process \d+ \(squizzle receive-wal\)")
            assert "--slot NAME" in hint
    finally:
        session.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
        session.execute("SELECT pg_reload_conf()")
    session.execute("CREATE ROLE reader LOGIN")
    hint = refusal(replace(order, access=replace(order.access, user="reader")), InvalidInputError, "may not receive")
    assert 'ALTER ROLE "reader" REPLICATION' in hint
    if Path("/dev/shm").is_mount():
        refusal(replace(order, folder=Path("/dev/shm") / order.slot), RefusedError, "lies in memory")
        shutil.rmtree(Path("/dev/shm") / order.slot)
