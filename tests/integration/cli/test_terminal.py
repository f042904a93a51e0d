"""The command at a terminal: bars with the time left below what it says, and nothing of them anywhere else."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from contextlib import suppress

import pytest

from squizzle.postgres.access import Connection
from tests.integration.cli.conftest import COMMAND, PATIENCE_S, Squizzle
from tests.integration.migrations.conftest import Folder

pytestmark = pytest.mark.one_server

ROWS = 400
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def at_terminal(squizzle: Squizzle, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """The exit code, standard output, which is a pipe, and standard error, which is a terminal."""
    ours, terminal = pty.openpty()
    with subprocess.Popen(
        [COMMAND, *arguments],
        cwd=squizzle.place,
        env={**squizzle.variables, "TERM": "xterm-256color", "COLUMNS": "140", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        shown = b""
        with suppress(OSError):  # what a terminal answers when nobody writes any more
            while chunk := os.read(ours, 65536):
                shown += chunk
        out, _ = process.communicate(timeout=PATIENCE_S)
    os.close(ours)
    return process.returncode, out.decode(), shown.decode()


def test_batches_are_shown_with_their_share_and_the_time_left_and_what_is_said_stands_above(
    squizzle: Squizzle, folder: Folder, connection: Connection
) -> None:
    folder.write("0001", "CREATE TABLE t (id int PRIMARY KEY, a int)")
    assert squizzle("apply", "--all").code == 0
    connection.execute("INSERT INTO t SELECT i FROM generate_series(1, %s) i", (ROWS,))
    connection.execute("ANALYZE t")
    folder.write("0002", "-- squizzle: batch key=id size=50 target=1ms pause=600ms\nUPDATE t SET a = 1;")

    code, out, shown = at_terminal(squizzle, "apply", "--all", NO_COLOR="1")

    text = CONTROL.sub("", shown)
    assert code == 0, text
    assert "running 0002" in text
    shares = [int(one) for one in re.findall(rf"in batches .*?(\d+) % of about {ROWS} rows, about \d+ s left", text)]
    assert shares
    assert shares == sorted(shares)
    assert shares[-1] < 100
    # A sentence is not cut by the bars, which are gone in the end; the cursor is there again.
    assert f"{ROWS} rows done in 8 batches, finished" in text
    assert shown.rstrip().count("\x1b[?25h") == shown.count("\x1b[?25l") > 0
    assert "\x1b[3" not in shown, "a colour though NO_COLOR was set"
    assert "\x1b" not in out
    assert "0002" in out


def test_an_error_has_colours_only_at_a_terminal_where_nobody_refused_them(offline: Squizzle) -> None:
    code, _, coloured = at_terminal(offline, "status")
    assert code == 2
    assert "\x1b[31m" in coloured
    assert "\x1b" not in at_terminal(offline, "status", NO_COLOR="1")[2]
    assert "\x1b" not in at_terminal(offline, "--no-color", "status")[2]
    assert "\x1b" not in offline("status").err
