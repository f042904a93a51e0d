"""The embedded server: real binaries, real processes, real kills."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import psycopg
import pytest

from squizzle.errors import EmbeddedServerError, InvalidInputError, ProgramNotUsableError
from squizzle.postgres.embedded import (
    Cluster,
    ClusterStatus,
    Runtime,
    ServerAddress,
    drill_settings,
    find_runtime,
    sweep_abandoned,
    throwaway_cluster,
)
from squizzle.postgres.embedded.guardian import Guardian
from squizzle.postgres.embedded.launch import launch
from squizzle.postgres.embedded.locking import FileLock
from squizzle.postgres.embedded.make_once import make_once
from squizzle.postgres.embedded.server import is_postmaster
from squizzle.postgres.programs import system_folders

ROOT = Path(__file__).parents[3]
FAST = {"fsync": "off"}
ODD_VALUE = r"it's 100% \n and \\ 'fine'"
IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root runs servers under another account")

MakeCluster = Callable[..., Cluster]
_numbers = count(1)


@contextmanager
def short_base() -> Iterator[Path]:
    """A base folder that an unprivileged account reaches, with room for a socket's path; pytest's has neither."""
    folder = Path(tempfile.mkdtemp(prefix="sqz-"))
    folder.chmod(0o755)
    try:
        yield folder
        assert processes_about(folder) == []
    finally:
        shutil.rmtree(folder)


def processes_about(folder: Path) -> list[str]:
    commands = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in text:
            commands.append(text)
    return commands


@pytest.fixture(scope="module")
def runtime() -> Iterator[Runtime]:
    with short_base() as base:
        yield find_runtime(base=base)


@pytest.fixture
def make_cluster(runtime: Runtime) -> Iterator[MakeCluster]:
    made: list[Cluster] = []

    def make(runtime: Runtime = runtime, *, from_template: bool = True) -> Cluster:
        cluster = Cluster(runtime, f"t{next(_numbers)}")
        made.append(cluster)
        cluster.create(FAST, from_template=from_template)
        return cluster

    yield make
    for cluster in made:
        cluster.destroy()


@pytest.fixture(scope="module")
def shared_cluster(runtime: Runtime) -> Iterator[Cluster]:
    cluster = Cluster(runtime, "shared")
    cluster.create({**FAST, "squizzle.odd": ODD_VALUE, "work_mem": "7MB"})
    yield cluster
    cluster.destroy()


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Cluster:
    """A cluster that many tests use one after the other, because making one takes time; it may run or not."""
    return shared_cluster


@pytest.fixture
def server(cluster: Cluster) -> ServerAddress:
    """The running server of the shared cluster."""
    return cluster.start(guarded=True)


@pytest.fixture(scope="module")
def drill_server(runtime: Runtime) -> Iterator[ServerAddress]:
    with throwaway_cluster("drills", settings=drill_settings(runtime.major), runtime=runtime) as address:
        yield address


@pytest.fixture
def others_cluster(runtime: Runtime) -> Iterator[Cluster]:
    """A cluster for other processes to own, made by the first test that needs it; none of its servers may be left."""
    cluster = Cluster(runtime, "others-1")
    yield cluster
    if cluster.status() is not ClusterStatus.MISSING:
        assert wait_until(lambda: cluster.status() is ClusterStatus.STOPPED)


@pytest.fixture(scope="module", autouse=True)
def _no_cluster_of_others_is_left(runtime: Runtime) -> Iterator[None]:
    yield
    Cluster(runtime, "others-1").destroy()


def over_socket(address: ServerAddress) -> psycopg.Connection:
    return psycopg.connect(
        host=str(address.socket_folder), port=address.port, user=address.user, dbname="postgres", autocommit=True
    )


def over_tcp(address: ServerAddress, *, password: str = "", passfile: Path | None = None) -> psycopg.Connection:
    return psycopg.connect(
        host=address.host,
        port=address.port,
        user=address.user,
        dbname="postgres",
        autocommit=True,
        password=password or None,
        passfile=str(passfile or "/nonexistent"),
    )


def answer(address: ServerAddress, query: str) -> object:
    with over_socket(address) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def server_is_gone(address: ServerAddress) -> Callable[[], bool]:
    return lambda: not is_postmaster(address.pid, address.data_folder)


PREAMBLE = """
import json, os, signal, sys, time
from pathlib import Path
from squizzle.postgres.embedded import *
runtime = find_runtime(base=Path(sys.argv[1]), bin_folder=Path(sys.argv[2]))
cluster = Cluster(runtime, sys.argv[3])
def say(address):
    print(json.dumps({"port": address.port, "pid": address.pid}), flush=True)
"""


@contextmanager
def other_process(cluster: Cluster, script: str) -> Iterator[subprocess.Popen[str]]:
    """Runs a script about a cluster in a Python of its own, in a process group of its own."""
    runtime = cluster.runtime
    arguments = [str(runtime.base), str(runtime.bin_folder), cluster.name]
    process = subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + script, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def address_said_by(process: subprocess.Popen[str], cluster: Cluster) -> ServerAddress:
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    address = cluster.address()
    assert said == {"port": address.port, "pid": address.pid}
    return address


START_GUARDED = """
if cluster.status() == "missing":
    cluster.create({"fsync": "off"})
say(cluster.start(guarded=True))
"""
START_GUARDED_AND_STAY = START_GUARDED + "time.sleep(60)"


# The life of a cluster


def test_cluster_is_created_started_stopped_and_destroyed(runtime: Runtime) -> None:
    cluster = Cluster(runtime, "life")
    seen = [cluster.status()]
    cluster.create(FAST)
    seen.append(cluster.status())
    address = cluster.start(guarded=True)
    seen.append(cluster.status())
    cluster.stop()
    seen.append(cluster.status())
    cluster.destroy()
    seen.append(cluster.status())

    assert seen == ["missing", "stopped", "running", "stopped", "missing"]
    assert server_is_gone(address)()
    assert not (runtime.base / "life").exists()


def test_new_cluster_has_checksums_utf8_and_a_fixed_locale(server: ServerAddress) -> None:
    assert answer(server, "show data_checksums") == "on"
    assert answer(server, "show server_encoding") == "UTF8"
    assert answer(server, "show timezone") == "UTC"
    assert answer(server, "show dynamic_shared_memory_type") == "mmap"
    assert answer(server, "select datcollate from pg_database where datname = 'postgres'") == "C.UTF-8"


def test_settings_arrive_as_they_were_given(server: ServerAddress) -> None:
    assert answer(server, "show squizzle.odd") == ODD_VALUE
    assert answer(server, "show work_mem") == "7MB"


@pytest.mark.parametrize("settings", [{"port": "5432"}, {"no good": "1"}, {"work_mem": "1MB\nport = 1"}])
def test_unusable_setting_is_refused_before_anything_is_made(runtime: Runtime, settings: dict[str, str]) -> None:
    cluster = Cluster(runtime, "unmade")

    with pytest.raises(InvalidInputError):
        cluster.create(settings)

    assert cluster.status() is ClusterStatus.MISSING
    assert not (runtime.base / "unmade").exists()


def test_two_clusters_run_at_once_and_know_nothing_of_each_other(
    server: ServerAddress, make_cluster: MakeCluster
) -> None:
    other = make_cluster().start(guarded=True)

    with over_socket(server) as connection:
        connection.execute("create table only_here ()")

    assert server.port != other.port
    assert answer(server, "select to_regclass('only_here') is not null")
    assert answer(other, "select to_regclass('only_here') is null")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        over_tcp(server, password=other.read_password())


def test_creating_what_exists_is_refused_and_leaves_it_alone(cluster: Cluster) -> None:
    cluster.stop()
    before = cluster.layout.password_file.read_text()

    with pytest.raises(InvalidInputError, match="is stopped"):
        cluster.create()

    assert cluster.layout.password_file.read_text() == before


def test_cluster_without_template_has_an_identity_of_its_own(server: ServerAddress, make_cluster: MakeCluster) -> None:
    fresh = make_cluster(from_template=False).start(guarded=True)
    query = "select system_identifier from pg_control_system()"

    assert answer(fresh, query) != answer(server, query)


def test_folder_made_once_is_made_again_when_it_lost_a_file() -> None:
    with short_base() as above:
        made: list[Path] = []

        def build(folder: Path) -> None:
            made.append(folder)
            (folder / "inner").mkdir()
            for name in ("one", "inner/two"):
                (folder / name).touch()

        wanted = above / "kept" / "thing"
        for _ in range(2):
            make_once(wanted, build)
        assert len(made) == 1
        (wanted / "inner" / "two").unlink()

        make_once(wanted, build)

        assert len(made) == 2
        assert (wanted / "inner" / "two").exists()
        assert {path.name for path in wanted.parent.iterdir()} == {"thing", "thing.lock"}


def test_folder_whose_making_failed_is_not_taken_for_made() -> None:
    with short_base() as above:

        def fail(folder: Path) -> None:
            (folder / "half").touch()
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            make_once(above / "thing", fail)
        make_once(above / "thing", lambda folder: (folder / "whole").touch())

        assert (above / "thing" / "whole").exists()
        assert not (above / "thing" / "half").exists()


def test_first_clusters_of_a_base_can_be_made_by_several_processes_at_once(runtime: Runtime) -> None:
    with short_base() as base:
        clusters = [Cluster(replace(runtime, base=base), name) for name in ("one", "two")]
        script = 'cluster.create({"fsync": "off"}); say(cluster.start(guarded=True)); cluster.destroy()'
        with other_process(clusters[0], script) as first, other_process(clusters[1], script) as second:
            assert first.wait(30) == 0
            assert second.wait(30) == 0
        assert not [path for path in base.iterdir() if not path.name.startswith(".")]


# Connecting


def test_socket_is_trusted_and_closed_to_others(server: ServerAddress) -> None:
    assert answer(server, "select current_user") == "postgres"
    assert stat.S_IMODE(server.socket_folder.stat().st_mode) == 0o700


def test_tcp_takes_the_password_of_the_file_and_no_other(server: ServerAddress) -> None:
    with over_tcp(server, passfile=server.password_file) as connection:
        assert connection.pgconn.used_password
    with over_tcp(server, password=server.read_password()) as connection:
        assert connection.info.host == "127.0.0.1"
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        over_tcp(server, password="wrong")


def test_password_is_ours_alone_and_not_in_the_address(server: ServerAddress, cluster: Cluster) -> None:
    found = server.password_file.stat()

    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o600, os.geteuid())
    assert server.read_password() not in repr(server)
    assert server.read_password() not in cluster.layout.log.read_text()


# Starting under difficulties


def test_server_that_runs_is_found_not_started_twice(server: ServerAddress, cluster: Cluster) -> None:
    assert cluster.start(guarded=True) == server
    assert Cluster(cluster.runtime, cluster.name).address() == server


def test_address_of_a_stopped_server_is_refused(cluster: Cluster) -> None:
    cluster.stop()
    with pytest.raises(EmbeddedServerError, match="is stopped"):
        cluster.address()


def test_leftover_pid_file_of_a_dead_process_does_not_matter(server: ServerAddress, cluster: Cluster) -> None:
    pid_file = server.data_folder / "postmaster.pid"
    text = pid_file.read_text()
    cluster.stop()
    pid_file.write_text(text)

    assert cluster.status() is ClusterStatus.STOPPED
    assert cluster.start(guarded=True).pid != server.pid


def test_pid_file_that_names_a_process_of_somebody_else_does_not_matter(
    server: ServerAddress, cluster: Cluster
) -> None:
    pid_file = server.data_folder / "postmaster.pid"
    text = pid_file.read_text()
    cluster.stop()
    # Of the server's account: PostgreSQL itself would take it for a server on this folder.
    foreign = cluster.runtime.popen(["/bin/sleep", "60"], stdin=subprocess.DEVNULL, output=subprocess.DEVNULL)
    with foreign:
        try:
            pid_file.write_text(text.replace(str(server.pid), str(foreign.pid), 1))

            assert cluster.status() is ClusterStatus.STOPPED
            cluster.stop()
            address = cluster.start(guarded=True)

            assert address.pid not in (server.pid, foreign.pid)
            assert foreign.poll() is None
        finally:
            foreign.kill()


def test_committed_rows_survive_the_kill_of_the_server(server: ServerAddress, cluster: Cluster) -> None:
    with over_socket(server) as connection:
        connection.execute("create table kept (id int)")
        connection.execute("insert into kept select generate_series(1, 1000)")
    os.kill(server.pid, signal.SIGKILL)
    assert wait_until(server_is_gone(server))

    again = cluster.start(guarded=True)

    assert again.pid != server.pid
    assert answer(again, "select count(*) from kept") == 1000
    assert "automatic recovery in progress" in cluster.layout.log.read_text()


def test_start_waits_for_a_busy_session_of_a_killed_server(server: ServerAddress, cluster: Cluster) -> None:
    # A session that computes does not look whether its server lives. A second server beside it would ruin the data.
    busy = threading.Thread(target=_compute_for_a_second, args=(server,))
    busy.start()
    is_busy = "select count(*) > 0 from pg_stat_activity where query like '%repeat%' and pid <> pg_backend_pid()"
    assert wait_until(lambda: bool(answer(server, is_busy)))
    os.kill(server.pid, signal.SIGKILL)
    assert wait_until(server_is_gone(server))

    again = cluster.start(guarded=True)
    busy.join()

    assert answer(again, "select 1") == 1
    assert "pre-existing shared memory block" in cluster.layout.log.read_text()


def _compute_for_a_second(address: ServerAddress) -> None:
    with suppress(psycopg.OperationalError), over_socket(address) as connection:
        connection.execute("select sum(length(repeat(md5(i::text), 10))) from generate_series(1, 1000000) i")


def test_taken_port_is_left_for_another(cluster: Cluster) -> None:
    cluster.stop()
    with socket.socket() as taken, socket.socket() as other:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        other.bind(("127.0.0.1", 0))
        free = other.getsockname()[1]
        other.close()
        ports = iter([taken.getsockname()[1], free])
        server, guardian = launch(
            cluster.runtime, cluster.layout, patience=timedelta(minutes=1), choose_port=ports.__next__
        )
    guardian.order("immediate")

    assert guardian.wait(10)
    assert server.port == free


def test_failed_start_shows_the_end_of_the_log_and_leaves_nothing_running(cluster: Cluster) -> None:
    cluster.stop()
    conf = cluster.layout.data / "postgresql.conf"
    text = conf.read_text()
    conf.write_text(text + "shared_buffers = plenty\n")
    try:
        with pytest.raises(
            EmbeddedServerError, match='invalid value for parameter "shared_buffers": "plenty"'
        ) as caught:
            cluster.start(guarded=True)
    finally:
        conf.write_text(text)

    assert str(cluster.layout.log) in caught.value.hint
    assert cluster.status() is ClusterStatus.STOPPED


def test_start_that_takes_too_long_is_stopped_again(cluster: Cluster) -> None:
    cluster.stop()

    with pytest.raises(EmbeddedServerError, match="was not ready within"):
        cluster.start(guarded=True, patience=timedelta(0))

    assert cluster.status() is ClusterStatus.STOPPED


def test_half_made_cluster_of_a_killed_process_is_made_anew(runtime: Runtime) -> None:
    cluster = Cluster(runtime, "half")
    with other_process(cluster, "cluster.create(from_template=False)") as process:
        assert wait_until(lambda: any(cluster.layout.folder.glob("data.unfinished-*/global")))
        # Its initdb does not die with it, and removes what it made when it fails: not what is made anew, please.
        (initdb,) = _children_of(process.pid)
        os.kill(initdb, signal.SIGSTOP)
        process.kill()
    try:
        assert cluster.status() is ClusterStatus.HALF_MADE
        with pytest.raises(InvalidInputError, match="half-made"):
            cluster.start(guarded=True)

        threading.Timer(0.1, os.kill, (initdb, signal.SIGCONT)).start()
        cluster.create(FAST, from_template=False)
        assert wait_until(lambda: not Path(f"/proc/{initdb}/exe").exists())

        assert answer(cluster.start(guarded=True), "select 1") == 1
    finally:
        cluster.destroy()


def test_folder_that_is_no_cluster_is_not_touched(runtime: Runtime) -> None:
    folder = runtime.base / "precious"
    folder.mkdir()
    (folder / "thing").touch()
    cluster = Cluster(runtime, "precious")

    for action in (cluster.create, cluster.destroy, cluster.stop, lambda: cluster.start(guarded=True)):
        with pytest.raises(InvalidInputError, match="foreign"):
            action()

    assert sweep_abandoned(runtime, "precious") == ()
    assert [path.name for path in folder.iterdir()] == ["thing"]
    shutil.rmtree(folder)


# Owners


def test_guarded_server_stops_when_its_owner_is_killed_and_is_swept_then(
    others_cluster: Cluster, runtime: Runtime
) -> None:
    with other_process(others_cluster, START_GUARDED_AND_STAY) as process:
        address = address_said_by(process, others_cluster)
        os.kill(process.pid, signal.SIGKILL)

        assert wait_until(server_is_gone(address))

    assert "received fast shutdown request" in others_cluster.layout.log.read_text()
    assert others_cluster.status() is ClusterStatus.STOPPED
    assert sweep_abandoned(runtime, "others-") == ("others-1",)
    assert others_cluster.status() is ClusterStatus.MISSING


def test_guarded_server_is_gone_when_its_owner_ended_without_stopping_it(others_cluster: Cluster) -> None:
    with other_process(others_cluster, START_GUARDED) as process:
        assert process.wait(20) == 0

    assert others_cluster.status() is ClusterStatus.STOPPED


def test_guarded_server_does_not_hear_the_ctrl_c_of_its_owners_terminal(others_cluster: Cluster) -> None:
    script = "signal.signal(signal.SIGINT, lambda *_: print('heard', flush=True))" + START_GUARDED_AND_STAY
    with other_process(others_cluster, script) as process:
        address = address_said_by(process, others_cluster)

        os.killpg(process.pid, signal.SIGINT)

        assert process.stdout is not None
        assert process.stdout.readline() == "heard\n"
        time.sleep(0.1)  # what a fast stop takes
        assert answer(address, "select 1") == 1


def test_guarded_server_stops_when_its_guardian_is_asked_to_end(server: ServerAddress, cluster: Cluster) -> None:
    os.kill(_parent_of(server.pid), signal.SIGTERM)

    assert wait_until(server_is_gone(server))
    assert "received fast shutdown request" in cluster.layout.log.read_text()
    assert answer(cluster.start(guarded=True), "select 1") == 1


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def test_guarded_server_outlives_the_thread_and_the_object_that_started_it(cluster: Cluster) -> None:
    cluster.stop()
    addresses: list[ServerAddress] = []

    def start() -> None:
        addresses.append(Cluster(cluster.runtime, cluster.name).start(guarded=True))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    gc.collect()
    time.sleep(0.1)  # what a fast stop takes

    assert answer(addresses[0], "select 1") == 1


def test_forked_child_neither_keeps_the_server_alive_nor_ends_it(others_cluster: Cluster) -> None:
    script = """
if os.fork() == 0:
    time.sleep(60)  # holds a copy of everything that its parent had open
ended_at_once = os.fork()
if ended_at_once == 0:
    sys.exit(0)
os.waitpid(ended_at_once, 0)
say(cluster.address())
time.sleep(60)
"""
    with other_process(others_cluster, START_GUARDED + script) as process:
        address = address_said_by(process, others_cluster)
        assert address_said_by(process, others_cluster) == address
        assert answer(address, "select 1") == 1
        os.kill(process.pid, signal.SIGKILL)

        assert wait_until(server_is_gone(address))
        lock = FileLock(others_cluster.layout.lock)
        assert lock.acquire()
        lock.release()
        os.killpg(process.pid, signal.SIGKILL)


def test_guardian_does_not_wait_for_ever_for_a_fast_stop(cluster: Cluster) -> None:
    cluster.stop()
    layout = cluster.layout
    command: list[str | Path] = [cluster.runtime.bin_folder / "postgres", "-D", layout.data, "-k", layout.sockets]
    # A fast stop waits for the archiver, and this one is busy for a minute.
    archiving = ["archive_mode=on", "archive_command=touch ../archive/busy; sleep 60", "listen_addresses="]
    with layout.log.open("ab") as log:
        options = [part for option in archiving for part in ("-c", option)]
        guardian = Guardian(cluster.runtime, [*command, *options], log, patience_s=1)
    assert wait_until(lambda: cluster.status() is ClusterStatus.RUNNING)
    switch_wal(cluster.address())
    assert wait_until((layout.archive / "busy").exists)

    guardian.let_go()

    assert guardian.wait(10)
    assert cluster.status() is ClusterStatus.STOPPED
    assert "received immediate shutdown request" in layout.log.read_text().rpartition("received fast shutdown")[2]


def test_server_that_lasts_outlives_its_starter_and_is_stopped_by_another_process(runtime: Runtime) -> None:
    cluster = Cluster(runtime, "lasting")
    script = 'cluster.create({"fsync": "off"}); say(cluster.start(guarded=False))'
    try:
        with other_process(cluster, script) as process:
            address = address_said_by(process, cluster)
            assert process.wait(20) == 0

        assert sweep_abandoned(runtime, "lasting") == ()
        assert answer(address, "select 1") == 1
        assert cluster.start(guarded=True) == address
        cluster.stop()
        assert server_is_gone(address)()
        assert sweep_abandoned(runtime, "lasting") == ()
        assert cluster.status() is ClusterStatus.STOPPED
    finally:
        cluster.destroy()


def test_sweep_and_other_processes_leave_a_live_owners_cluster_alone(others_cluster: Cluster, runtime: Runtime) -> None:
    with other_process(others_cluster, START_GUARDED_AND_STAY) as process:
        address = address_said_by(process, others_cluster)

        assert sweep_abandoned(runtime, "others-") == ()
        with pytest.raises(EmbeddedServerError, match=f"process {process.pid} owns"):
            others_cluster.stop(patience=timedelta(0))
        assert others_cluster.start(guarded=True) == address
        assert answer(address, "select 1") == 1


def test_owner_that_stopped_its_server_still_owns_the_cluster(others_cluster: Cluster, runtime: Runtime) -> None:
    with other_process(others_cluster, START_GUARDED + "cluster.stop(); print(flush=True); time.sleep(60)") as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)][1] == "\n"

        assert sweep_abandoned(runtime, "others-") == ()
        assert others_cluster.status() is ClusterStatus.STOPPED


def test_sweep_leaves_the_clusters_of_its_own_process_alone(server: ServerAddress, runtime: Runtime) -> None:
    assert sweep_abandoned(runtime, "shared") == ()
    assert answer(server, "select 1") == 1


def test_sweep_stops_a_server_that_lost_its_owner_and_its_guardian(others_cluster: Cluster, runtime: Runtime) -> None:
    with other_process(others_cluster, START_GUARDED_AND_STAY) as process:
        address = address_said_by(process, others_cluster)
        # Its parent first, which is the guardian; what obeys the owner's orders is the guardian's other child.
        guardian = _parent_of(address.pid)
        for pid in (*_children_of(guardian) - {address.pid}, guardian, process.pid):
            os.kill(pid, signal.SIGKILL)
    assert answer(address, "select 1") == 1

    assert sweep_abandoned(runtime, "others-") == ("others-1",)

    assert server_is_gone(address)()


def _children_of(pid: int) -> set[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return {int(child) for child in text.split()}


def test_start_after_the_owners_death_does_not_return_the_dying_server(others_cluster: Cluster) -> None:
    with other_process(others_cluster, START_GUARDED_AND_STAY) as process:
        first = address_said_by(process, others_cluster)
        guardian = _parent_of(first.pid)
        slow = {guardian, *_children_of(guardian)} - {first.pid}
        for pid in slow:
            os.kill(pid, signal.SIGSTOP)
        process.kill()
        process.wait()

    with other_process(others_cluster, START_GUARDED_AND_STAY) as process:
        time.sleep(0.7)  # so that the heir meets the server while it still runs
        for pid in slow:
            os.kill(pid, signal.SIGCONT)
        assert process.stdout is not None
        second = json.loads(process.stdout.readline())

        assert second["pid"] != first.pid
        assert answer(others_cluster.address(), "select 1") == 1


# Throwaway


def test_throwaway_cluster_is_gone_after_the_block(runtime: Runtime) -> None:
    with throwaway_cluster("drill", settings=drill_settings(runtime.major, throwaway=True), runtime=runtime) as address:
        assert answer(address, "show fsync") == "off"
        folder = address.data_folder.parent

    assert not folder.exists()
    assert server_is_gone(address)()


def test_throwaway_cluster_is_gone_after_an_error_which_is_not_hidden(runtime: Runtime) -> None:
    addresses: list[ServerAddress] = []

    with pytest.raises(ZeroDivisionError):
        _fail_with_a_killed_server(runtime, addresses)

    assert not addresses[0].data_folder.parent.exists()


def _fail_with_a_killed_server(runtime: Runtime, addresses: list[ServerAddress]) -> None:
    with throwaway_cluster("drill", settings=FAST, runtime=runtime) as address:
        addresses.append(address)
        os.kill(address.pid, signal.SIGKILL)
        raise ZeroDivisionError


def test_throwaway_cluster_sweeps_what_a_killed_process_left(runtime: Runtime) -> None:
    left = Cluster(runtime, "drill-left")
    with other_process(left, START_GUARDED_AND_STAY) as process:
        address_said_by(process, left)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    with throwaway_cluster("drill", settings=FAST, runtime=runtime):
        assert left.status() is ClusterStatus.MISSING


def test_forked_child_that_leaves_the_block_does_not_end_its_parents_server(runtime: Runtime) -> None:
    block = throwaway_cluster("drill", settings=FAST, runtime=runtime)
    with block as address:
        assert _exit_code_of_child(lambda: block.__exit__(None, None, None)) == 0

        assert answer(address, "select 1") == 1


def _exit_code_of_child(action: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            action()
            code = 0
        except BaseException:  # noqa: BLE001 - whatever it is, it must not run the rest of pytest
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# What drills need


def switch_wal(address: ServerAddress) -> str:
    """Ends the current WAL segment and returns its name."""
    with over_socket(address) as connection:
        connection.execute("select pg_logical_emit_message(true, 'test', 'a segment without content is not switched')")
    return str(answer(address, "select pg_walfile_name(pg_switch_wal())"))


def test_drill_settings_archive_wal_and_allow_restore_points(drill_server: ServerAddress, runtime: Runtime) -> None:
    assert answer(drill_server, "select pg_create_restore_point('before_the_change')::text") is not None
    segment = switch_wal(drill_server)

    assert wait_until((drill_server.archive_folder / segment).exists)
    assert answer(drill_server, "show fsync") == "on"
    assert answer(drill_server, "show full_page_writes") == "on"
    if runtime.major >= 17:
        assert answer(drill_server, "show summarize_wal") == "on"


def test_archive_takes_the_same_segment_again(drill_server: ServerAddress) -> None:
    segment = switch_wal(drill_server)
    wal = drill_server.data_folder / "pg_wal"
    done = wal / "archive_status" / f"{segment}.done"
    assert wait_until(done.exists)

    # As after a crash between archiving it and noting so.
    shutil.copyfile(drill_server.archive_folder / segment, wal / segment)
    done.rename(done.with_suffix(".ready"))
    switch_wal(drill_server)

    assert wait_until(done.exists)
    assert answer(drill_server, "select failed_count from pg_stat_archiver") == 0


def test_archive_never_overwrites_a_different_segment(drill_server: ServerAddress, runtime: Runtime) -> None:
    current = str(answer(drill_server, "select pg_walfile_name(pg_current_wal_lsn())"))
    archived = drill_server.archive_folder / current
    archived.write_bytes(b"something else")
    runtime.hand_over(archived)

    assert switch_wal(drill_server) == current

    assert wait_until(lambda: answer(drill_server, "select last_failed_wal from pg_stat_archiver") == current)
    assert archived.read_bytes() == b"something else"


# Base folders, accounts, binaries


def test_base_folder_that_is_missing_is_made_and_open_for_the_account() -> None:
    with short_base() as above:
        above.chmod(0o755)
        old = os.umask(0o077)
        try:
            runtime = find_runtime(base=above / "base")
        finally:
            os.umask(old)

        assert stat.S_IMODE(runtime.base.stat().st_mode) == 0o755


def test_base_folder_that_others_can_write_to_is_refused() -> None:
    with short_base() as above:
        for mode in (0o775, 0o757, 0o1777):
            base = above / f"{mode:o}"
            base.mkdir()
            base.chmod(mode)
            with pytest.raises(InvalidInputError, match=r"others can write to it"):
                find_runtime(base=base)
            assert stat.S_IMODE(base.stat().st_mode) == mode & 0o7777


def test_base_folder_in_a_folder_open_to_all_is_refused_unless_sticky() -> None:
    with short_base() as above:
        above.chmod(0o777)
        with pytest.raises(InvalidInputError, match="not sticky"):
            find_runtime(base=above / "base")
        above.chmod(0o1777)
        assert find_runtime(base=above / "base")


def test_base_folder_of_another_user_is_refused() -> None:
    with short_base() as above:
        base = Path("/usr")  # root's
        if IS_ROOT:
            base = above / "base"
            base.mkdir()
            os.chown(base, 65534, 65534)

        with pytest.raises(InvalidInputError, match="belongs to user"):
            find_runtime(base=base)


def test_base_folder_that_is_a_link_or_a_file_is_refused() -> None:
    with short_base() as above:
        (above / "link").symlink_to(above)
        (above / "file").touch()

        for name in ("link", "file"):
            with pytest.raises(InvalidInputError, match="symbolic link or no folder"):
                find_runtime(base=above / name)


def test_path_too_long_for_a_socket_is_refused(runtime: Runtime) -> None:
    with short_base() as above:
        with pytest.raises(InvalidInputError, match=r"path of \d+ bytes; the system allows 107"):
            find_runtime(base=above / ("x" * 80))
        base = above / ("x" * (60 - len(str(above))))
        base.mkdir()
        with pytest.raises(InvalidInputError, match="the system allows"):
            Cluster(replace(runtime, base=base), "a" * 40)


@pytest.mark.parametrize("name", ["", "Name", "../up", "a b", ".hidden", "x" * 41])
def test_unusable_cluster_name_is_refused(runtime: Runtime, name: str) -> None:
    with pytest.raises(InvalidInputError, match="not a name"):
        Cluster(runtime, name)


def test_folder_without_server_programs_is_refused() -> None:
    with short_base() as base, pytest.raises(ProgramNotUsableError, match="has no postgres and initdb"):
        find_runtime(base=base, bin_folder=base)


@needs_root
@pytest.mark.parametrize(("account", "why"), [("no-such-account", "no account"), ("root", "refuses to run as root")])
def test_account_that_cannot_run_servers_is_refused(account: str, why: str) -> None:
    with short_base() as base, pytest.raises(InvalidInputError, match=why):
        find_runtime(base=base, account=account)


@needs_root
def test_base_folder_that_the_account_cannot_reach_is_refused() -> None:
    with short_base() as above:
        above.chmod(0o700)
        with pytest.raises(InvalidInputError, match="cannot reach the base folder"):
            find_runtime(base=above / "base")


@pytest.fixture(scope="module")
def closed_home(runtime: Runtime) -> Iterator[Path]:
    """A folder that is closed to others, with an environment's copy of the binaries far below it."""
    installation = runtime.bin_folder.parent
    package = installation.parent
    with short_base() as folder:
        home = folder / "home"
        site = home / "venv" / "lib"
        shutil.copytree(installation, site / package.name / installation.name, ignore=shutil.ignore_patterns("include"))
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, site / libraries.name)
        # As installed with a umask of 077, and below a closed folder.
        for path in (home, *home.rglob("*")):
            path.chmod(path.stat().st_mode & 0o700)
        yield home


@pytest.fixture(scope="module")
def runtime_from_closed_home(closed_home: Path) -> Runtime:
    (bin_folder,) = closed_home.glob("venv/lib/*/*/bin")
    base = closed_home.parent / "base"
    return find_runtime(base=base, bin_folder=bin_folder)


def test_binaries_below_a_closed_folder_work_and_it_stays_closed(
    closed_home: Path, runtime_from_closed_home: Runtime, make_cluster: MakeCluster
) -> None:
    before = {path: path.stat().st_mode for path in (closed_home, *closed_home.rglob("*"))}

    address = make_cluster(runtime_from_closed_home, from_template=False).start(guarded=True)

    assert answer(address, "select 1") == 1
    assert stat.S_IMODE(closed_home.stat().st_mode) == 0o700
    assert {path: path.stat().st_mode for path in (closed_home, *closed_home.rglob("*"))} == before
    if IS_ROOT:
        assert runtime_from_closed_home.bin_folder.is_relative_to(runtime_from_closed_home.base)


@needs_root
def test_copy_of_the_binaries_is_made_once_and_again_when_it_lost_a_file(
    closed_home: Path, runtime_from_closed_home: Runtime
) -> None:
    (bin_folder,) = closed_home.glob("venv/lib/*/*/bin")
    base = runtime_from_closed_home.base
    postgres = runtime_from_closed_home.bin_folder / "postgres"
    made = postgres.stat().st_ino

    assert find_runtime(base=base, bin_folder=bin_folder) == runtime_from_closed_home
    assert postgres.stat().st_ino == made
    catalogue = next(postgres.parent.parent.glob("share/**/postgres.bki"))
    catalogue.unlink()
    assert find_runtime(base=base, bin_folder=bin_folder) == runtime_from_closed_home
    assert catalogue.is_file()


@needs_root
def test_normal_user_runs_clusters_under_the_own_account(
    runtime_from_closed_home: Runtime, server: ServerAddress
) -> None:
    # Loads what is loaded late while it can still be read: the interpreter may lie where only root can look.
    answer(server, "select 1")
    with short_base() as above:
        base = above / "nobodys"
        base.mkdir()
        os.chown(base, 65534, 65534)

        def live_as_nobody() -> None:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            runtime = find_runtime(base=base, bin_folder=runtime_from_closed_home.bin_folder)
            assert (runtime.uid, runtime.runs_as_other) == (65534, False)
            cluster = Cluster(runtime, "own")
            cluster.create(FAST, from_template=False)
            for guarded in (True, False):
                assert answer(cluster.start(guarded=guarded), "select 1") == 1
                cluster.stop()
            assert stat.S_IMODE(cluster.layout.folder.stat().st_mode) == 0o700
            cluster.destroy()

        assert _exit_code_of_child(live_as_nobody) == 0


def test_system_postgresql_works_as_well() -> None:
    installed = [folder for folder in system_folders() if (folder / "postgres").exists()]
    if not installed:
        pytest.skip("this machine has no PostgreSQL server of the system")
    with short_base() as base:
        runtime = find_runtime(base=base, bin_folder=installed[0])
        cluster = Cluster(runtime, "system")
        try:
            cluster.create(drill_settings(runtime.major), from_template=False)
            address = cluster.start(guarded=True)
            assert str(answer(address, "show server_version")).split()[0] == runtime.version
            segment = switch_wal(address)
            assert wait_until((cluster.layout.archive / segment).exists)
            cluster.stop()
        finally:
            cluster.destroy()


def test_nothing_of_our_environment_reaches_the_servers_processes(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGDATA", "/nonexistent")

    seen = dict(line.split("=", 1) for line in runtime.run(["/usr/bin/env"]).splitlines())

    assert seen == runtime.environment()
    assert set(seen) == {"PATH", "LC_ALL", "TZ", "HOME"}


# Telling a server from another process


def test_process_is_told_by_its_arguments_where_its_folder_is_hidden(server: ServerAddress) -> None:
    with short_base() as proc:
        # As root sees it in a container without SYS_PTRACE.
        (proc / str(server.pid)).mkdir()
        shutil.copyfile(f"/proc/{server.pid}/cmdline", proc / str(server.pid) / "cmdline")

        assert is_postmaster(server.pid, server.data_folder, proc=proc)
        assert not is_postmaster(server.pid, server.data_folder.parent, proc=proc)
        assert not is_postmaster(os.getpid(), server.data_folder, proc=proc)


@pytest.mark.skipif(shutil.which("ps") is None, reason="this machine has no ps")
def test_process_is_told_by_ps_where_there_is_no_proc(server: ServerAddress) -> None:
    nowhere = Path("/nonexistent")

    assert is_postmaster(server.pid, server.data_folder, proc=nowhere)
    assert not is_postmaster(server.pid, server.data_folder.parent, proc=nowhere)
    assert not is_postmaster(os.getpid(), server.data_folder, proc=nowhere)
