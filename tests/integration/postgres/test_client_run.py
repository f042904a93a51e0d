"""Client programs: how they end, that they end with us, and that no password is left lying about."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from squizzle import processes
from squizzle.errors import DatabaseState, InvalidInputError, ToolError
from squizzle.postgres.access import Connection, ServerAccess
from squizzle.postgres.client_run import run_client
from squizzle.postgres.embedded import ServerAddress
from squizzle.postgres.programs import ClientPrograms
from squizzle.postgres.secret import Secret
from tests.support.owner_process import PASSWORD
from tests.support.processes import command_of, descendants_of, environment_of, is_alive, wait_until

ROOT = Path(__file__).parents[3]
SHELL = Path("/bin/sh")
SLEEP = Path("/bin/sleep")
# Deaf to SIGTERM, as a program that hangs in the kernel would be.
DEAF = ["-c", f"trap '' TERM; while :; do sleep 0.05; done # {os.getpid()}"]

Run = Callable[..., None]


# For programs that connect to nothing; so these tests run once and not once a server.
UNUSED = ServerAccess(host="/nonexistent", port=5432, user="nobody", password=Secret("unused"))


@pytest.fixture
def run() -> Run:
    def start(
        program: Path, *arguments: str, access: ServerAccess = UNUSED, database: str = "postgres", seconds: float = 30
    ) -> None:
        run_client(
            program,
            arguments,
            access=access,
            database=database,
            doing="do the test's work",
            timeout=timedelta(seconds=seconds),
            database_state=DatabaseState.UNKNOWN,
        )

    return start


@contextmanager
def owner(access: ServerAccess, database: str, program: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that runs a client program."""
    command = [sys.executable, "-m", "tests.support.owner_process", access.host, str(access.port), access.user]
    process = subprocess.Popen(
        [*command, database, str(program), *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def program_below(process: int, program: Path) -> int:
    """The process id of the program that some process runs, as soon as it is there."""

    def found() -> list[int]:
        return [pid for pid in descendants_of(process) if command_of(pid).split(" ")[0] == str(program)]

    wait_until(lambda: bool(found()), f"{process} runs {program}")
    return found()[0]


def test_program_works_on_the_database_it_was_given(
    run: Run, connection: Connection, database: str, programs: ClientPrograms, tmp_path: Path, access: ServerAccess
) -> None:
    connection.execute("CREATE TABLE marked ()")
    file = tmp_path / "schema.sql"
    run(programs.path("pg_dump"), "--schema-only", f"--file={file}", access=access, database=database)
    assert "CREATE TABLE public.marked" in file.read_text(encoding="utf-8")


def test_failing_program_gives_its_exit_code_and_its_last_words(run: Run) -> None:
    with pytest.raises(ToolError) as caught:
        run(SHELL, "-c", "for i in $(seq 40); do echo line $i >&2; done; exit 7")
    error = caught.value
    assert (error.command, error.exit_code, error.database_state) == ("sh", 7, DatabaseState.UNKNOWN)
    assert error.stderr_tail.splitlines() == [f"line {number}" for number in range(29, 41)]
    assert "could not do the test's work" in error.message
    assert "line 40" in error.message


def test_silent_failure_says_that_it_was_silent(run: Run) -> None:
    with pytest.raises(ToolError, match="said nothing"):
        run(SHELL, "-c", "exit 1")


def test_endless_complaints_are_cut_to_their_end(run: Run) -> None:
    with pytest.raises(ToolError) as caught:
        run(SHELL, "-c", "yes complaint | head -n 200000 >&2; echo the end >&2; exit 1")
    assert len(caught.value.stderr_tail) < 10_000
    assert caught.value.stderr_tail.endswith("the end")


def test_full_disk_is_recognised_by_its_words(run: Run) -> None:
    with pytest.raises(ToolError) as caught:
        run(SHELL, "-c", "echo 'could not write: No space left on device' >&2; exit 1")
    assert "free space" in caught.value.hint


def test_missing_program_is_a_failure_of_that_program(run: Run) -> None:
    with pytest.raises(ToolError) as caught:
        run(Path("/nonexistent/pg_dump"))
    assert (caught.value.command, caught.value.exit_code) == ("pg_dump", 127)


def test_real_program_reports_what_the_server_said(
    run: Run, access: ServerAccess, programs: ClientPrograms, tmp_path: Path
) -> None:
    with pytest.raises(ToolError, match='database "no such" does not exist'):
        run(programs.path("pg_dump"), f"--file={tmp_path / 'x'}", access=access, database="no such")


def test_program_out_of_time_is_stopped(run: Run) -> None:
    with pytest.raises(ToolError, match="took longer than 0:00:00") as caught:
        run(SLEEP, "60", seconds=0.5)
    assert caught.value.exit_code == -1
    assert not [pid for pid in descendants_of(os.getpid()) if command_of(pid).startswith(str(SLEEP))]


def test_program_deaf_to_being_told_is_killed_when_patience_ends(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_STOP_PATIENCE_S", 0.3)
    try:
        with pytest.raises(ToolError, match="took longer"):
            run(SHELL, *DEAF, seconds=0.3)
        wait_until(lambda: not deaf_programs(), "the program is gone", seconds=1)
    finally:
        for pid in deaf_programs():
            os.kill(pid, signal.SIGKILL)


def deaf_programs() -> list[int]:
    """Those of this test: their command line says whose they are."""
    everybody = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [pid for pid in everybody if command_of(pid).startswith(f"{SHELL} -c {DEAF[1]}")]


def test_waiting_calls_back_while_the_program_runs() -> None:
    calls: list[int] = []
    run_client(
        SLEEP,
        ["0.7"],
        access=UNUSED,
        database="postgres",
        doing="wait",
        timeout=timedelta(seconds=30),
        on_wait=lambda: calls.append(1),
    )
    assert len(calls) >= 2


def test_error_while_waiting_stops_the_program() -> None:
    def complain() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        run_client(
            SLEEP,
            ["61"],
            access=UNUSED,
            database="postgres",
            doing="wait",
            timeout=timedelta(seconds=30),
            on_wait=complain,
        )
    assert not [pid for pid in descendants_of(os.getpid()) if command_of(pid).startswith(str(SLEEP))]


def test_program_ends_when_its_owner_is_killed() -> None:
    with owner(UNUSED, "postgres", SLEEP, "62") as process:
        program = program_below(process.pid, SLEEP)
        process.kill()
        process.wait()
        wait_until(lambda: not is_alive(program), "the program is gone")


def test_dump_that_waits_for_a_lock_leaves_the_server_when_its_owner_is_killed(
    access: ServerAccess, control: Connection, connection: Connection, database: str, programs: ClientPrograms
) -> None:
    connection.execute("CREATE TABLE locked ()")

    def waiting() -> list[int]:
        query = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name = 'squizzle client program'"
        return [pid for (pid,) in control.execute(query, (database,))]

    with connection.transaction():
        connection.execute("LOCK TABLE locked")
        with owner(access, database, programs.path("pg_dump"), "--file=/dev/null") as process:
            program = program_below(process.pid, programs.path("pg_dump"))
            wait_until(lambda: bool(waiting()), "pg_dump has a session")
            process.kill()
            process.wait()
            wait_until(lambda: not is_alive(program), "pg_dump is gone")
            wait_until(lambda: not waiting(), "its session is gone")


def test_ctrl_c_stops_the_program_before_the_owner_goes_on() -> None:
    with owner(UNUSED, "postgres", SLEEP, "63") as process:
        program = program_below(process.pid, SLEEP)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "interrupted\n"
        assert not is_alive(program)


def test_password_is_neither_in_arguments_nor_in_the_environment_and_its_file_goes() -> None:
    with owner(UNUSED, "postgres", SLEEP, "64") as process:
        program = program_below(process.pid, SLEEP)
        guard = [pid for pid in descendants_of(process.pid) if pid != program]
        for pid in (program, *guard):
            assert PASSWORD not in command_of(pid)
            assert PASSWORD not in "".join(environment_of(pid).values())
        file = Path(environment_of(program)["PGPASSFILE"])
        assert file.read_text(encoding="utf-8") == f"*:*:*:*:{PASSWORD}\n"
        assert file.stat().st_mode & 0o777 == 0o600
        process.send_signal(signal.SIGINT)
        process.wait()
        assert not file.exists()


def test_password_file_opens_the_door_for_a_real_program(
    run: Run, address: ServerAddress, programs: ClientPrograms, tmp_path: Path
) -> None:
    over_tcp = ServerAccess(
        host=address.host, port=address.port, user=address.user, password=Secret(address.read_password())
    )
    run(programs.path("pg_dump"), "--schema-only", "--no-password", f"--file={tmp_path / 'x'}", access=over_tcp)
    wrong = replace(over_tcp, password=Secret("Planted:\\wrong"))
    with pytest.raises(ToolError, match="password authentication failed") as caught:
        run(programs.path("pg_dump"), "--no-password", f"--file={tmp_path / 'y'}", access=wrong)
    assert "Planted" not in f"{caught.value!r} {caught.value.stderr_tail}"


def test_parameter_that_the_program_cannot_take_is_refused_before_it_starts(run: Run) -> None:
    with pytest.raises(InvalidInputError, match="keepalives"):
        run(Path("/bin/false"), access=replace(UNUSED, parameters=(("keepalives", "0"),)))
