"""What a large file costs the command: about the file, a few times, and no more."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from squizzle.postgres.access import Connection
from tests.integration.cli.conftest import COMMAND, Squizzle
from tests.integration.migrations.conftest import Folder

ROWS = 60_000
KINDS = {
    "one statement": ("INSERT INTO t VALUES\n", "({0}, 'some words of row {0}', {0}.5),\n", "(0, '', 0);\n"),
    "rows behind COPY": ("COPY t FROM stdin;\n", "{0}\tsome words of row {0}\t{0}.5\n", "0\t\t0\n\\.\n"),
}


def large_script(kind: str) -> Iterator[str]:
    begin, line, end = KINDS[kind]
    yield f"CREATE TABLE t (a int, b text, c numeric);\n{begin}"
    yield from (line.format(number) for number in range(ROWS - 1))
    yield end


@pytest.fixture
def peak_bytes(squizzle: Squizzle) -> Callable[..., int]:
    """Runs the command, which must work, and says how much memory it had at the most."""

    def run(*arguments: str) -> int:
        with subprocess.Popen(
            [COMMAND, *arguments], cwd=squizzle.place, env=squizzle.variables, stderr=subprocess.DEVNULL
        ) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_maxrss * 1024

    return run


@pytest.mark.one_server
@pytest.mark.parametrize("kind", KINDS)
def test_memory_does_not_grow_beyond_a_few_times_the_file(
    kind: str, folder: Folder, connection: Connection, peak_bytes: Callable[..., int]
) -> None:
    folder.write("1", "SELECT 1")
    small = peak_bytes("apply", "--all")

    folder.write("2", "".join(large_script(kind)))
    size = Path(folder.path / "2_change" / "up.sql").stat().st_size
    large = peak_bytes("apply", "--all")

    assert connection.execute("SELECT count(*), count(DISTINCT a) FROM t").fetchone() == (ROWS, ROWS - 1)
    assert large - small < 6 * size + 12_000_000
